"""Replaces spans of a text by their labels while it is being read.

What is not decided yet is never given away: if anything fails, the output ends before it.
"""

import os
import re
import select
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from bigcode_cli.files.encodings import AnyDecoder
from bigcode_cli.files.sources import decode_any
from bigcode_cli.framework.errors import Failure

if TYPE_CHECKING:
    from gpt_bigcode.labeling.options import TagOptions
    from gpt_bigcode.labeling.results import Span
    from gpt_bigcode.labeling.text_tagger import TextTagger

_CHUNK_BYTES = 1 << 15
_QUIET_SECONDS = 0.2  # of a pipe, after which its complete lines are given where a model's windows
# depend on that; no program that merely copies a file rests so long, so that what it pipes is
# redacted as the file is
_ODD = re.compile(r"[^\w.-]")


def redacted(
    stream: BinaryIO,
    model: "TextTagger",
    options: "TagOptions",
    wanted: Callable[["Span"], bool],
) -> Iterator[bytes]:
    """The bytes of a text, piece by piece, with the wanted spans replaced by `<LABEL>`.

    Raises:
        Failure: `binary`, `input`.
        GPTBigCodeError: see `TextTagger.stream`.
    """
    feed = _Feed(stream, 0.0 if model.reads_lines else _QUIET_SECONDS)
    for advance in model.stream(feed.pieces(), options):
        for span in filter(wanted, advance.spans):
            yield feed.take(span.start)
            feed.drop(span.end)
            yield feed.decoder.encode(placeholder(span.label))
        yield feed.take(advance.offset)
    yield feed.rest()


def placeholder(label: str) -> str:
    """What replaces a span."""
    return f"<{_ODD.sub('_', label)}>"


class _Feed:
    """Reads a text, and keeps the bytes that were not written yet."""

    def __init__(self, stream: BinaryIO, quiet_seconds: float) -> None:
        self.end = 0
        self._quiet_seconds = quiet_seconds
        self.decoder = AnyDecoder()
        self._stream = stream
        self._kept = bytearray()
        self._start = 0  # of what is kept

    def read(self, size: int, /) -> bytes:
        """The next bytes of the text; they are kept."""
        # What a pipe has now is enough: the next bytes may be hours away.
        read = getattr(self._stream, "read1", self._stream.read)
        try:
            data: bytes = read(min(size, _CHUNK_BYTES))
        except OSError as error:
            raise Failure("input", str(error.strerror)) from None
        self.end += len(data)
        self._kept += data
        return data

    def pieces(self) -> Iterator[str]:
        """The text in pieces of whole characters; a pause where nothing more comes for now."""
        from gpt_bigcode.windowing.document_stream import PAUSE

        for text in decode_any(self, self.decoder, lambda _: None):
            yield text
            if "\n" in text and self._is_quiet():
                yield PAUSE

    def _is_quiet(self) -> bool:
        """Whether the other end of a pipe has written nothing for a moment."""
        try:
            descriptor = self._stream.fileno()
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return False
            return not select.select([descriptor], [], [], self._quiet_seconds)[0]
        except (AttributeError, OSError, ValueError):  # no file, or one that cannot be asked
            return False

    def take(self, offset: int) -> bytes:
        """The kept bytes before `offset` of the text, which are kept no more."""
        size = max(self.decoder.file_offset(offset) - self._start, 0)
        data = bytes(self._kept[:size])
        self._forget(size)
        return data

    def drop(self, offset: int) -> None:
        """Forget the kept bytes before `offset` of the text."""
        self._forget(max(self.decoder.file_offset(offset) - self._start, 0))

    def rest(self) -> bytes:
        """All kept bytes."""
        return bytes(self._kept)

    def _forget(self, size: int) -> None:
        del self._kept[:size]
        self._start += size
