"""Replaces files atomically: readers see the old content or the new one, never a mix."""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from bigcode_cli.framework.errors import Failure, UsageFailure
from gpt_bigcode.errors import UnreadableFileError
from gpt_bigcode.reading import identity, open_checked

_ANY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_NEW_FILE = 0o666
_PERMISSIONS = 0o777  # what is kept of a file's mode; set-user-ID is dropped
_MAX_NAME = 100  # characters of a file's name in that of its temporary file
_PARTIAL = ".bigcode-"
_RANDOM_BYTES = 4
_LOCK_SECONDS, _LOCK_EVERY_SECONDS = 30.0, 0.02


@dataclass(frozen=True, kw_only=True)
class Target:
    """A file to replace or create.

    Attributes:
        name: what messages call it.
        path: where it is; links are resolved, so that they stay.
        data: its content, or the beginning of it.
        status: of the file that `data` was read from; None: there is no file yet.
        slug: of the error if it cannot be written.
    """

    name: str
    path: Path
    data: bytes
    status: os.stat_result | None
    slug: str


def open_target(
    file: Path | None,
    *,
    option: str,
    slug: str,
    max_bytes: int,
    create: bool = False,
    whole: bool = True,
) -> Target:
    """Read a file that will be replaced; refuse one that cannot be replaced safely.

    The file is opened once: `atomic_write` replaces exactly what was read, or fails.

    Args:
        file: its name on the command line.
        option: what asks for it, for messages.
        slug: of the error if it cannot be written.
        max_bytes: how much of it may be read.
        create: whether it may be missing.
        whole: a longer file is refused; otherwise only its beginning is read.

    Raises:
        UsageFailure: standard input, a folder or a device.
        Failure: `slug`: it has another name (hard link), or may not be written; `input`,
            `too-large`; `changed` while it was read.
    """
    if file is None or str(file) == "-":
        raise UsageFailure(f"{option} needs a FILE, not standard input or output")
    try:
        path = Path(os.path.realpath(file))
        if create and not os.path.lexists(path):
            _check_folder(file, path, slug)
            return Target(name=str(file), path=path, data=b"", status=None, slug=slug)
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageFailure(f"{file}: is not a regular file, as {option} needs")
        with open_checked(path, follow_links=False) as stream:
            status = os.fstat(stream.fileno())
            _check_status(file, path, status, slug)
            data = stream.read(max_bytes + 1 if whole else max_bytes)
    except UnreadableFileError as error:
        raise Failure("input", f"{file}: {error.reason}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise Failure("input", f"{file}: {reason}") from None
    if whole and len(data) > max_bytes:
        raise Failure("too-large", f"{file}: more than {max_bytes // 10**6} MB")
    return Target(name=str(file), path=path, data=data, status=status, slug=slug)


def in_place_target(file: Path | None, max_bytes: int) -> Target:
    """Open the file that --in-place changes; see `open_target`."""
    return open_target(file, option="--in-place", slug="in-place", max_bytes=max_bytes)


def atomic_write(target: Target, data: bytes, *, new_mode: int | None = None) -> bool:
    """Replace a file's content through a temporary file in the same folder.

    Leftovers of killed processes for the same file are removed first.

    Args:
        target: the file; if its `status` is None it is created, unless it exists by now.
        data: the new content; if nothing changes, nothing is written.
        new_mode: the permissions of a new file; None: what the umask allows.

    Returns:
        Whether it was written.

    Raises:
        Failure: `changed` since it was read, or the target's slug: it cannot be written. The file
            is then unchanged, and no temporary file is left.
    """
    _refuse_changed(target)
    if target.status is not None and data == target.data:
        return False
    try:
        _sweep(target.path)
        with _partial_file(target.path) as (handle, partial):
            _write_all(handle, data)
            _copy_attributes(target, handle, new_mode)
            os.fsync(handle)
            _take_place(target, partial)
        _flush_folder(target.path.parent)
    except OSError as error:
        reason = f"{error.strerror}: nothing was written"
        raise Failure(target.slug, f"{target.name}: {reason}") from None
    return True


@contextlib.contextmanager
def folder_lock(file: Path) -> Iterator[None]:
    """Lock a file against other processes that use this lock.

    The folder itself is locked, so that no lock file is left beside the user's files. Where it
    cannot be (some network file systems), `atomic_write` still refuses to lose an update.

    Raises:
        Failure: `busy`: another process has held it for half a minute.
    """
    handle = None
    with contextlib.suppress(OSError):
        handle = os.open(os.path.dirname(os.path.realpath(file)), os.O_RDONLY | os.O_CLOEXEC)  # noqa: PTH120
    try:
        if handle is not None and not _locks(handle):
            raise Failure("busy", f"{file}: another process is writing it")
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _locks(handle: int) -> bool:
    """Lock a folder; False after a long wait."""
    end = monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() > end:
                return False
            sleep(_LOCK_EVERY_SECONDS)
        except OSError:
            return True  # this file system has no locks
        else:
            return True


def _check_status(file: Path, path: Path, status: os.stat_result, slug: str) -> None:
    if status.st_nlink > 1:
        hint = "the other names would keep the old text; copy the file first"
        raise Failure(slug, f"{file}: has {status.st_nlink} names (hard links)", hint=hint)
    if not status.st_mode & _ANY_WRITE or not os.access(path, os.W_OK):
        raise Failure(slug, f"{file}: is read-only")
    _check_folder(file, path, slug)


def _check_folder(file: Path, path: Path, slug: str) -> None:
    if not path.parent.is_dir():
        raise Failure(slug, f"{file}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise Failure(slug, f"{file}: its folder cannot be written to")


def _refuse_changed(target: Target) -> None:
    """Fail if the file has changed since it was read."""
    try:
        now = target.path.lstat()
    except OSError:
        if target.status is None:
            return
        raise Failure("changed", f"{target.name}: was removed since it was read") from None
    if target.status is None:
        raise Failure("changed", f"{target.name}: was made meanwhile: nothing was written")
    if identity(now) != identity(target.status):
        message = f"{target.name}: has changed since it was read: nothing was written"
        raise Failure("changed", message)


@contextlib.contextmanager
def _partial_file(path: Path) -> Iterator[tuple[int, Path]]:
    """A temporary file in the folder of another, locked while its process lives."""
    handle, partial = _make_partial(path)
    try:
        yield handle, partial
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
        os.close(handle)


def _make_partial(path: Path) -> tuple[int, Path]:
    while True:
        random = secrets.token_hex(_RANDOM_BYTES)
        partial = path.with_name(f".{path.name[:_MAX_NAME]}{_PARTIAL}{random}")
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, partial
        os.close(handle)  # it was taken for an orphan before it was locked


def _sweep(path: Path) -> None:
    """Remove temporary files of one file whose processes no longer live."""
    name = re.escape(f".{path.name[:_MAX_NAME]}{_PARTIAL}")
    pattern = re.compile(rf"{name}[0-9a-f]{{{2 * _RANDOM_BYTES}}}")
    for entry in os.scandir(path.parent):
        if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            with contextlib.suppress(OSError):
                _remove_orphan(entry.path)


def _remove_orphan(partial: str) -> None:
    handle = os.open(partial, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its writer would have it
        if os.fstat(handle).st_uid == os.geteuid():
            os.unlink(partial)  # noqa: PTH108  # text
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _take_place(target: Target, partial: Path) -> None:
    """Rename the temporary file, unless another file has taken the name."""
    _refuse_changed(target)
    if target.status is not None:
        partial.replace(target.path)
        return
    try:
        os.link(partial, target.path, follow_symlinks=False)
    except FileExistsError:
        _refuse_changed(target)
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        partial.rename(target.path)  # a file system without hard links


def _copy_attributes(target: Target, handle: int, new_mode: int | None) -> None:
    """Copy the permissions, and owner and extended attributes as far as allowed."""
    if target.status is None:
        os.fchmod(handle, _NEW_FILE & ~_umask() if new_mode is None else new_mode)
        return
    with contextlib.suppress(OSError):
        os.fchown(handle, target.status.st_uid, target.status.st_gid)
    for attribute in _attributes(target.path):
        with contextlib.suppress(OSError):
            os.setxattr(handle, attribute, os.getxattr(target.path, attribute))
    os.fchmod(handle, target.status.st_mode & _PERMISSIONS)


def _attributes(path: Path) -> list[str]:
    with contextlib.suppress(OSError, AttributeError):  # not on every system
        return os.listxattr(path)
    return []


def _flush_folder(folder: Path) -> None:
    """Flush the rename to disk; the content was flushed before."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    """Return the umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_MINE = 0o700


def make_private_folder(folder: Path) -> None:
    """Create a folder and its missing parents, for this user alone."""
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
    ours, others = (0o700, 0o055) if executable else (0o600, 0o044)
    return ours | (others & ~_umask())
