"""Token bytes to whole characters, with the line ends of the prompt."""

from codecs import getincrementaldecoder


class Utf8Stream:
    """Bytes to whole characters; holds back at most 3 bytes.

    Policy: bytes that can no longer become a character are shown as U+FFFD; a character that is
    still incomplete at the end is dropped.
    """

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> str:
        """The characters that are complete now."""
        return self._decoder.decode(data)


class NewlineRestorer:
    """LF to CRLF where the prompt had CRLF; else nothing changes."""

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
        return whole.replace("\r\n", "\n").replace("\n", "\r\n")

    def close(self) -> str:
        """What was held back."""
        held, self._held = self._held, ""
        return held
