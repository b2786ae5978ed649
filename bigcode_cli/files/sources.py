"""The texts that a command line names: files, folders, standard input, or what git has staged.

A text is checked as a whole before its first piece is yielded. It is read twice rather than kept,
so memory does not grow with its size.
"""

import codecs
import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.framework.output import Notes
from bigcode_cli.io.standard_input import STANDARD_INPUT, open_standard_input, refuse_terminal
from gpt_bigcode.errors import UnreadableFileError
from gpt_bigcode.reading import open_checked
from gpt_bigcode.text_form import BYTE_ORDER_MARK_UTF8

if TYPE_CHECKING:
    from bigcode_cli.files.encodings import AnyDecoder
    from gpt_bigcode.windowing.document_stream import Excerpt

MAX_BYTES = 100 * 10**6
"""The largest text that is processed."""
SKIPPED = {
    "binary": "binary",
    "input-encoding": "not UTF-8",
    "too-large": "too large",
    "empty": "empty",
    "lfs-pointer": "git-lfs pointer",
}
"""Failures that skip a text among many, and their names in a sentence; others are errors."""

SHOWN_CHARACTERS = 10**6
"""What `KeptSource` keeps of a text: later lines are not shown."""

_PIECE_BYTES = 1 << 16
_NUL = "NUL byte at offset {}: a binary file"
_UTF_16 = "is UTF-16, not UTF-8"
_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ONLY_MARKS = (BYTE_ORDER_MARK_UTF8, *_UTF_16_MARKS)
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def find_texts(
    paths: Sequence[Path],
    notes: Notes,
    *,
    command: str,
    staged: bool = False,
    hidden: bool = False,
    ignore: bool = True,
) -> "list[Source]":
    """Find the texts of a command line.

    Args:
        paths: files and folders; none, or `-`: standard input.
        notes: told what git does not say.
        command: what the hint names.
        staged: take them from git's index; only these paths if there are any.
        hidden: hidden files in folders too.
        ignore: leave out what git ignores in folders.

    Raises:
        UsageFailure: standard input is a terminal, or is to be staged.
        Failure: see `git_staged.staged_sources`.
    """
    names = [str(path) for path in paths]
    if staged:
        from bigcode_cli.files.git_staged import staged_sources

        if STANDARD_INPUT in names:
            raise UsageFailure("--staged: reads git's index, not standard input")
        return staged_sources(names)
    if not names or STANDARD_INPUT in names:
        refuse_terminal(missing="PATH", hint=f"bigcode {command} PATH, or pipe the text in")
    if not names:
        return [file_source(STANDARD_INPUT)]
    if len(names) == 1 and not os.path.isdir(names[0]):  # noqa: PTH112  # any bytes
        return [file_source(names[0])]
    from bigcode_cli.files.walk import find_sources

    return list(find_sources(paths, hidden=hidden, ignore=ignore, note=notes.note))


@dataclass(frozen=True, kw_only=True)
class Source:
    """A text that has not been read yet.

    Attributes:
        path: its name in results, as the system spells it.
        open: opens it for reading bytes; raises OSError or Failure.
        size: its size in bytes; 0 if unknown.
        named: whether the user named it; False: it was found in a folder.
        added: ranges of lines, from 1, to judge; None: all. Of `past`, those in their place.
        repeatable: whether it can be read twice, unlike a pipe.
        past: for a staged file, the one in HEAD; None: it is new.
        decoder: decodes other encodings and maps offsets; None: it must be UTF-8.
    """

    path: str
    open: Callable[[], BinaryIO]
    size: int = 0
    named: bool = True
    added: tuple[range, ...] | None = None
    repeatable: bool = True
    past: "Source | None" = None
    decoder: "AnyDecoder | None" = None

    @property
    def name(self) -> str:
        """Its name in messages."""
        return "stdin" if self.path == STANDARD_INPUT else self.path

    def pieces(self, read: Callable[[int], None]) -> Iterator[str]:
        """Check the text, then yield it in pieces.

        Args:
            read: told the number of bytes of every piece.

        Raises:
            Failure: one of `SKIPPED`, or `input`: it cannot be read.
        """
        try:
            with self.open() as opened:
                stream = _rewindable(opened, strict=self.decoder is None)
                _check(stream, strict=self.decoder is None)
                if self.decoder is None:
                    yield from _decoded(stream, read)
                else:
                    self.decoder.reset()
                    yield from decode_any(stream, self.decoder, read)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "changed while it was read"
            raise Failure("input", str(reason)) from None


@dataclass(frozen=True, kw_only=True)
class KeptSource(Source):
    """A source that keeps the beginning of its text when it is read."""

    held: list[str] = field(default_factory=list)

    def pieces(self, read: Callable[[int], None]) -> Iterator[str]:
        """See `Source`."""
        self.held.clear()
        size = 0
        for piece in super().pieces(read):
            if size < SHOWN_CHARACTERS:
                self.held.append(piece)
            size += len(piece)
            yield piece

    def take(self) -> str:
        """Return the text that was kept, and forget it."""
        text = "".join(self.held)[:SHOWN_CHARACTERS]
        self.held.clear()
        return text


def keep_text(source: Source) -> KeptSource:
    """Return the same source as one that keeps its text."""
    return KeptSource(**vars(source))


def document_of(text: Source, pieces: Iterator[str]) -> "Excerpt | Iterator[str]":
    """The pieces of a text; where only some lines are judged, an excerpt."""
    if text.added is None:
        return pieces
    from gpt_bigcode.windowing.document_stream import Excerpt

    return Excerpt(pieces, text.added)


def _decoded(stream: BinaryIO, read: Callable[[int], None]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    while data := stream.read(_PIECE_BYTES):
        yield decoder.decode(data)
        read(len(data))
    yield decoder.decode(b"", final=True)


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes; none at the end."""


def decode_any(
    stream: Readable, decoder: "AnyDecoder", read: Callable[[int], None]
) -> Iterator[str]:
    """Decode a stream in any encoding that `AnyDecoder` knows.

    Raises:
        Failure: `binary`: it contains NUL.
    """
    size = 0
    while data := stream.read(_PIECE_BYTES):
        text = decoder.decode(data)
        if (place := text.find("\0")) >= 0:
            offset = decoder.file_offset(size + len(text[:place].encode()))
            raise Failure("binary", _NUL.format(offset))
        size += len(text.encode())
        yield text
        read(len(data))
    yield decoder.decode(b"", final=True)


def file_source(path: str, *, named: bool = True) -> Source:
    """Return the source of a file name; `-` is standard input."""
    if named and path == STANDARD_INPUT:
        return Source(path=path, open=partial(_open, None), repeatable=False)
    size, regular = 0, False
    with contextlib.suppress(OSError, ValueError):  # opening it will say why
        status = os.stat(path)  # noqa: PTH116  # a name may be any bytes
        size, regular = status.st_size, stat.S_ISREG(status.st_mode)
    return Source(path=path, open=partial(_open, path), size=size, named=named, repeatable=regular)


def _open(path: str | None) -> BinaryIO:
    try:
        return open_standard_input() if path is None else open_checked(path, pipes=True)
    except UnreadableFileError as error:
        raise Failure("input", error.reason) from None


def _rewindable(stream: BinaryIO, *, strict: bool) -> BinaryIO:
    """Return the stream, or a copy in memory if it cannot be read twice."""
    if isinstance(stream, BytesIO):
        return stream
    if stat.S_ISREG(os.fstat(stream.fileno()).st_mode) and stream.seekable():
        return stream
    data = bytearray()
    while chunk := stream.read(_PIECE_BYTES):
        data += chunk
        if strict:
            _refuse_binary(chunk, len(data) - len(chunk))
        _refuse_large(len(data))
    return BytesIO(data)


def _check(stream: BinaryIO, *, strict: bool) -> None:
    """Check a text to its end, then rewind.

    Args:
        stream: the text.
        strict: it must be UTF-8; otherwise only binary files are refused.
    """
    start, total, head = stream.tell(), 0, b""
    decoder = codecs.getincrementaldecoder("utf-8")("strict" if strict else "ignore")
    while True:
        data = stream.read(_PIECE_BYTES)
        head = head or data[: len(_LFS_POINTER)]
        if not head.startswith(_UTF_16_MARKS):
            _refuse_binary(data, total)
        elif strict and head not in _ONLY_MARKS:
            raise Failure("input-encoding", _UTF_16)
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            byte, place = error.object[error.start], total - pending + error.start
            message = f"byte 0x{byte:02x} at offset {place} is not UTF-8"
            raise Failure("input-encoding", message) from None
        total += len(data)
        _refuse_large(total)
        if not data:
            break
    if total == 0 or (head in _ONLY_MARKS and total == len(head)):
        raise Failure("empty", "contains no text")
    if head == _LFS_POINTER:
        raise Failure("lfs-pointer", "a pointer of git-lfs, not the file itself")
    stream.seek(start)


def _refuse_binary(data: bytes, before: int) -> None:
    if (place := data.find(0)) >= 0:
        raise Failure("binary", _NUL.format(before + place))


def _refuse_large(size: int) -> None:
    if size > MAX_BYTES:
        raise Failure("too-large", f"more than {MAX_BYTES // 10**6} MB")


@dataclass(frozen=True)
class FileNames:
    """Names files relative to a folder, such as that of a baseline; links are resolved.

    Attributes:
        folder: the folder, with links resolved; see `beside`.
        root: what relative paths start from; "" is the current folder.
    """

    folder: str
    root: str = ""

    @classmethod
    def beside(cls, file: str | os.PathLike[str]) -> "FileNames":
        """Name files relative to the folder of `file`."""
        return cls(os.path.realpath(os.path.dirname(os.path.abspath(file))))  # noqa: PTH100, PTH120

    def within(self, root: str) -> "FileNames":
        """Return the same names for paths that are relative to another folder."""
        return replace(self, root=root)

    def of(self, path: str) -> str:
        """Return one name for `a.py`, `./a.py`, its absolute path and a link to it."""
        if path == STANDARD_INPUT:
            return path
        full = os.path.realpath(os.path.join(self.root, path))  # noqa: PTH118  # any bytes
        return os.path.relpath(full, self.folder)


def repository_top(folder: str) -> str | None:
    """Return the top of the git work tree around a folder, links resolved; None outside."""
    try:
        here = os.path.realpath(folder)
    except OSError:  # the current folder has been removed
        return None
    while not os.path.lexists(os.path.join(here, ".git")):  # noqa: PTH118  # any bytes
        if here == (above := os.path.dirname(here)):  # noqa: PTH120
            return None
        here = above
    return here
