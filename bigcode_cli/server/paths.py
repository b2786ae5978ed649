"""Where the server's socket, lock and log are, and whether a call asks a server at all.

The folders are this user's alone, never a shared one. Where no server runs, a call enters no other
module of this package.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.framework.settings import state_folder

if TYPE_CHECKING:
    from bigcode_cli.framework.options import ComputeOptions, ModelOptions
    from bigcode_cli.framework.output import Notes
    from bigcode_cli.models.resolve import Found

SOCKET_NAME, LOCK_NAME = "serve.sock", "serve.lock"
LONGEST_SOCKET_BYTES = 107
"""What `sockaddr_un` holds, without the byte that ends it."""
AUTO, OFF = "auto", "off"
SCHEMES = ("http://", "https://")
"""How a remote engine's address begins."""
_PRIVATE = 0o700


@dataclass(frozen=True)
class ServedModel:
    """A model, how it is to run, and what --server says."""

    found: "Found"
    options: "ModelOptions | ComputeOptions"
    server: str | None


def is_server_wanted(choice: str | None, notes: "Notes") -> bool:
    """Whether a call asks a server: one that was named, or one that runs."""
    if choice is not None:
        return choice != OFF
    if socket_path().is_socket():
        return True
    notes.detail("no server is running; the model is loaded here")
    return False


def judging_model(job: str, model: ServedModel, notes: "Notes", load: Callable[[], Any]) -> Any:
    """The model of a call that judges texts: that of a server, or one that is loaded here.

    Args:
        job: score, classify or tag.
        model: which model.
        notes: told which way is taken, and why.
        load: loads the model here.
    """
    if not is_server_wanted(model.server, notes):
        return load()
    from bigcode_cli.server.client.judging import KINDS
    from bigcode_cli.server.client.warm import warm_model

    return warm_model(KINDS[job], model, notes, load)


def runtime_folder() -> Path:
    """Return the folder for socket and lock, whether it exists or not.

    `$XDG_RUNTIME_DIR/bigcode`, if that variable names a folder of this user with mode 0700; else a
    folder in this user's state. A shared folder such as /tmp is never used.
    """
    named = os.environ.get("XDG_RUNTIME_DIR", "")
    if named.startswith("/") and _is_private(Path(named)):
        return Path(named) / "bigcode"
    return state_folder() / "run"


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


def allowed_server(choice: str | None, *, offline: bool) -> str | None:
    """Return the choice of --server, if --offline allows it.

    Raises:
        Failure: a URL, which is the network.
    """
    if offline and choice is not None and choice.startswith(SCHEMES):
        from bigcode_cli.framework.offline import offline_failure

        raise offline_failure(f"--server {choice}")
    return choice
