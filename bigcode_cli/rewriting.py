"""Writes a file anew as a whole: the old or the new content is there, never a part of either.

Knows nothing of what the content means.
"""

import contextlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bigcode_cli.failures import Failure, UsageFailure

_ANY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_PERMISSIONS = 0o777  # what a file keeps; its set-user-ID bit it loses


@dataclass(frozen=True, kw_only=True)
class Target:
    """A file to be written anew.

    Attributes:
        name: what messages call it.
        path: where it is; links are resolved, so that they stay.
        status: what it was like before it was read.
    """

    name: str
    path: Path
    status: os.stat_result


def open_target(file: Path | None) -> Target:
    """Look at a file before it is read, and refuse one that cannot be replaced without harm.

    Raises:
        UsageFailure: standard input, a folder or a device.
        Failure: `in-place`: it is not there, has another name (hard link), or may not be written.
    """
    if file is None or str(file) == "-":
        raise UsageFailure("--in-place needs a FILE, standard input cannot be written")
    try:
        path = Path(os.path.realpath(file))
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise Failure("input", f"{file}: {reason}") from None
    if not stat.S_ISREG(status.st_mode):
        raise UsageFailure(f"--in-place: {file} is not a regular file")
    if status.st_nlink > 1:
        hint = "the other names would keep the old text; copy the file first"
        raise Failure("in-place", f"{file}: has {status.st_nlink} names (hard links)", hint=hint)
    if not status.st_mode & _ANY_WRITE or not os.access(path, os.W_OK):
        raise Failure("in-place", f"{file}: is read-only")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise Failure("in-place", f"{file}: its folder cannot be written to")
    return Target(name=str(file), path=path, status=status)


def rewrite(target: Target, old: bytes, new: bytes) -> bool:
    """Replace the content of a file by way of a temporary file beside it.

    Args:
        target: the file.
        old: what was read from it.
        new: what it will hold; if that is the same, nothing is written.

    Returns:
        Whether it was written.

    Raises:
        Failure: `changed` since it was looked at, or `in-place`: it cannot be written. Then the
            file is what it was and nothing is left beside it.
    """
    _refuse_changed(target)
    if old == new:
        return False
    folder = target.path.parent
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{target.path.name[:100]}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(new)
                stream.flush()
                _copy_attributes(target, handle)
                os.fsync(handle)
            _refuse_changed(target)
            Path(name).replace(target.path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
            raise
        _flush_folder(folder)
    except OSError as error:
        raise Failure("in-place", f"{target.name}: {error.strerror}: nothing was written") from None
    return True


def _refuse_changed(target: Target) -> None:
    """Whoever saved the file meanwhile wins."""
    try:
        now = target.path.stat()
    except OSError:
        raise Failure("changed", f"{target.name}: has gone since it was read") from None
    if _identity(now) != _identity(target.status):
        message = f"{target.name}: has changed since it was read: nothing was written"
        raise Failure("changed", message)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _copy_attributes(target: Target, handle: int) -> None:
    """Owner and extended attributes as far as they may be set, and the permissions."""
    with contextlib.suppress(OSError):
        os.chown(handle, target.status.st_uid, target.status.st_gid)
    for attribute in _attributes(target.path):
        with contextlib.suppress(OSError):
            os.setxattr(handle, attribute, os.getxattr(target.path, attribute))
    os.chmod(handle, target.status.st_mode & _PERMISSIONS)


def _attributes(path: Path) -> list[str]:
    with contextlib.suppress(OSError, AttributeError):  # not on every system
        return os.listxattr(path)
    return []


def _flush_folder(folder: Path) -> None:
    """Make the new name last; the file itself is safe before."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
