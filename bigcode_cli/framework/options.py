"""The options that commands share, each declared once with its help, range and default.

Knows nothing of what a command does with them.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from bigcode_cli.framework import option_types


class Precision(StrEnum):
    """The number format of the weights and of the arithmetic."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"
    INT4 = "int4"


class OutputFormat(StrEnum):
    """How a result is written to stdout."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


class Scope(StrEnum):
    """The piece of code after which a completion ends."""

    LINE = "line"
    BLOCK = "block"
    FUNCTION = "function"
    FILE = "file"


MODEL, GENERATION, GENERAL = "Model", "Generation", "General"

InputFile: TypeAlias = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE",
        show_default=False,
        parser=option_types.path,
        help="The text to work on; - or nothing reads standard input.",
    ),
]
NoHealing: TypeAlias = Annotated[
    bool,
    typer.Option("--no-healing", help="Begin behind the prompt's last token, without healing it."),
]
Echo: TypeAlias = Annotated[
    bool, typer.Option("--echo", help="Write the prompt in front of the completion.")
]
Device: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda|cuda:N",
        parser=option_types.device,
        rich_help_panel=MODEL,
        help="Where the model runs.",
    ),
]
NumberFormat: TypeAlias = Annotated[
    Precision,
    typer.Option(
        parser=option_types.one_of(Precision),
        rich_help_panel=MODEL,
        help="The number format of weights and arithmetic.",
    ),
]
Threads: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=1024,
        parser=option_types.bounded(int, low=1, high=1024),
        rich_help_panel=MODEL,
        help="CPU threads (default: one for each physical core).",
    ),
]
NoWeightsCache: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--no-weights-cache",
        rich_help_panel=MODEL,
        help="Do not keep int8 or int4 weights on disk for the next start.",
    ),
]
NoCache: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--no-cache",
        rich_help_panel=GENERAL,
        help="Neither use nor keep results of texts that have not changed since.",
    ),
]
ExitZero: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--exit-zero", rich_help_panel="Gates", help="Exit with 0 even if there are findings."
    ),
]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model runs, and where."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|PATH|REPO[@REVISION]",
            parser=option_types.text,
            rich_help_panel=MODEL,
            help="The model: a built-in name, a folder, or a repository in the local cache"
            " (default: the built-in pocket-coder).",
        ),
    ] = None
    device: Device = "auto"
    precision: NumberFormat = Precision.AUTO
    threads: Threads = None


@dataclass(frozen=True, kw_only=True)
class KeptModelOptions(ModelOptions):
    """... and whether its quantized weights are kept for the next start."""

    no_weights_cache: NoWeightsCache = False


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """Where a model runs, for commands that choose it in another way."""

    device: Device = "auto"
    precision: NumberFormat = Precision.AUTO
    threads: Threads = None


@dataclass(frozen=True, kw_only=True)
class MessageOptions:
    """How much is said beside the result."""

    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", rich_help_panel=GENERAL, help="No notes, only errors."),
    ] = False
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", rich_help_panel=GENERAL, help="Notes on model, tokens and times."
        ),
    ] = False
    offline: Annotated[
        bool,
        typer.Option("--offline", rich_help_panel=GENERAL, help="Never use the network."),
    ] = False


@dataclass(frozen=True, kw_only=True)
class ReportOptions(MessageOptions):
    """How results and messages are shown."""

    format: Annotated[
        OutputFormat,
        typer.Option(
            parser=option_types.one_of(OutputFormat),
            rich_help_panel=GENERAL,
            help="How the result is written.",
        ),
    ] = OutputFormat.TEXT


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """How tokens are chosen, and when to stop."""

    max_tokens: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            max=100_000,
            parser=option_types.bounded(int, low=1, high=100_000),
            rich_help_panel=GENERATION,
            help="The most tokens that are written.",
        ),
    ] = 128
    temperature: Annotated[
        float,
        typer.Option(
            metavar="T",
            min=0,
            max=100,
            parser=option_types.bounded(float, low=0.0, high=100.0),
            rich_help_panel=GENERATION,
            help="How freely tokens are drawn; 0 takes the most likely one.",
        ),
    ] = 0.0
    top_k: Annotated[
        int,
        typer.Option(
            metavar="K",
            min=0,
            max=1_000_000,
            parser=option_types.bounded(int, low=0, high=1_000_000),
            rich_help_panel=GENERATION,
            help="Draw from the K most likely tokens; 0 from all.",
        ),
    ] = 0
    top_p: Annotated[
        float,
        typer.Option(
            metavar="P",
            min=0,
            max=1,
            parser=option_types.bounded(float, low=0.0, high=1.0, above_low=True),
            rich_help_panel=GENERATION,
            help="Draw from the fewest tokens that hold this share of the probability.",
        ),
    ] = 1.0
    min_p: Annotated[
        float,
        typer.Option(
            metavar="P",
            min=0,
            max=1,
            parser=option_types.bounded(float, low=0.0, high=1.0),
            rich_help_panel=GENERATION,
            help="Leave out tokens below this share of the most likely one's probability.",
        ),
    ] = 0.0
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            parser=option_types.bounded(int, low=0, high=2**63 - 1),
            rich_help_panel=GENERATION,
            help="Start of the random numbers: the same seed draws the same text.",
        ),
    ] = None
    repetition_penalty: Annotated[
        float,
        typer.Option(
            metavar="R",
            min=0,
            max=100,
            parser=option_types.bounded(float, low=0.0, high=100.0, above_low=True),
            rich_help_panel=GENERATION,
            help="Above 1.0, tokens that have occurred become less likely.",
        ),
    ] = 1.0
    stop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            parser=option_types.stop_text,
            callback=option_types.few_stops,
            rich_help_panel=GENERATION,
            help="End before this text, which is not written; repeatable.",
        ),
    ] = None
    until: Annotated[
        Scope | None,
        typer.Option(
            parser=option_types.one_of(Scope),
            rich_help_panel=GENERATION,
            help="End after this piece of code (default: the model decides).",
        ),
    ] = None
    time_budget: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            max=86_400,
            parser=option_types.bounded(float, low=0.0, high=86_400.0, above_low=True),
            rich_help_panel=GENERATION,
            help="Write what there is after this time.",
        ),
    ] = None
    samples: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            max=128,
            parser=option_types.bounded(int, low=1, high=128),
            rich_help_panel=GENERATION,
            help="How many completions of the same prompt.",
        ),
    ] = 1
    min_confidence: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            min=0,
            max=1,
            parser=option_types.bounded(float, low=0.0, high=1.0),
            rich_help_panel=GENERATION,
            help="Write nothing if the mean probability of the tokens is below this.",
        ),
    ] = None
    context: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            parser=option_types.path,
            rich_help_panel=GENERATION,
            help="Another file of the repository, put before the prompt; repeatable.",
        ),
    ] = None
    no_truncate: Annotated[
        bool,
        typer.Option(
            "--no-truncate",
            rich_help_panel=GENERATION,
            help="Refuse a prompt that is too long instead of keeping its end.",
        ),
    ] = False
    draft: Annotated[
        str | None,
        typer.Option(
            "--draft",
            metavar="NAME|PATH|REPO[@REVISION]",
            parser=option_types.text,
            rich_help_panel=GENERATION,
            help="A smaller model with the same tokens that guesses ahead; the text is the same.",
        ),
    ] = None
    no_speculation: Annotated[
        bool,
        typer.Option(
            "--no-speculation",
            rich_help_panel=GENERATION,
            help="Compute one token at a time, without guessing ahead; the text is the same.",
        ),
    ] = False
    no_prefix_cache: Annotated[
        bool,
        typer.Option(
            "--no-prefix-cache",
            rich_help_panel=GENERATION,
            help="Keep nothing of the prompt for the next call, and use nothing that was kept.",
        ),
    ] = False
