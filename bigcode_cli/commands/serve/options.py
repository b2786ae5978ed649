"""The options that only `bigcode serve` has."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from bigcode_cli.framework import option_types
from bigcode_cli.framework.option_types import switch, whole, words
from bigcode_cli.framework.quantities import parse_duration, parse_size

LISTENING, LIMITS, STARTING = "Listening", "Limits", "Starting"
LOOPBACK = "127.0.0.1"


def size(value: Any) -> int:
    """Read a number of bytes."""
    try:
        return parse_size(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def duration(value: Any) -> float:
    """Read a time in seconds."""
    try:
        return parse_duration(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@dataclass(frozen=True, kw_only=True)
class ListenOptions:
    """Where the server listens, and to whom."""

    port: Annotated[
        int | None,
        whole(
            "Also listen on this TCP port; 0 picks a free one.",
            0,
            65535,
            panel=LISTENING,
            metavar="PORT",
            command_line_only=True,
        ),
    ] = None
    host: Annotated[
        str,
        words(
            "Address for --port. Any but a loopback address needs --api-key-file.",
            option_types.text,
            panel=LISTENING,
            metavar="ADDRESS",
            command_line_only=True,
        ),
    ] = LOOPBACK
    api_key_file: Annotated[
        Path | None,
        words(
            "Require the key in this file from TCP clients (Authorization: Bearer KEY).",
            option_types.path,
            panel=LISTENING,
            metavar="FILE",
            command_line_only=True,
        ),
    ] = None
    cors: Annotated[
        list[str] | None,
        words(
            "Accept requests from web pages of this origin; repeatable.",
            option_types.text,
            panel=LISTENING,
            metavar="ORIGIN",
            command_line_only=True,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """How much the server does at once and keeps in memory."""

    keep_alive: Annotated[
        float,
        words(
            "Unload a model after this idle time; -1 keeps it forever.",
            duration,
            panel=LIMITS,
            metavar="TIME",
            shown_default="10m",
        ),
    ] = 600.0
    max_memory: Annotated[
        int | None,
        words(
            "Unload idle models to keep weights and cached prompts below this, such as 8G.",
            size,
            panel=LIMITS,
            metavar="SIZE",
        ),
    ] = None
    prefix_memory: Annotated[
        int,
        words(
            "Memory for cached prompts, for each model.",
            size,
            panel=LIMITS,
            metavar="SIZE",
            shown_default="1Gi",
        ),
    ] = 2**30
    parallel: Annotated[
        int, whole("Maximum number of requests computed at once.", 1, 256, panel=LIMITS)
    ] = 8
    queue: Annotated[
        int,
        whole("Maximum number of waiting requests; more get status 503.", 0, 10_000, panel=LIMITS),
    ] = 64


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """How the server starts and ends."""

    background: Annotated[
        bool,
        switch(
            "Return as soon as the server is ready; its log goes to the state folder.",
            "--background",
            panel=STARTING,
            command_line_only=True,
        ),
    ] = False
    exit_when_idle: Annotated[
        bool,
        switch(
            "Stop after --keep-alive without a request.",
            "--exit-when-idle",
            panel=STARTING,
            command_line_only=True,
        ),
    ] = False
