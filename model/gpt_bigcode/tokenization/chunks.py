"""Token ids of a text of any size, read piece by piece.

The ids are those of the whole text: it is cut only where the pre-tokenizer of the family cuts too.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpt_bigcode.tokenization.tokenizer import CodeTokenizer


PIECE_CHARACTERS = 1 << 14
"""The most that is tokenized at once."""
_MARK_BYTES = 3


class Pause(str):
    """A piece without text: no more is known for now, so give what there is, up to a line's end."""

    __slots__ = ()


PAUSE = Pause()


def encode_pieces(tokenizer: "CodeTokenizer", pieces: Iterable[str]) -> Iterator[list[int]]:
    """Ids of the text that the pieces make together, in portions; an empty one for a `PAUSE`.

    Raises:
        InputError: a character that the vocabulary cannot spell.
    """
    for piece in cut_at_white_space(pieces):
        yield [] if piece is PAUSE else tokenizer.encode(piece)


def without_mark(pieces: Iterable[str], begin: Callable[[int], None]) -> Iterator[str]:
    """Leave out a byte order mark at the beginning of a text.

    Args:
        pieces: the text.
        begin: told how many bytes were left out, before the first piece that is not empty.
    """
    first = True
    for piece in pieces:
        text = piece
        if first and piece:
            first = False
            text = piece.removeprefix(BYTE_ORDER_MARK)
            begin(_MARK_BYTES if text != piece else 0)
        yield text


def cut_at_white_space(pieces: Iterable[str]) -> Iterator[str]:
    """Cut a text into portions of at most `PIECE_CHARACTERS`, wherever the given pieces end.

    A cut lies before white space that follows something else: there a word ends for every pattern
    of the family, whatever comes next. A portion without such a place is cut at its full length,
    which may change a token or two. So may a `PAUSE`, which cuts after the last line feed.
    """
    held = ""
    for piece in pieces:
        if piece is PAUSE:
            whole = held.rfind("\n") + 1
            if whole:
                yield held[:whole]
                yield PAUSE
                held = held[whole:]
            continue
        held += piece
        while len(held) > PIECE_CHARACTERS:
            place = _word_end(held)
            yield held[:place]
            held = held[place:]
    if held:
        yield held


def _word_end(text: str) -> int:
    for space in ("\n", " "):
        place = text.rfind(space, 1, PIECE_CHARACTERS)
        while place > 0 and text[place - 1].isspace():
            place = text.rfind(space, 1, place)
        if place > 0:
            return place
    return PIECE_CHARACTERS


BYTE_ORDER_MARK = "\ufeff"
