"""The options that only `bigcode infill` has: where the gap is, and what happens to the answer."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bigcode_cli.framework import option_types
from bigcode_cli.framework.option_types import choice, switch, whole, words

PLACE, INFILLING = "Where the gap is (exactly one)", "Infilling"

END = "END"
"""The value of --at that means the end of the file."""

_AT = re.compile(rf"[1-9]\d{{0,8}}(:[1-9]\d{{0,8}})?|{END}", re.ASCII)


class Order(StrEnum):
    """The order of the text before and after the gap in the prompt."""

    PSM = "psm"
    SPM = "spm"


class ColumnUnit(StrEnum):
    """What the column of --at counts; editors differ."""

    CHARACTER = "character"
    UTF_16 = "utf-16"
    BYTE = "byte"


class Shown(StrEnum):
    """What is printed."""

    MIDDLE = "middle"
    FILE = "file"
    DIFF = "diff"


def line_and_column(value: Any) -> str:
    """Read LINE:COLUMN or LINE, both from 1 on, or END."""
    if not _AT.fullmatch(option_types.text(value)):
        why = "is not LINE:COLUMN or LINE, both counted from 1, nor END"
        raise typer.BadParameter(f"{value!r} {why}")
    return str(value)


def marker_text(value: Any) -> str:
    """Read a text that marks the gap."""
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
        words(
            "Fill in before this character, at the end of LINE, or at the END of the file. LINE and"
            " COLUMN count from 1.",
            line_and_column,
            panel=PLACE,
            metavar="LINE[:COLUMN]|END",
            command_line_only=True,
        ),
    ] = None
    marker: Annotated[
        str | None,
        words(
            "Replace this text, which must occur exactly once.",
            marker_text,
            panel=PLACE,
            metavar="TEXT",
            command_line_only=True,
        ),
    ] = None
    offset: Annotated[
        int | None,
        whole(
            "Fill in after this many bytes.",
            0,
            panel=PLACE,
            metavar="BYTES",
            command_line_only=True,
        ),
    ] = None
    prefix_file: Annotated[
        Path | None,
        words(
            "Text before the gap; with --suffix-file, instead of FILE.",
            option_types.path,
            panel=PLACE,
            metavar="FILE",
            command_line_only=True,
        ),
    ] = None
    suffix_file: Annotated[
        Path | None,
        words(
            "Text after the gap; with --prefix-file, instead of FILE.",
            option_types.path,
            panel=PLACE,
            metavar="FILE",
            command_line_only=True,
        ),
    ] = None
    column_unit: Annotated[
        ColumnUnit,
        choice(
            "What the column of --at counts: characters, UTF-16 code units (language servers) or"
            " UTF-8 bytes.",
            ColumnUnit,
            panel=PLACE,
        ),
    ] = ColumnUnit.CHARACTER


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """How the answer is generated and shown."""

    print: Annotated[
        Shown | None,
        choice(
            "What to print: the generated text, the whole file, or a unified diff.",
            Shown,
            panel=INFILLING,
            shown_default="middle",
            command_line_only=True,
        ),
    ] = None
    in_place: Annotated[
        bool,
        switch(
            "Write the generated text into FILE; text output prints nothing.",
            "--in-place",
            panel=INFILLING,
            command_line_only=True,
        ),
    ] = False
    no_trim: Annotated[
        bool,
        switch("Keep what repeats the text after the gap.", "--no-trim", panel=INFILLING),
    ] = False
    order: Annotated[
        Order | None,
        choice(
            "Order of the prompt: prefix first (psm) or suffix first (spm).",
            Order,
            panel=INFILLING,
            shown_default="chosen per model",
        ),
    ] = None
