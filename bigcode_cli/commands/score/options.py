"""The options of `bigcode score`.

Knows nothing of what the command does with them.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from bigcode_cli.files.options import KeepingOptions
from bigcode_cli.framework import option_types
from bigcode_cli.framework.options import ExitZero


class Window(StrEnum):
    """How a file that is longer than the model's context is cut."""

    STRIDED = "strided"
    DISJOINT = "disjoint"
    FULL = "full"


SCORING, GATES, VIEWS = "Scoring", "Gates", "Views"
_MOST_BITS = 1000.0

InputPaths: TypeAlias = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="PATH",
        show_default=False,
        parser=option_types.path,
        help="Files and folders to score; - or nothing reads standard input.",
    ),
]
Staged: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--staged",
        rich_help_panel=SCORING,
        help="Score what is staged in git instead of files, and judge only added lines.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """How files are scored."""

    window: Annotated[
        Window,
        typer.Option(
            parser=option_types.one_of(Window),
            rich_help_panel=SCORING,
            help="How a long file is cut: overlapping windows, windows side by side (the numbers"
            " of lm-eval), or not at all.",
        ),
    ] = Window.STRIDED
    stride: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=1_000_000,
            parser=option_types.bounded(int, low=1, high=1_000_000),
            rich_help_panel=SCORING,
            help="Tokens from one strided window to the next (default: half of the context).",
        ),
    ] = None
    lines: Annotated[
        bool,
        typer.Option("--lines", rich_help_panel=SCORING, help="Give the value of each line too."),
    ] = False
    tokens: Annotated[
        bool,
        typer.Option("--tokens", rich_help_panel=SCORING, help="Give the value of each token too."),
    ] = False


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """When the exit status says that files are too surprising."""

    max_bits_per_byte: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0,
            max=_MOST_BITS,
            parser=option_types.bounded(float, low=0.0, high=_MOST_BITS),
            rich_help_panel=GATES,
            help="Exit with 1 if a file is above this.",
        ),
    ] = None
    min_tokens: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            max=1_000_000_000,
            parser=option_types.bounded(int, low=0, high=1_000_000_000),
            rich_help_panel=GATES,
            help="Judge no file that has fewer tokens.",
        ),
    ] = 10
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=option_types.path,
            rich_help_panel=GATES,
            help="An earlier report in JSON or JSONL; exit with 1 if a file got worse.",
        ),
    ] = None
    max_rise: Annotated[
        float,
        typer.Option(
            metavar="X",
            min=0,
            max=_MOST_BITS,
            parser=option_types.bounded(float, low=0.0, high=_MOST_BITS),
            rich_help_panel=GATES,
            help="How many bits per byte above the baseline are still right.",
        ),
    ] = 0.05
    exit_zero: ExitZero = False


@dataclass(frozen=True, kw_only=True)
class ViewOptions(KeepingOptions):
    """What else shows the surprise of files."""

    heatmap: Annotated[
        bool,
        typer.Option(
            "--heatmap",
            rich_help_panel=VIEWS,
            help="Show the source with surprising tokens coloured; without colours (NO_COLOR,"
            " TERM=dumb, not a terminal) digits 1 to 4 under them mark at least 3, 6, 9 and"
            " 12 bits.",
        ),
    ] = False
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar=[],
            parser=option_types.path,
            rich_help_panel=VIEWS,
            help="Also write a page with the coloured source and its most surprising lines.",
        ),
    ] = None
