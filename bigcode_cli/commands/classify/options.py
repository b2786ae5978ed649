"""The options of `bigcode classify`.

Knows nothing of what the command does with them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from bigcode_cli.framework import option_types
from bigcode_cli.framework.options import MODEL, ExitZero

CLASSIFYING, GATES = "Classifying", "Gates"

InputPaths: TypeAlias = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="PATH",
        show_default=False,
        parser=option_types.path,
        help="Files and folders to classify; - or nothing reads standard input.",
    ),
]
ClassifierName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|PATH|REPO[@REVISION]",
        parser=option_types.text,
        rich_help_panel=MODEL,
        help="The model: a built-in name, a folder, or a repository in the local cache"
        " (default: the built-in pocket-languages; set by BIGCODE_CLASSIFY_MODEL or"
        " classify-model).",
    ),
]


@dataclass(frozen=True, kw_only=True)
class ClassifyingOptions:
    """What is told of each file."""

    top: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=10_000,
            parser=option_types.bounded(int, low=1, high=10_000),
            rich_help_panel=CLASSIFYING,
            help="Give the N most likely labels (default: those that hold; in JSON all).",
        ),
    ] = None
    windows: Annotated[
        bool,
        typer.Option(
            "--windows",
            rich_help_panel=CLASSIFYING,
            help="Give the labels of each window of a long file too.",
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class LabelGateOptions:
    """When the exit status says that files are not what they should be."""

    expect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL",
            parser=option_types.text,
            rich_help_panel=GATES,
            help="Exit with 1 if a file has another label; repeatable, any of them is right.",
        ),
    ] = None
    min_score: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            min=0,
            max=1,
            parser=option_types.bounded(float, low=0.0, high=1.0),
            rich_help_panel=GATES,
            help="Exit with 1 if a label is less likely than this.",
        ),
    ] = None
    exit_zero: ExitZero = False
