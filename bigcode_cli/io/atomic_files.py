"""Writes a file anew as a whole: the old or the new content is there, never a part of either.

Knows nothing of what the content means.
"""

import contextlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bigcode_cli.framework.errors import Failure, UsageFailure

_ANY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_NEW_FILE = 0o666
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


def check_writable(file: Path, *, option: str) -> None:
    """Look, before any work is done, whether a file can be written as a whole.

    Raises:
        UsageFailure: a folder or a device; standard output.
        Failure: `output`: its folder is not there, or one of them may not be written to.
    """
    path = os.path.realpath(file)
    try:
        special = os.path.lexists(path) and not stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise Failure("output", f"{file}: {reason}") from None
    if special or str(file) == "-":
        raise UsageFailure(f"{option}: {file} is not a regular file")
    folder = os.path.dirname(path)  # noqa: PTH120  # as above
    if not os.path.isdir(folder):  # noqa: PTH112
        raise Failure("output", f"{file}: there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Failure("output", f"{file}: its folder cannot be written to")
    if os.path.exists(path) and not os.access(path, os.W_OK):  # noqa: PTH110
        raise Failure("output", f"{file}: is read-only")


def write_whole(file: Path, data: bytes) -> None:
    """Write a file that is new or to be replaced; links stay, and so do its permissions.

    Raises:
        Failure: `output`: it cannot be written. Then it is what it was.
    """
    path = Path(os.path.realpath(file))
    try:
        mode = path.stat().st_mode & _PERMISSIONS if path.exists() else _NEW_FILE & ~_umask()
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fchmod(handle, mode)
                os.fsync(handle)
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise Failure("output", f"{file}: {error.strerror}: nothing was written") from None


def _umask() -> int:
    """The mask for new files, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


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


_MINE = 0o700


def make_private_folder(folder: Path) -> None:
    """Make a folder, and those above it that are not there, for the user alone."""
    if folder.is_dir():
        return
    if folder != folder.parent:
        make_private_folder(folder.parent)
    try:
        folder.mkdir(mode=_MINE)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return
    folder.chmod(_MINE)  # a umask of 0777 would lock us out


def readable_mode(*, executable: bool = False) -> int:
    """Return the mode for a file or folder that others may read as far as the umask lets them."""
    umask = os.umask(0o077)
    os.umask(umask)
    ours, others = (0o700, 0o055) if executable else (0o600, 0o044)
    return ours | (others & ~umask)
