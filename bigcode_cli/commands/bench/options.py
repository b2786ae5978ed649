"""The options of `bench`."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from bigcode_cli.framework.option_types import choice, whole

BENCH = "What is measured"


class Shape(StrEnum):
    """A member of the family, by its size."""

    TINY_STARCODER_PY = "tiny_starcoder_py"
    SANTACODER = "santacoder"
    STARCODERBASE_3B = "starcoderbase-3b"
    STARCODER = "starcoder"


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What is measured, and how often."""

    shape: Annotated[
        Shape | None,
        choice(
            "Measure random weights of this model's size instead of a model.",
            Shape,
            panel=BENCH,
            command_line_only=True,
        ),
    ] = None
    prompt_tokens: Annotated[
        int,
        whole(
            "Length of the prompt in tokens.",
            1,
            100_000,
            panel=BENCH,
            flags=("--context",),
            command_line_only=True,
        ),
    ] = 512
    repeat: Annotated[
        int,
        whole("Number of runs of each measurement.", 1, 1000, panel=BENCH, command_line_only=True),
    ] = 3
