"""The options that commands share, each declared once with its help, range and default."""

from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from bigcode_cli.framework import help_page, option_types
from bigcode_cli.framework.option_types import (
    argument,
    choice,
    number,
    switch,
    whole,
    words,
)
from gpt_bigcode.hardware import Precision


class OutputFormat(StrEnum):
    """How a result is written to stdout."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


class TableFormat(StrEnum):
    """How the results of many files are written to stdout."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


class Until(StrEnum):
    """Where a completion ends: the library's `Scope`, without the imports that it needs."""

    LINE = "line"
    BLOCK = "block"
    FUNCTION = "function"
    FILE = "file"


# The panels of the help; a command shows its own in the order of its parameters.
COMMON = "Common options"
PROMPT = "Prompt"
STOPPING = "When to stop"
SAMPLING = "Sampling"
MODEL = "Model and speed"
GATES = "Gates"
GENERAL = help_page.GENERAL

MODEL_METAVAR = "NAME|PATH|REPO[@REVISION]"
_ANY_MODEL = "The model: a built-in name, a folder, or a downloaded repository."


def model_option(
    default: str, help_text: str = _ANY_MODEL, *, command_line_only: bool = False
) -> Any:
    """Declare `--model`.

    Args:
        default: which model is used without it, in words.
        help_text: what it is for.
        command_line_only: see `Extras`.
    """
    return words(
        help_text,
        option_types.text,
        panel=COMMON,
        metavar=MODEL_METAVAR,
        flags=("--model", "-m"),
        shown_default=default,
        command_line_only=command_line_only,
    )


GeneratorName: TypeAlias = Annotated[str | None, model_option("pocket-coder, built in")]
InputFile: TypeAlias = Annotated[
    Path | None,
    argument(
        "File to read; standard input if omitted or -.",
        option_types.path,
        metavar="FILE",
    ),
]
InputPaths: TypeAlias = Annotated[
    list[Path] | None,
    argument(
        "Files and folders to read; standard input if omitted or -.",
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
        "Exit with status 3 if a file was skipped or nothing was compared.",
        "--strict",
        panel=GATES,
    ),
]
NoIgnore: TypeAlias = Annotated[
    bool,
    switch("Also search files that git ignores.", "--no-ignore", panel=COMMON),
]
Format: TypeAlias = Annotated[OutputFormat, choice("Output format.", OutputFormat, panel=GENERAL)]
Yes: TypeAlias = Annotated[
    bool,
    switch("Do not ask for confirmation.", "--yes", "-y", panel=GENERAL, command_line_only=True),
]
Echo: TypeAlias = Annotated[
    bool, switch("Print the prompt before the completion.", "--echo", panel=PROMPT)
]
Device: TypeAlias = Annotated[
    str,
    words(
        "Where the model runs.",
        option_types.device,
        panel=MODEL,
        metavar="auto|cpu|cuda|cuda:N",
    ),
]
NumberFormat: TypeAlias = Annotated[
    Precision, choice("Number format of the weights.", Precision, panel=MODEL)
]
Threads: TypeAlias = Annotated[
    int | None,
    whole(
        "CPU threads.",
        1,
        1024,
        panel=MODEL,
        shown_default="one per physical core",
    ),
]
NoWeightsCache: TypeAlias = Annotated[
    bool,
    switch(
        "Do not cache int8 and int4 weights on disk.",
        "--no-weights-cache",
        panel=MODEL,
    ),
]
NoCache: TypeAlias = Annotated[
    bool, switch("Neither read nor write the result cache.", "--no-cache", panel=GENERAL)
]
Quiet: TypeAlias = Annotated[
    bool, switch("Print no notes, only errors.", "--quiet", "-q", panel=GENERAL)
]
ExitZero: TypeAlias = Annotated[
    bool, switch("Exit with status 0 even if there are findings.", "--exit-zero", panel=GATES)
]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model runs, and where."""

    model: GeneratorName = None
    device: Device = "auto"
    precision: NumberFormat = Precision.AUTO
    threads: Threads = None


@dataclass(frozen=True, kw_only=True)
class KeptModelOptions(ModelOptions):
    """`ModelOptions`, and whether quantized weights are cached."""

    no_weights_cache: NoWeightsCache = False


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """Where a model runs, for commands with a --model of their own."""

    device: Device = "auto"
    precision: NumberFormat = Precision.AUTO
    threads: Threads = None


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Whether to use a server that has the model in memory."""

    server: Annotated[
        str | None,
        words(
            "Server to use: auto starts one if needed, off never uses one. A URL names an engine"
            " with OpenAI's API, such as vLLM.",
            option_types.server,
            panel=MODEL,
            metavar="auto|off|unix:PATH|URL",
            flags=("--server",),
            shown_default="one that is running",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class LoudnessOptions:
    """How many messages are printed."""

    quiet: Quiet = False
    verbose: Annotated[
        bool,
        switch("Print notes on model, tokens and times.", "--verbose", "-v", panel=GENERAL),
    ] = False


@dataclass(frozen=True, kw_only=True)
class MessageOptions(LoudnessOptions):
    """`LoudnessOptions`, and whether the network may be used."""

    offline: Annotated[bool, switch("Never use the network.", "--offline", panel=GENERAL)] = False


@dataclass(frozen=True, kw_only=True)
class ReportOptions(MessageOptions):
    """How results and messages are shown."""

    format: Format = OutputFormat.TEXT


@dataclass(frozen=True, kw_only=True)
class TableOptions(MessageOptions):
    """How the results of many files and messages are shown."""

    format: Annotated[TableFormat, choice("Output format.", TableFormat, panel=GENERAL)] = (
        TableFormat.TEXT
    )


@dataclass(frozen=True, kw_only=True)
class KeepingOptions(TableOptions):
    """Which files in folders are read, and whether results are cached."""

    no_ignore: NoIgnore = False
    no_cache: NoCache = False


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """How tokens are chosen, and when to stop."""

    until: Annotated[
        Until | None,
        choice(
            "Stop at the end of the current line, block, function or file.", Until, panel=COMMON
        ),
    ] = None
    max_tokens: Annotated[int, whole("Maximum number of new tokens.", 1, 100_000, panel=COMMON)] = (
        128
    )
    context: Annotated[
        list[Path] | None,
        words(
            "Put another file of the repository before the prompt, as context. Repeatable.",
            option_types.path,
            panel=COMMON,
            metavar="FILE",
        ),
    ] = None
    temperature: Annotated[
        float,
        number("Sampling temperature; 0 is greedy.", 0, 100, panel=SAMPLING, metavar="T"),
    ] = 0.0
    samples: Annotated[
        int, whole("Number of completions of the same prompt.", 1, 128, panel=SAMPLING)
    ] = 1
    seed: Annotated[
        int | None, whole("Random seed, for reproducible sampling.", 0, panel=SAMPLING)
    ] = None
    top_k: Annotated[
        int,
        whole(
            "Sample from the K most likely tokens only; 0 is no limit.",
            0,
            1_000_000,
            panel=SAMPLING,
            metavar="K",
        ),
    ] = 0
    top_p: Annotated[
        float,
        number(
            "Nucleus sampling: keep the smallest set of tokens whose probabilities add up to P.",
            0,
            1,
            panel=SAMPLING,
            above_low=True,
            metavar="P",
        ),
    ] = 1.0
    min_p: Annotated[
        float,
        number(
            "Drop tokens less likely than P times the most likely one.",
            0,
            1,
            panel=SAMPLING,
            metavar="P",
        ),
    ] = 0.0
    repetition_penalty: Annotated[
        float,
        number(
            "Penalize tokens that have already occurred; 1 is off.",
            0,
            100,
            panel=SAMPLING,
            above_low=True,
            metavar="R",
        ),
    ] = 1.0
    stop: Annotated[
        list[str] | None,
        words(
            "Stop before this text, which is not printed. Repeatable.",
            option_types.stop_text,
            panel=STOPPING,
            metavar="TEXT",
            callback=option_types.few_stops,
        ),
    ] = None
    time_budget: Annotated[
        float | None,
        number(
            "Stop after SECONDS and print what has been generated so far.",
            0,
            86_400,
            panel=STOPPING,
            above_low=True,
            metavar="SECONDS",
        ),
    ] = None
    min_confidence: Annotated[
        float | None,
        number(
            "Print nothing if the mean probability of the tokens is below P.",
            0,
            1,
            panel=STOPPING,
            metavar="P",
        ),
    ] = None
    no_truncate: Annotated[
        bool,
        switch(
            "Refuse a prompt longer than the model's context, instead of keeping its end.",
            "--no-truncate",
            panel=PROMPT,
        ),
    ] = False
    no_healing: Annotated[
        bool,
        switch(
            "Disable token healing: keep the prompt's last token.", "--no-healing", panel=PROMPT
        ),
    ] = False
    no_prefix_cache: Annotated[
        bool,
        switch("Do not read or write the prompt cache.", "--no-prefix-cache", panel=PROMPT),
    ] = False
    draft: Annotated[
        str | None,
        words(
            "Draft model for speculative decoding; must share the tokenizer.",
            option_types.text,
            panel=MODEL,
            metavar=MODEL_METAVAR,
        ),
    ] = None
    no_speculation: Annotated[
        bool,
        switch("Disable speculative decoding.", "--no-speculation", panel=MODEL),
    ] = False


def shared_names() -> set[str]:
    """Return the parameter names of the options that commands share."""
    groups = (GenerationOptions, KeptModelOptions, ReportOptions)
    return {field.name for group in groups for field in fields(group)}
