"""Which server a call may use, and a model in its memory.

A server that cannot answer costs one note of --verbose: the call then computes by itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.framework.output import Notes
from bigcode_cli.models.resolve import BUILT_IN_PACKAGES, Found
from bigcode_cli.server.client.connection import Connection, ServerUnusableError
from bigcode_cli.server.paths import AUTO, OFF, SCHEMES, ServedModel, socket_path

if TYPE_CHECKING:
    from bigcode_cli.framework.options import ComputeOptions, ModelOptions

_UNIX = "unix:"


@dataclass(frozen=True, kw_only=True)
class Address:
    """A server to ask.

    Attributes:
        socket: where it listens.
        required: the user named it: without it there is no answer.
    """

    socket: Path
    required: bool = False


def find_server(choice: str | None, found: Found, notes: Notes) -> Address | None:
    """The server that a call may use; None: it computes by itself.

    Args:
        choice: None: one that runs; `auto`: one is started for a model that is not built in;
            `off`: none; else where it listens.
        found: the model.
        notes: told which way is taken, and why.

    Raises:
        UsageFailure: a remote engine, which judges no texts.
    """
    if choice == OFF:
        return None
    if choice not in (None, AUTO):
        if choice.startswith(SCHEMES):
            raise UsageFailure("--server: a remote engine completes, infills and scores only")
        return Address(socket=Path(choice.removeprefix(_UNIX)), required=True)
    path = socket_path()
    if path.is_socket():
        return Address(socket=path)
    if choice == AUTO and found.name not in BUILT_IN_PACKAGES:
        from bigcode_cli.server.client.background import start_for_calls

        notes.detail("starting a server for this model")
        return Address(socket=path) if start_for_calls(found.directory) else None
    notes.detail("no server is running; the model is loaded here")
    return None


def warm_model(
    kind: Callable[["Warm", Callable[[], Any]], Any],
    model: ServedModel,
    notes: Notes,
    load: Callable[[], Any],
) -> Any:
    """A model of a server that judges texts, or one that is loaded here.

    Args:
        kind: makes the one of a server.
        model: which model.
        notes: told which way is taken, and why.
        load: loads the model here.
    """
    address = find_server(model.server, model.found, notes)
    if address is None or getattr(model.options, "no_weights_cache", False):
        return load()
    return kind(Warm(address, model.found, model.options, notes), load)


class Warm:
    """A model in the memory of a server."""

    def __init__(
        self, address: Address, found: Found, options: "ModelOptions | ComputeOptions", notes: Notes
    ) -> None:
        """Ask nothing yet.

        Args:
            address: the server.
            found: the model; results bear its name.
            options: how it is to run.
            notes: told which way was taken, and why.
        """
        self.name, self.revision = found.name, found.revision
        self._address, self._notes = address, notes
        from gpt_bigcode.hardware import choose_threads

        self._base = {
            "model": str(found.directory.resolve()),
            "device": options.device,
            "precision": options.precision.value,
            "threads": choose_threads(options.threads),
        }

    def note_used(self) -> None:
        """Say that the server answers."""
        self._notes.detail("answered by the server")

    def give_up(self, error: ServerUnusableError) -> None:
        """Say why the server is not used.

        Raises:
            Failure: it has to be.
        """
        if self._address.required:
            raise Failure("server", f"{self._address.socket}: {error}")
        self._notes.detail(f"the server is not used: {error}; the model is loaded here")

    def events(self, job: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Ask for something; the events of the answer, the last one being `done`.

        Args:
            job: complete, infill, score, classify or tag.
            body: the fields of the request besides model and machine.

        Raises:
            ServerUnusableError: there is no answer, or no more of it.
        """
        with Connection(self._address.socket) as connection:
            yield from connection.stream(f"/bigcode/v1/{job}", {**self._base, **body})
