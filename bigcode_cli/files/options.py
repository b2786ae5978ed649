"""The options of commands that work on many files."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

from bigcode_cli.framework import option_types
from bigcode_cli.framework.option_types import argument, choice, switch
from bigcode_cli.framework.options import COMMON, GATES, GENERAL, MessageOptions, NoCache


class TableFormat(StrEnum):
    """How the results of many files are written to stdout."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


InputPaths: TypeAlias = Annotated[
    list[Path] | None,
    argument(
        "Files and folders; standard input if it is - or missing.",
        option_types.path,
        metavar="PATH",
    ),
]
Staged: TypeAlias = Annotated[
    bool,
    switch("Read git's index instead of files; judge only added lines.", "--staged", panel=COMMON),
]
Strict: TypeAlias = Annotated[
    bool,
    switch(
        "Exit with status 3 if a file was skipped, or if there was nothing to compare.",
        "--strict",
        panel=GATES,
    ),
]
NoIgnore: TypeAlias = Annotated[
    bool,
    switch("Search files that git ignores, too.", "--no-ignore", panel=COMMON),
]


@dataclass(frozen=True, kw_only=True)
class TableOptions(MessageOptions):
    """How the results of many files and messages are shown."""

    format: Annotated[TableFormat, choice("Output format.", TableFormat, panel=GENERAL)] = (
        TableFormat.TEXT
    )


@dataclass(frozen=True, kw_only=True)
class KeepingOptions(TableOptions):
    """Which files in folders count, and whether results are kept, too."""

    no_ignore: NoIgnore = False
    no_cache: NoCache = False
