"""Writes a text anew with spans replaced by their labels, while it is being read.

Knows nothing of options. What was not decided yet is never given away: if anything fails, the text
so far ends before it.
"""

import codecs
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from bigcode_cli.framework.errors import Failure

if TYPE_CHECKING:
    from gpt_bigcode.labeling.spans import Span
    from gpt_bigcode.labeling.text_tagger import TagOptions, TextTagger

_CHUNK_BYTES = 1 << 15
_ODD = re.compile(r"[^\w.-]")


def redacted(
    stream: BinaryIO,
    model: "TextTagger",
    options: "TagOptions",
    wanted: Callable[["Span"], bool],
) -> Iterator[bytes]:
    """The bytes of a text, piece by piece, with the wanted spans replaced by `<LABEL>`.

    Raises:
        Failure: `binary`, `input-encoding`, `input`.
        GPTBigCodeError: see `TextTagger.stream`.
    """
    feed = _Feed(stream)
    for advance in model.stream(feed.pieces(), options):
        for span in filter(wanted, advance.spans):
            yield feed.take(span.start)
            feed.drop(span.end)
            yield placeholder(span.label).encode()
        yield feed.take(advance.offset)
    yield feed.take(feed.end)


def placeholder(label: str) -> str:
    """What stands in the place of a span."""
    return f"<{_ODD.sub('_', label)}>"


class _Feed:
    """Reads a text, and keeps the bytes that were not written yet."""

    def __init__(self, stream: BinaryIO) -> None:
        self.end = 0
        self._stream = stream
        self._kept = bytearray()
        self._start = 0  # of what is kept

    def pieces(self) -> Iterator[str]:
        """The text in pieces of whole characters."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        while True:
            try:
                data = self._stream.read(_CHUNK_BYTES)
            except OSError as error:
                raise Failure("input", str(error.strerror)) from None
            if (place := data.find(0)) >= 0:
                raise Failure("binary", f"NUL byte at offset {self.end + place}: not a text")
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                byte, place = error.object[error.start], self.end - pending + error.start
                message = f"byte 0x{byte:02x} at offset {place} is not UTF-8"
                raise Failure("input-encoding", message) from None
            self.end += len(data)
            self._kept += data
            if not data:
                return
            yield text

    def take(self, offset: int) -> bytes:
        """The kept bytes before `offset`, which are kept no more."""
        size = max(offset - self._start, 0)
        data = bytes(self._kept[:size])
        self.drop(offset)
        return data

    def drop(self, offset: int) -> None:
        """Forget the kept bytes before `offset`."""
        size = max(offset - self._start, 0)
        del self._kept[:size]
        self._start += size
