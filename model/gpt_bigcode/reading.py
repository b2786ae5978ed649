"""Reads files that somebody else wrote: regular files only, of bounded size, parsed within bounds.

Everything that a user, a repository or a cache names is opened here. A named pipe, a device or a
folder is an error and never a wait, and what is parsed has no surprises left for later code: no
NaN, no number of a thousand digits, no nesting that a `repr` would break on, no lone surrogate.
"""

import errno
import io
import json
import math
import os
import re
import stat
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from gpt_bigcode.errors import MissingFileError, UnreadableFileError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_DEPTH = 64
"""How deep lists and objects may be nested; real files need less than ten levels."""
MAX_DIGITS = 20
"""The longest whole number, its sign included: every 64-bit number fits."""

_MAX_REASON = 200
_DIGIT_MASK = bytes(ord("0") <= byte <= ord("9") for byte in range(256))
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_LONG_NUMBER = b"\1" * (MAX_DIGITS + 1)
_KINDS = (
    (stat.S_ISDIR, "is a folder, not a file"),
    (stat.S_ISFIFO, "is a named pipe, not a file"),
    (stat.S_ISSOCK, "is a socket, not a file"),
)


def open_checked(
    path: str | os.PathLike[str],
    *,
    follow_links: bool = True,
    within: str | os.PathLike[str] | None = None,
    pipes: bool = False,
) -> BinaryIO:
    """Open a regular file for reading bytes, without ever waiting for somebody to write it.

    The stream's `fileno()` is the file that was checked: look at it with `os.fstat`, not by name.

    Args:
        path: its name.
        follow_links: whether the name itself may be a symbolic link.
        within: a folder that links must not lead out of; None: they may lead anywhere.
        pipes: accept what a shell's `<(command)` gives, a pipe without a name, and the null device.

    Raises:
        MissingFileError: the file does not exist. UnreadableFileError: anything else.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    if not follow_links:
        flags |= os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError.at(path, error.strerror or "no such file") from None
    except (OSError, ValueError) as error:
        raise UnreadableFileError.at(path, _reason(error, follow_links=follow_links)) from None
    try:
        _refuse_special(path, descriptor, pipes=pipes)
        if within is not None:
            _refuse_outside(path, descriptor, within)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return io.BufferedReader(_EndedFile(descriptor))
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


class _EndedFile(io.FileIO):
    """A file that is never waited for: some of the kernel's look regular and have no end."""

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """See `io.RawIOBase`; raises OSError where a read would block."""
        size = super().readinto(buffer)
        if size is None:
            raise OSError(errno.EAGAIN, "has no end: more may come later")
        return size

    def readall(self) -> bytes:
        """See `io.RawIOBase`."""
        data = bytearray()
        part = bytearray(io.DEFAULT_BUFFER_SIZE)
        while size := self.readinto(part):
            data += part[:size]
        return bytes(data)


def read_checked(
    path: str | os.PathLike[str],
    *,
    max_bytes: int,
    follow_links: bool = True,
    within: str | os.PathLike[str] | None = None,
) -> bytes:
    """Read a whole regular file.

    Args:
        path: its name.
        max_bytes: a longer file is refused, before more than that is read.
        follow_links: see `open_checked`.
        within: likewise.

    Raises:
        MissingFileError: the file does not exist. UnreadableFileError: anything else.
    """
    with open_checked(path, follow_links=follow_links, within=within) as stream:
        return read_stream(stream, path, max_bytes=max_bytes)


def read_stream(stream: BinaryIO, path: str | os.PathLike[str], *, max_bytes: int) -> bytes:
    """Read an opened file to its end.

    Raises:
        UnreadableFileError: it is longer than `max_bytes`, or cannot be read.
    """
    try:
        data = stream.read(max_bytes + 1)
    except OSError as error:
        raise UnreadableFileError.at(path, _reason(error)) from None
    if len(data) > max_bytes:
        raise UnreadableFileError.at(path, f"is larger than {_size(max_bytes)}")
    return data


def identity(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file is replaced or written to: device, inode, size, time."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def read_json(
    path: str | os.PathLike[str],
    *,
    max_bytes: int,
    follow_links: bool = True,
    max_digits: int = MAX_DIGITS,
) -> Any:
    """Read a JSON file; see `parse_json`.

    Raises:
        MissingFileError: the file does not exist. UnreadableFileError: anything else.
    """
    data = read_checked(path, max_bytes=max_bytes, follow_links=follow_links)
    try:
        return parse_json(data, max_digits=max_digits)
    except ValueError as error:
        raise UnreadableFileError.at(path, str(error)) from None


def read_json_object(
    path: str | os.PathLike[str],
    *,
    max_bytes: int,
    follow_links: bool = True,
    max_digits: int = MAX_DIGITS,
) -> dict[str, Any]:
    """Read a JSON file that holds an object; see `parse_json`.

    Raises:
        MissingFileError: the file does not exist. UnreadableFileError: anything else.
    """
    values = read_json(path, max_bytes=max_bytes, follow_links=follow_links, max_digits=max_digits)
    if not isinstance(values, dict):
        raise UnreadableFileError.at(path, "expected a JSON object")
    return values


def read_toml(path: str | os.PathLike[str], *, max_bytes: int) -> dict[str, Any]:
    """Read a TOML file; see `parse_toml`.

    Raises:
        MissingFileError: the file does not exist. UnreadableFileError: anything else.
    """
    data = read_checked(path, max_bytes=max_bytes)
    try:
        return parse_toml(data)
    except ValueError as error:
        raise UnreadableFileError.at(path, str(error)) from None


def parse_json(
    data: bytes,
    *,
    file_names: bool = False,
    halves: bool = False,
    max_digits: int = MAX_DIGITS,
) -> Any:
    """Parse JSON in UTF-8, with or without a byte order mark.

    Args:
        data: the text; its size was bounded when it was read.
        file_names: its strings may hold names of files that are not UTF-8, as Python escapes them.
        halves: accept halves of surrogate pairs; the caller looks for them where it matters.
        max_digits: of a whole number.

    Raises:
        ValueError: with one short line: not JSON, NaN or infinity, a whole number of more than
            `max_digits`, nesting beyond `MAX_DEPTH`, half of a surrogate pair.
    """
    # A Python function for every number would double the time for a large vocabulary.
    is_long = _LONG_NUMBER in data.translate(_DIGIT_MASK)
    try:
        value = json.loads(
            data.decode("utf-8-sig"),
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=partial(_whole, max_digits=max_digits) if is_long else None,
        )
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON: {_parse_reason(error)}") from None
    _check_depth(value)
    if not halves and _SURROGATE.search(data):
        _check_unicode(value, "surrogateescape" if file_names else "strict")
    return value


def parse_toml(data: bytes) -> dict[str, Any]:
    """Parse TOML in UTF-8, within the same bounds as `parse_json`.

    Raises:
        ValueError: with one short line.
    """
    import tomllib

    try:
        value = tomllib.loads(data.decode("utf-8-sig"), parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid TOML: {_parse_reason(error)}") from None
    _check_depth(value)
    _check_numbers(value)
    return value


def _refuse_special(path: str | os.PathLike[str], descriptor: int, *, pipes: bool) -> None:
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) or (pipes and _is_nameless_pipe(status)):
        return
    if os.isatty(descriptor):
        raise UnreadableFileError.at(path, "is a terminal, not a file")
    if pipes and stat.S_ISCHR(status.st_mode) and status.st_rdev == _null_device():
        return  # an empty text
    for is_kind, words in _KINDS:
        if is_kind(status.st_mode):
            raise UnreadableFileError.at(path, words)
    raise UnreadableFileError.at(path, "is a device, not a file")


def _is_nameless_pipe(status: os.stat_result) -> bool:
    """Whether a pipe has no name in any folder: somebody has written to it, or will close it."""
    if not stat.S_ISFIFO(status.st_mode):
        return False
    ends = os.pipe()
    try:
        return status.st_dev == os.fstat(ends[0]).st_dev
    finally:
        for end in ends:
            os.close(end)


def _null_device() -> int:
    return os.stat(os.devnull).st_rdev  # noqa: PTH116


def _refuse_outside(
    path: str | os.PathLike[str], descriptor: int, within: str | os.PathLike[str]
) -> None:
    """Refuse a file that links lead to, unless it lies below a folder."""
    real, folder = os.path.realpath(path), os.path.realpath(within)
    if os.path.commonpath((real, folder)) != folder:
        raise UnreadableFileError.at(path, "is a link that leads out of its folder")
    try:
        same = os.path.samestat(os.lstat(real), os.fstat(descriptor))
    except OSError:
        same = False
    if not same:
        raise UnreadableFileError.at(path, "was replaced while it was opened")


def _reason(error: OSError | ValueError, *, follow_links: bool = True) -> str:
    if not isinstance(error, OSError):
        return str(error)
    if error.errno == errno.ELOOP and not follow_links:
        return "is a symbolic link"
    if error.errno == errno.ENXIO:
        return "is a socket or device, not a file"
    return error.strerror or "cannot be read"


def _parse_reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"nested more than {MAX_DEPTH} levels deep"
    if isinstance(error, UnicodeDecodeError):
        byte = error.object[error.start]
        return f"byte 0x{byte:02x} at offset {error.start} is not UTF-8"
    if "int_max_str_digits" in str(error):
        return f"a number has more than {MAX_DIGITS} digits"
    return str(error)[:_MAX_REASON]


def _size(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size} bytes"


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is not a finite number")
    return value


def _whole(text: str, *, max_digits: int) -> int:
    if len(text) > max_digits:
        raise ValueError(f"{text[:MAX_DIGITS]}... is a number of {len(text)} digits")
    return int(text)


def _check_depth(value: Any) -> None:
    """Refuse deep nesting, level by level: a recursion would break on what it looks for."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_DEPTH):
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return
    raise ValueError(f"nested more than {MAX_DEPTH} levels deep")


def _check_numbers(value: Any) -> None:
    """Refuse long numbers; the parser of TOML has no hook for them. The depth was checked."""
    if isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            _check_numbers(item)


def _check_unicode(value: Any, errors: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8", errors)
    except UnicodeEncodeError:
        raise ValueError("a text holds half of a surrogate pair") from None
