"""Reads the text to complete from a file or standard input, and checks its encoding.

Only the end of a long text is kept: a model can read no more of it.
"""

import os
import stat
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.io.standard_input import (
    is_standard_input,
    open_standard_input,
    refuse_terminal,
)
from gpt_bigcode.errors import UnreadableFileError
from gpt_bigcode.reading import open_checked

TAIL_BYTES = 16 * 2**20
"""How much of the end of a text is kept; 2,000 bytes for each token of an 8,192-token context."""
STREAM_BYTES = 256 * 2**20
"""Where reading an endless stream stops."""
CONTEXT_FILE_BYTES = 4 * 2**20
"""The largest file that --context takes."""

_CHUNK_BYTES = 2**20
_CONTINUATION = frozenset(range(0x80, 0xC0))
_LONGEST_CHARACTER = 4


@dataclass(frozen=True, kw_only=True)
class InputText:
    """A text that was read.

    Attributes:
        name: what messages call it.
        data: its bytes, without the skipped ones.
        text: the same as text. A byte order mark is in both; the library leaves it out.
        skipped_bytes: how many bytes before `text` were skipped.
        path: the file's name as it was given; None for standard input.
    """

    name: str
    data: bytes
    text: str
    skipped_bytes: int
    path: Path | None


def refuse_unusable(file: Path | None, *, command: str = "complete") -> None:
    """Refuse folders and terminals before any slow work.

    Raises:
        UsageFailure: a folder, or standard input is a terminal.
    """
    if file is None or is_standard_input(file):
        refuse_terminal(missing="FILE", hint=f"bigcode {command} FILE, or pipe the text in")
    elif os.path.isdir(file):  # noqa: PTH112  # never raises
        raise UsageFailure(f"{file}: is a folder, not a file")


def read_text(file: Path | None, *, whole: bool = False) -> InputText:
    """Read the end of FILE, or of standard input if there is none or it is `-`.

    Args:
        file: the name on the command line.
        whole: keep all bytes in `data`, or refuse the file; `text` is only the end in any case.

    Raises:
        UsageFailure: a folder, or standard input is a terminal.
        Failure: `input` unreadable, `binary`, `input-encoding`, `too-large`.
    """
    path = None if is_standard_input(file) else file
    with _open(path) as stream:
        return _read(stream, path, whole=whole)


def read_bytes(data: bytes, path: Path) -> InputText:
    """Check the content of a file that was read before; see `read_text`."""
    return _read(BytesIO(data), path, whole=True)


def _read(stream: BinaryIO, path: Path | None, *, whole: bool) -> InputText:
    reader = _TailReader(stream, str(path or "stdin"), STREAM_BYTES if whole else TAIL_BYTES)
    data = reader.read()
    if whole and reader.start:
        raise Failure("too-large", f"{reader.name}: more than {STREAM_BYTES >> 20} MiB")
    cut = _character_start(data, len(data) - TAIL_BYTES)
    skipped = reader.start + cut
    text = reader.decode(data, cut)
    if whole and cut:
        reader.decode(data, 0)  # what is echoed is checked too
    return InputText(name=reader.name, data=data, text=text, skipped_bytes=skipped, path=path)


def read_context_file(path: Path) -> InputText:
    """Read a whole --context file; `too-large` above `CONTEXT_FILE_BYTES`."""
    with _open(path) as stream:
        reader = _TailReader(stream, str(path), CONTEXT_FILE_BYTES)
        data = reader.read()
    if reader.start:
        raise Failure("too-large", f"{path}: more than {CONTEXT_FILE_BYTES >> 20} MiB")
    text = reader.decode(data, 0)
    return InputText(name=str(path), data=data, text=text, skipped_bytes=0, path=path)


def _open(path: Path | None) -> BinaryIO:
    refuse_unusable(path)
    try:
        return open_standard_input() if path is None else open_checked(path, pipes=True)
    except UnreadableFileError as error:
        raise Failure("input", f"{path or 'stdin'}: {error.reason}") from None


class _TailReader:
    """Reads a stream to its end and keeps the last `limit` bytes of it."""

    def __init__(self, stream: BinaryIO, name: str, limit: int) -> None:
        self.name = name
        self.start = 0
        self._stream = stream
        self._limit = limit
        self._lines_before: int | None = 0

    def read(self) -> bytes:
        """Return the tail; `start` is then its offset."""
        self._seek()
        kept = bytearray()
        for chunk in self._chunks():
            if (at := chunk.find(0)) >= 0:
                kept += chunk
                self._refuse_binary(kept, len(kept) - len(chunk) + at)
            kept += chunk
            if len(kept) >= 2 * self._limit:
                self._drop(kept)
        self._drop(kept)
        return bytes(kept)

    def decode(self, data: bytes, cut: int) -> str:
        """Decode everything from `cut` on."""
        try:
            return data[cut:].decode("utf-8")
        except UnicodeDecodeError as error:
            at = cut + error.start
            where = self._where(data, at)
            message = f"{self.name}: byte 0x{data[at]:02x} {where} is not UTF-8"
            raise Failure("input-encoding", message, hint="convert it to UTF-8 first") from None

    def _seek(self) -> None:
        """Seek close to the end if the stream is a regular file."""
        if isinstance(self._stream, BytesIO):
            return
        status = os.fstat(self._stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            return
        here = self._stream.tell()
        if status.st_size - here > self._limit:
            self.start = status.st_size - self._limit - here
            self._stream.seek(status.st_size - self._limit)
            self._lines_before = None

    def _chunks(self) -> Iterator[bytes]:
        total = 0
        try:
            while chunk := self._stream.read(_CHUNK_BYTES):
                total += len(chunk)
                if total > STREAM_BYTES:
                    hint = "give a large file by its name: only its end is read"
                    raise Failure("too-large", f"{self.name}: more than 256 MiB", hint=hint)
                yield chunk
        except OSError as error:
            raise Failure("input", f"{self.name}: {error.strerror}") from None

    def _drop(self, kept: bytearray) -> None:
        """Drop all but the last `limit` bytes, and a partial character at their start."""
        size = len(kept) - self._limit
        if size > 0:
            if self._lines_before is not None:
                self._lines_before += kept.count(b"\n", 0, size)
            self.start += size
            del kept[:size]
        if self.start:
            size = _character_start(kept, 0)
            self.start += size
            del kept[:size]

    def _refuse_binary(self, kept: bytearray, at: int) -> None:
        if self.start == 0 and kept.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            message, hint = f"{self.name}: is UTF-16, not UTF-8", "convert it to UTF-8 first"
            raise Failure("input-encoding", message, hint=hint)
        message = f"{self.name}: NUL byte {self._where(kept, at)}: a binary file"
        raise Failure("binary", message)

    def _where(self, kept: bytes | bytearray, at: int) -> str:
        """Describe a position: its offset, and its line if lines were counted."""
        offset = f"at offset {self.start + at}"
        if self._lines_before is None:
            return offset
        line = self._lines_before + kept.count(b"\n", 0, at) + 1
        return f"{offset} (line {line})"


def _character_start(data: bytes | bytearray, at: int) -> int:
    """Return the first place from `at` on that is not inside a character; 0 for a negative one."""
    if at < 0:
        return 0
    for place in range(at, min(at + _LONGEST_CHARACTER, len(data))):
        if data[place] not in _CONTINUATION:
            return place
    return at
