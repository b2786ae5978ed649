"""The byte order mark at the beginning of a text: part of the file, not of what a model reads."""

from collections.abc import Callable, Iterable, Iterator

BYTE_ORDER_MARK = "\ufeff"
BYTE_ORDER_MARK_UTF8 = BYTE_ORDER_MARK.encode()


def without_mark(pieces: Iterable[str], begin: Callable[[int], None]) -> Iterator[str]:
    """Leave out the mark at the beginning of a text that comes in pieces.

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
            begin(len(BYTE_ORDER_MARK_UTF8) if text != piece else 0)
        yield text
