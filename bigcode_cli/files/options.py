"""The options that commands on many texts share.

Knows nothing of what a command does with them.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from bigcode_cli.framework import option_types
from bigcode_cli.framework.options import GENERAL, MessageOptions, NoCache


class TableFormat(StrEnum):
    """How the results of many files are written to stdout."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


@dataclass(frozen=True, kw_only=True)
class TableOptions(MessageOptions):
    """How the results of many files and messages are shown."""

    format: Annotated[
        TableFormat,
        typer.Option(
            parser=option_types.one_of(TableFormat),
            rich_help_panel=GENERAL,
            help="How the result is written.",
        ),
    ] = TableFormat.TEXT


@dataclass(frozen=True, kw_only=True)
class KeepingOptions(TableOptions):
    """Whether results are kept, too."""

    no_cache: NoCache = False
