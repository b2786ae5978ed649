"""The options that only `bigcode infill` has: where the gap is, and what becomes of the answer.

Knows nothing of what the command does with them.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bigcode_cli.framework import option_types

PLACE, ANSWER = "Place (exactly one)", "Answer"

_AT = re.compile(r"[1-9]\d{0,8}:[1-9]\d{0,8}", re.ASCII)
_MOST_BYTES = 2**63 - 1


class Order(StrEnum):
    """In which order the model reads what is before and after the gap."""

    PSM = "psm"
    SPM = "spm"


class ColumnUnit(StrEnum):
    """What the column of --at counts: editors differ."""

    CHARACTER = "character"
    UTF_16 = "utf-16"
    BYTE = "byte"


class Shown(StrEnum):
    """What of the answer is written."""

    MIDDLE = "middle"
    FILE = "file"
    DIFF = "diff"


def line_and_column(value: Any) -> str:
    """Read LINE:COLUMN, both from 1 on."""
    if not _AT.fullmatch(option_types.text(value)):
        raise typer.BadParameter(f"{value!r} is not LINE:COLUMN, both counted from 1")
    return str(value)


def marker_text(value: Any) -> str:
    """Read a text that stands where the gap is."""
    try:
        size = len(option_types.text(value).encode("utf-8"))
    except UnicodeEncodeError:
        raise typer.BadParameter("a marker must be valid UTF-8") from None
    if not size:
        raise typer.BadParameter("a marker cannot be empty")
    return str(value)


@dataclass(frozen=True, kw_only=True)
class PlaceOptions:
    """Where the gap is."""

    at: Annotated[
        str | None,
        typer.Option(
            metavar="LINE:COLUMN",
            parser=line_and_column,
            rich_help_panel=PLACE,
            help="Before this character; lines and columns count from 1.",
        ),
    ] = None
    column_unit: Annotated[
        ColumnUnit,
        typer.Option(
            parser=option_types.one_of(ColumnUnit),
            rich_help_panel=PLACE,
            help="What the column of --at counts: characters, code units of UTF-16 as editors do"
            " that speak the language server protocol, or bytes of UTF-8.",
        ),
    ] = ColumnUnit.CHARACTER
    offset: Annotated[
        int | None,
        typer.Option(
            metavar="BYTES",
            min=0,
            parser=option_types.bounded(int, low=0, high=_MOST_BYTES),
            rich_help_panel=PLACE,
            help="After this many bytes of the file.",
        ),
    ] = None
    marker: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            parser=marker_text,
            rich_help_panel=PLACE,
            help="Instead of this text, which stands in the file once.",
        ),
    ] = None
    prefix_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=option_types.path,
            rich_help_panel=PLACE,
            help="After the text of this file and before that of --suffix-file, without FILE.",
        ),
    ] = None
    suffix_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=option_types.path,
            rich_help_panel=PLACE,
            help="The text after the gap, with --prefix-file.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """How the model reads the gap, and what becomes of its answer."""

    order: Annotated[
        Order | None,
        typer.Option(
            parser=option_types.one_of(Order),
            rich_help_panel=ANSWER,
            help="What the model reads first: the text before the gap (psm) or after it (spm).",
            show_default="what the model is better at, else psm",
        ),
    ] = None
    no_healing: Annotated[
        bool,
        typer.Option(
            "--no-healing",
            rich_help_panel=ANSWER,
            help="In spm order, begin behind the last token before the gap, without healing it.",
        ),
    ] = False
    no_trim: Annotated[
        bool,
        typer.Option(
            "--no-trim",
            rich_help_panel=ANSWER,
            help="Neither stop nor cut where the answer repeats what follows the gap.",
        ),
    ] = False
    print: Annotated[
        Shown | None,
        typer.Option(
            parser=option_types.one_of(Shown),
            rich_help_panel=ANSWER,
            help="Write the answer alone, the whole file with it, or the change as a unified diff"
            " (default: middle).",
        ),
    ] = None
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            rich_help_panel=ANSWER,
            help="Write the answer into FILE and nothing to standard output.",
        ),
    ] = False
