"""Where the server's socket, lock and log are: folders of this user alone, never a shared one."""

import os
import stat
from pathlib import Path

from bigcode_cli.framework.errors import Failure, UsageFailure

SOCKET_NAME, LOCK_NAME = "serve.sock", "serve.lock"
LONGEST_SOCKET_BYTES = 107
"""What `sockaddr_un` holds, without the byte that ends it."""
_PRIVATE = 0o700


def runtime_folder() -> Path:
    """Return the folder for socket and lock, whether it exists or not.

    `$XDG_RUNTIME_DIR/bigcode`, if that variable names a folder of this user with mode 0700; else a
    folder in this user's state. A shared folder such as /tmp is never used.
    """
    named = os.environ.get("XDG_RUNTIME_DIR", "")
    if named.startswith("/") and _is_private(Path(named)):
        return Path(named) / "bigcode"
    return state_folder() / "run"


def state_folder() -> Path:
    """Return the folder for the log of a server in the background."""
    import platformdirs

    return Path(platformdirs.user_state_dir("bigcode", appauthor=False))


def socket_path() -> Path:
    """Return where the socket of this user's server is."""
    return runtime_folder() / SOCKET_NAME


def make_runtime_folder() -> Path:
    """Make the folder for socket and lock.

    Raises:
        Failure: `server`: it cannot be made, or is not this user's alone.
        UsageFailure: the socket's path would be longer than the system allows.
    """
    folder = runtime_folder()
    size = len(os.fsencode(folder / SOCKET_NAME))
    if size > LONGEST_SOCKET_BYTES:
        why = f"a socket's path has at most {LONGEST_SOCKET_BYTES} bytes, this one has {size}"
        hint = "set XDG_RUNTIME_DIR to a shorter path"
        raise UsageFailure(f"{folder / SOCKET_NAME}: {why}", hint=hint)
    try:
        for above in reversed([folder, *folder.parents]):
            if not above.exists():
                above.mkdir(mode=_PRIVATE, exist_ok=True)
    except OSError as error:
        raise Failure("server", f"{folder}: {error.strerror}") from None
    if not _is_private(folder):
        raise Failure("server", f"{folder}: not a folder of this user with mode 0700")
    return folder


def _is_private(folder: Path) -> bool:
    """Whether it is a folder, no link, of this user, that nobody else may enter."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    mine = found.st_uid == os.geteuid()
    return stat.S_ISDIR(found.st_mode) and mine and stat.S_IMODE(found.st_mode) == _PRIVATE
