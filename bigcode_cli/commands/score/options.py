"""The options of `bigcode score`."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from bigcode_cli.framework import option_types
from bigcode_cli.framework.option_types import choice, number, switch, whole, words
from bigcode_cli.framework.options import GATES, ExitZero, KeepingOptions, Strict

SCORING, VIEWS = "Scoring", "Views"
DEFAULT_MAX_RISE = 0.05
"""Bits per byte that a file may rise above a baseline."""
_MOST_BITS = 1000.0


class Windowing(StrEnum):
    """How a file that is longer than the model's context is cut."""

    STRIDED = "strided"
    DISJOINT = "disjoint"
    FULL = "full"


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """When the exit status says that files are too surprising."""

    max_bits_per_byte: Annotated[
        float | None,
        number("Exit with status 1 if a file is above this limit.", 0, _MOST_BITS, panel=GATES),
    ] = None
    baseline: Annotated[
        Path | None,
        words(
            "Compare with an earlier JSON or JSONL report; exit with status 1 if a file got worse.",
            option_types.path,
            panel=GATES,
            metavar="FILE",
        ),
    ] = None
    max_rise: Annotated[
        float | None,
        number(
            "Largest allowed increase over the baseline, in bits per byte. With --staged and"
            " without --baseline, of added lines over those around their place in HEAD.",
            0,
            _MOST_BITS,
            panel=GATES,
            shown_default=f"{DEFAULT_MAX_RISE} with --baseline",
        ),
    ] = None
    min_tokens: Annotated[
        int,
        whole("Do not judge files with fewer tokens.", 0, 1_000_000_000, panel=GATES),
    ] = 10
    strict: Strict = False
    exit_zero: ExitZero = False


@dataclass(frozen=True, kw_only=True)
class ViewOptions(KeepingOptions):
    """What else is shown of the files."""

    worst: Annotated[
        int | None,
        whole(
            "Show the N most surprising lines of all files, with their text.",
            1,
            10_000,
            panel=VIEWS,
        ),
    ] = None
    sort: Annotated[
        bool,
        switch(
            "Sort files, and lines with --lines, with the most surprising first.",
            "--sort",
            panel=VIEWS,
        ),
    ] = False
    heatmap: Annotated[
        bool,
        switch(
            "Print the source with surprising tokens highlighted. Without colours (NO_COLOR,"
            " TERM=dumb, not a terminal), the digits 1 to 4 below a token mean at least 3, 6, 9"
            " and 12 bits.",
            "--heatmap",
            panel=VIEWS,
        ),
    ] = False
    html: Annotated[
        Path | None,
        words(
            "Also write a web page with the highlighted source and the most surprising lines.",
            option_types.path,
            panel=VIEWS,
            metavar="FILE",
            command_line_only=True,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """How files are scored."""

    lines: Annotated[bool, switch("Also report every line.", "--lines", panel=VIEWS)] = False
    tokens: Annotated[bool, switch("Also report every token.", "--tokens", panel=VIEWS)] = False
    window: Annotated[
        Windowing,
        choice(
            "How to split a file longer than the context: overlapping windows, adjacent windows (as"
            " lm-eval does), or not at all.",
            Windowing,
            panel=SCORING,
        ),
    ] = Windowing.STRIDED
    jobs: Annotated[
        int,
        whole("Requests to send at once to a remote engine (--server URL).", 1, 128, panel=SCORING),
    ] = 8
    stride: Annotated[
        int | None,
        whole(
            "Tokens from one strided window to the next.",
            1,
            1_000_000,
            panel=SCORING,
            shown_default="half of the context",
        ),
    ] = None
