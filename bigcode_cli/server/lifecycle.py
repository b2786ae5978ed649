"""One server a user: its lock, its socket, and what is left of one that was killed."""

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bigcode_cli.framework.errors import Failure
from bigcode_cli.server.paths import LOCK_NAME, SOCKET_NAME, make_runtime_folder

_BACKLOG = 512
_OWNER_ONLY = 0o177


@contextmanager
def claimed_socket() -> Iterator[socket.socket]:
    """Take this user's lock and listen on this user's socket.

    The lock is the system's: it ends with the process, however that ends, so a killed
    server blocks no other.

    Raises:
        Failure: `server-running`: another one has the lock; `server`: something that is no socket
            is in the way, or the folder cannot be used.
        UsageFailure: the path is too long.
    """
    folder = make_runtime_folder()
    lock = _take_lock(folder / LOCK_NAME)
    path = folder / SOCKET_NAME
    try:
        listener = _listen(path)
        inode = path.lstat().st_ino
        try:
            yield listener
        finally:
            listener.close()
            with suppress(OSError):
                if path.lstat().st_ino == inode:
                    path.unlink()
    finally:
        os.close(lock)


def _take_lock(path: Path) -> int:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Failure("server", f"{path}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(handle, 32).decode("ascii", "replace").strip()
        os.close(handle)
        who = f"a server is already running (process {pid})" if pid else "a server is starting"
        hint = "bigcode ps shows it, bigcode stop ends it"
        raise Failure("server-running", who, hint=hint) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _listen(path: Path) -> socket.socket:
    """Bind the socket, for this user alone; one that is left of a killed server is replaced."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Failure("server", f"{path}: is in the way and no socket; remove it")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(_OWNER_ONLY)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise Failure("server", f"{path}: {error.strerror}") from None
    finally:
        os.umask(umask)
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def listen_on_port(host: str, port: int) -> socket.socket:
    """Listen on an address too.

    Raises:
        Failure: `server`: it is in use, or not one of this machine.
    """
    try:
        ((family, _, _, _, address), *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        raise Failure("server", f"{host}:{port}: {error.strerror}") from None
    listener.setblocking(False)
    return listener
