"""The options of `bench`, each declared once with its help, range and default.

Knows nothing of what is measured.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from bigcode_cli.framework import option_types

BENCH = "Measurement"


class Shape(StrEnum):
    """A member of the family by its size."""

    TINY_STARCODER_PY = "tiny_starcoder_py"
    SANTACODER = "santacoder"
    STARCODERBASE_3B = "starcoderbase-3b"
    STARCODER = "starcoder"


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What is measured, and how often."""

    shape: Annotated[
        Shape | None,
        typer.Option(
            parser=option_types.one_of(Shape),
            envvar=[],
            show_envvar=False,
            rich_help_panel=BENCH,
            help="Measure random weights of this model's size instead of a model.",
        ),
    ] = None
    prompt_tokens: Annotated[
        int,
        typer.Option(
            "--context",
            metavar="N",
            min=1,
            max=100_000,
            parser=option_types.bounded(int, low=1, high=100_000),
            envvar=[],
            show_envvar=False,
            rich_help_panel=BENCH,
            help="Tokens of the prompt.",
        ),
    ] = 512
    repeat: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            max=1000,
            parser=option_types.bounded(int, low=1, high=1000),
            envvar=[],
            show_envvar=False,
            rich_help_panel=BENCH,
            help="How often everything is measured.",
        ),
    ] = 3
