"""Starts a server in the background: the same call once more, detached, with its log in a file."""

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.output import Notes
from bigcode_cli.framework.settings import state_folder
from bigcode_cli.server.client.connection import server_state

START_SECONDS = 600.0
_POLL_SECONDS = 0.02
_LOG_BYTES = 1 << 20
_PRIVATE = 0o700


def start_in_background(notes: Notes) -> None:
    """Start what this process was asked to be, without --background, and wait until it is ready.

    Raises:
        Failure: it has ended instead; its last words say why.
    """
    arguments = [word for word in sys.argv[1:] if word != "--background"]
    process, log = _start(arguments)
    if not _await_ready(process):
        raise _failure(log)
    notes.note(f"server {process.pid} is ready; its log is {log}")


def start_for_calls(directory: Path) -> bool:
    """Start a server that ends when it is idle, and wait for it; whether it is ready.

    Args:
        directory: the model that it loads first.
    """
    try:
        process, _ = _start(["serve", "--exit-when-idle", "-m", str(directory)])
    except Failure:
        return False
    return _await_ready(process)


def _start(arguments: list[str]) -> tuple[subprocess.Popen[bytes], Path]:
    folder = state_folder()
    log = folder / "serve.log"
    try:
        folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        fresh = os.O_TRUNC if log.exists() and log.stat().st_size > _LOG_BYTES else 0
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | fresh, 0o600)
    except OSError as error:
        raise Failure("server", f"{log}: {error.strerror}") from None
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bigcode_cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=handle,
            start_new_session=True,
        )
    finally:
        os.close(handle)
    return process, log


def _await_ready(process: subprocess.Popen[bytes]) -> bool:
    """Wait until a server answers; False: it has ended, or does not get ready."""
    deadline = monotonic() + START_SECONDS
    while monotonic() < deadline and process.poll() is None:
        state = server_state()
        if state is not None and state.get("pid") == process.pid:
            return True
        sleep(_POLL_SECONDS)
    process.kill()
    return False


def _failure(log: Path) -> Failure:
    """The last error line of a server that did not start, as an error of this process."""
    lines = log.read_text("utf-8", "replace").splitlines()
    places = [at for at, line in enumerate(lines) if line.startswith("bigcode: error[")]
    if not places:
        return Failure("server", f"the server has ended; see {log}")
    slug, _, message = lines[places[-1]].removeprefix("bigcode: error[").partition("]: ")
    hints = [line for line in lines[places[-1] + 1 :][:1] if line.startswith("hint: ")]
    return Failure(slug, message, hint=hints[0].removeprefix("hint: ") if hints else None)
