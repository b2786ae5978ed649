"""Line ends: a model reads LF; where a text has mostly CRLF, what is written gets CRLF back."""

from typing import AnyStr

CRLF = "\r\n"


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
