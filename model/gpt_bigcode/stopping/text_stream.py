"""Token bytes to whole characters."""

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
