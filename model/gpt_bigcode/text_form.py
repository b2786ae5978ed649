"""The form in which a model reads a text: no byte order mark, and LF at the ends of lines.

One mark at the beginning is left out; offsets in the file count its bytes (`mark_size`). Where most
line ends are CRLF, what the model writes gets CRLF back. The bytes of a file around a filled gap
are never changed, mixed line ends included: see `Place` in bigcode_cli/commands/infill/cursor.py.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import AnyStr

BYTE_ORDER_MARK = "\ufeff"
BYTE_ORDER_MARK_UTF8 = BYTE_ORDER_MARK.encode()
CRLF = "\r\n"


def without_mark(text: AnyStr) -> AnyStr:
    """The text, or its bytes in UTF-8, after the mark."""
    if isinstance(text, bytes):
        return text.removeprefix(BYTE_ORDER_MARK_UTF8)
    return text.removeprefix(BYTE_ORDER_MARK)


def mark_size(text: str | bytes) -> int:
    """How many bytes the mark takes in UTF-8: 3, or 0 if there is none."""
    mark = BYTE_ORDER_MARK_UTF8 if isinstance(text, bytes) else BYTE_ORDER_MARK
    return len(BYTE_ORDER_MARK_UTF8) if text[: len(mark)] == mark else 0


def pieces_without_mark(pieces: Iterable[str], begin: Callable[[int], None]) -> Iterator[str]:
    """Leave out the mark at the beginning of a text that comes in pieces.

    Args:
        pieces: the text.
        begin: told how many bytes were left out, before the first piece that is not empty.
    """
    first = True
    for piece in pieces:
        if first and piece:
            first = False
            begin(mark_size(piece))
            yield without_mark(piece)
        else:
            yield piece


def has_crlf(text: str) -> bool:
    """Whether most line ends are CRLF."""
    return 2 * text.count(CRLF) > text.count("\n")


def to_lf(text: str) -> str:
    """The text with every CRLF as LF; a carriage return alone stays."""
    return text.replace(CRLF, "\n")


def without_line_end(line: AnyStr) -> AnyStr:
    """A line without its LF or CRLF; a carriage return at its end goes too."""
    if isinstance(line, bytes):
        return line.removesuffix(b"\n").removesuffix(b"\r")
    return line.removesuffix("\n").removesuffix("\r")


def splits_crlf(data: bytes, offset: int) -> bool:
    """Whether an offset lies between the two bytes of a CRLF."""
    return data[max(offset - 1, 0) : offset + 1] == CRLF.encode()


class NewlineRestorer:
    """LF to CRLF, as pieces of text come, where the prompt had CRLF; else nothing changes."""

    def __init__(self, *, crlf: bool) -> None:
        self._crlf = crlf
        self._held = ""

    def feed(self, text: str) -> str:
        """The text with the prompt's line ends; a carriage return waits for what follows it."""
        if not self._crlf:
            return text
        text = self._held + text
        self._held = "\r" if text.endswith("\r") else ""
        whole = text[: len(text) - len(self._held)]
        return to_lf(whole).replace("\n", CRLF)

    def close(self) -> str:
        """What was held back."""
        held, self._held = self._held, ""
        return held
