"""`bigcode ps`: which models the server of this user has loaded."""

from typing import Any

from bigcode_cli.framework.options import Format, OutputFormat, Quiet
from bigcode_cli.framework.output import Notes, shown_bytes, write_document, write_table
from bigcode_cli.server.client.connection import server_state


def ps(*, quiet: Quiet = False, format: Format = OutputFormat.TEXT) -> None:  # noqa: A002
    """List the models that the server has loaded, with memory and idle time."""
    document = server_state()
    if document is None:
        document = {"running": False, "models": []}
        Notes(quiet=quiet).note("no server is running; bigcode serve starts one")
    else:
        document = {"running": True, **document}
    if format is not OutputFormat.TEXT:
        write_document(document, format)
    elif document["models"]:
        headings = ("MODEL", "TASK", "STATE", "MEMORY", "REQUESTS", "IDLE")
        write_table(headings, [_row(model) for model in document["models"]])


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(model["model"]),
        str(model["task"]),
        str(model["state"]),
        shown_bytes(model["bytes"]),
        str(model["requests"]),
        f"{model['idle_seconds']:.0f} s",
    )
