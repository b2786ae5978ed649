"""Folders and files that their user alone can write, opened without following links."""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PARTIAL = ".partial"
"""How the name of an unfinished file ends."""
# A symbolic link is an error, a named pipe does not block, a child process does not inherit it.
SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SECRET, _SECRET_BYTES = "key", 32
_OTHERS_MAY_READ = stat.S_IRGRP | stat.S_IROTH
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OWNER_ONLY = stat.S_IRUSR | stat.S_IWUSR


@contextmanager
def private_folder(path: Path, *, create: bool = False) -> Iterator[int | None]:
    """Open a folder of this user that nobody else can write to.

    Args:
        path: an absolute path. The folder itself must not be a symbolic link; links above it must
            belong to this user or to root.
        create: make it, and what is missing above it, for its owner alone.

    Yields:
        A descriptor for `dir_fd`, so that what takes the folder's place meanwhile is not used.
        None: the folder is not safe to use.

    Raises:
        OSError: it is not there, cannot be made, or is a link.
    """
    if not path.is_absolute() or not _links_are_trusted(path):
        yield None
        return
    if create:
        _make_folders(path)
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | SAFELY)
    try:
        yield folder if is_private(os.fstat(folder)) else None
    finally:
        os.close(folder)


def _links_are_trusted(path: Path) -> bool:
    for parent in path.parents:
        with suppress(FileNotFoundError):
            status = parent.lstat()
            if stat.S_ISLNK(status.st_mode) and status.st_uid not in (0, os.geteuid()):
                return False
    return True


def _make_folders(path: Path) -> None:
    missing = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
    for folder in reversed(missing):
        folder.mkdir(mode=stat.S_IRWXU, exist_ok=True)


def is_private(status: os.stat_result) -> bool:
    """Tell whether a file or folder is this user's and nobody else can write to it."""
    return status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_MAY_WRITE


@contextmanager
def new_file(folder: int, name: str) -> Iterator[BinaryIO]:
    """A file that gets its name when it is complete, and is removed if it never is.

    Raises:
        BlockingIOError: another process is writing it.
    """
    partial = f".{name}{PARTIAL}"
    with locked(folder, partial, os.O_WRONLY | os.O_CREAT) as handle:
        try:
            os.fchmod(handle, _OWNER_ONLY)
            os.ftruncate(handle, 0)
            with os.fdopen(handle, "wb", closefd=False) as stream:
                yield stream
            os.replace(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(partial, dir_fd=folder)
            raise


@contextmanager
def locked(folder: int, name: str, flags: int) -> Iterator[int]:
    """Open a file and lock it; the lock of a process that is killed is free at once.

    Raises:
        BlockingIOError: another process has it, or has just finished it.
    """
    handle = os.open(name, flags | SAFELY, _OWNER_ONLY, dir_fd=folder)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(handle), os.lstat(name, dir_fd=folder)):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        yield handle
    finally:
        os.close(handle)


def read_secret(folder: int) -> bytes:
    """The folder's secret; empty if it does not exist yet, or others may know it."""
    try:
        handle = os.open(_SECRET, os.O_RDONLY | SAFELY, dir_fd=folder)
    except FileNotFoundError:
        return b""
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(handle)
        secret = stream.read(_SECRET_BYTES)
    exposed = status.st_mode & _OTHERS_MAY_READ or not is_private(status)
    return b"" if exposed or len(secret) < _SECRET_BYTES else secret


def make_secret(folder: int) -> bytes:
    """The folder's secret, made on first use.

    Several processes may do so at once: the first to give it its name wins.
    """
    secret = read_secret(folder)
    if secret:
        return secret
    partial = f".{_SECRET}-{secrets.token_hex(8)}{PARTIAL}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY
    with os.fdopen(os.open(partial, flags, _OWNER_ONLY, dir_fd=folder), "wb") as stream:
        stream.write(secrets.token_bytes(_SECRET_BYTES))
    try:
        _name_secret(folder, partial)
        secret = read_secret(folder)
        if not secret:  # one that is too short, or that others can read
            os.unlink(_SECRET, dir_fd=folder)
            _name_secret(folder, partial)
            secret = read_secret(folder)
    finally:
        os.unlink(partial, dir_fd=folder)
    return secret


def _name_secret(folder: int, partial: str) -> None:
    with suppress(FileExistsError):
        os.link(partial, _SECRET, src_dir_fd=folder, dst_dir_fd=folder)
