"""`bigcode stop`: unload a model, or end the server."""

import os
import signal
from contextlib import suppress
from time import monotonic, sleep
from typing import Annotated

from bigcode_cli.framework import option_types
from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.option_types import argument
from bigcode_cli.framework.options import Quiet
from bigcode_cli.framework.output import Notes
from bigcode_cli.server.client.connection import (
    Connection,
    ServerUnusableError,
    server_state,
)
from bigcode_cli.server.paths import socket_path

STOP_SECONDS = 12.0
_POLL_SECONDS = 0.02

ModelName = Annotated[
    str | None,
    argument("Model to unload; without it the server stops.", option_types.text, metavar="MODEL"),
]


def stop(model: ModelName = None, *, quiet: Quiet = False) -> None:
    """Unload MODEL, or stop the server.

    Running requests get up to 5 seconds to finish.
    """
    notes, state = Notes(quiet=quiet), server_state()
    body = {} if model is None else {"model": model}
    try:
        with Connection(socket_path()) as connection:
            answer = connection.post("/bigcode/v1/stop", body)
    except ServerUnusableError:
        state = None
    if state is None:
        notes.note("no server is running")
        return
    if model is not None:
        _report_unloaded(model, answer["unloaded"], state, notes)
        return
    _await_end(answer["pid"])
    notes.note(f"server {answer['pid']} has ended")


def _report_unloaded(model: str, count: int, state: dict[str, object], notes: Notes) -> None:
    models = state["models"]
    known = isinstance(models, list) and any(one["model"] == model for one in models)
    if count:
        notes.note(f"{model}: unloaded")
    elif known:
        raise Failure("model-busy", f"{model}: is answering requests", hint="try again later")
    else:
        raise Failure("model-missing", f"{model}: not loaded", hint="bigcode ps lists what is")


def _await_end(pid: int) -> None:
    """Wait until a server has ended; one that does not is killed."""
    deadline = monotonic() + STOP_SECONDS
    while _listens(pid):
        if monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return
        sleep(_POLL_SECONDS)


def _listens(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:  # noqa: PTH123
            return stream.read().rpartition(b")")[2].split()[0] != b"Z"
    except (OSError, IndexError):
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return not os.path.isdir("/proc/self")  # noqa: PTH112
