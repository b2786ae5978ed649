"""The arguments and options of `bigcode corpus`."""

from dataclasses import dataclass, fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias, get_type_hints

from bigcode_cli.distributed.plan import DataFormat
from bigcode_cli.framework import option_types
from bigcode_cli.framework.option_types import (
    argument,
    choice,
    number,
    switch,
    whole,
    words,
)
from bigcode_cli.framework.options import (
    COMMON,
    GENERAL,
    MODEL,
    Device,
    GenerationOptions,
    model_option,
)
from gpt_bigcode.hardware import Precision

DATA_PANEL = "Data"
CLUSTER = "Workers"


Data: TypeAlias = Annotated[
    str,
    argument(
        "A folder, glob or URI (s3://, gs://) of Parquet or JSON Lines files, or a folder of"
        " source files.",
        option_types.text,
        metavar="DATA",
    ),
]
Labels: TypeAlias = Annotated[
    str | None,
    words(
        "Only these labels, separated by commas.",
        option_types.text,
        panel=COMMON,
        metavar="LABEL,...",
        command_line_only=True,
    ),
]
Redact: TypeAlias = Annotated[
    bool,
    switch(
        "Replace the text column by the redacted text.",
        "--redact",
        panel=COMMON,
        command_line_only=True,
    ),
]
SuffixColumn: TypeAlias = Annotated[
    str,
    words(
        "Column that holds the text after the gap.",
        option_types.text,
        panel=DATA_PANEL,
        metavar="NAME",
        command_line_only=True,
    ),
]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Where rows come from and go to."""

    output: Annotated[
        str,
        words(
            "Folder or URI for the results; a run that is repeated continues there.",
            option_types.text,
            panel=COMMON,
            metavar="OUT",
            flags=("--output", "-o"),
            command_line_only=True,
        ),
    ]
    text_column: Annotated[
        str,
        words(
            "Column that holds the text.",
            option_types.text,
            panel=DATA_PANEL,
            metavar="NAME",
            command_line_only=True,
        ),
    ] = "content"
    where: Annotated[
        str | None,
        words(
            "Keep only rows for which this holds, such as 'bits_per_byte < 2'.",
            option_types.text,
            panel=DATA_PANEL,
            metavar="CONDITION",
            command_line_only=True,
        ),
    ] = None
    limit: Annotated[
        int | None,
        whole("Only the first N rows.", 1, panel=DATA_PANEL, command_line_only=True),
    ] = None
    format: Annotated[
        DataFormat,
        choice("File format of the results.", DataFormat, panel=DATA_PANEL, command_line_only=True),
    ] = DataFormat.PARQUET
    summary: Annotated[
        Path | None,
        words(
            "Write counts and histograms as JSON to FILE.",
            option_types.path,
            panel=DATA_PANEL,
            metavar="FILE",
            command_line_only=True,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Which model the workers load, how many there are, and where."""

    model: Annotated[
        str | None,
        model_option("the command's built-in model", command_line_only=True),
    ] = None
    device: Device = "auto"
    precision: Annotated[
        Precision, choice("Number format of the weights.", Precision, panel=MODEL)
    ] = Precision.AUTO
    address: Annotated[
        str | None,
        words(
            "Join a Ray cluster (`auto` or HOST:PORT).",
            option_types.text,
            panel=CLUSTER,
            metavar="ADDRESS",
            shown_default="this machine alone",
            command_line_only=True,
        ),
    ] = None
    workers: Annotated[
        int | None,
        whole(
            "Number of workers.",
            1,
            10_000,
            panel=CLUSTER,
            shown_default="one per processor",
            command_line_only=True,
        ),
    ] = None
    threads: Annotated[
        int | None,
        whole(
            "CPU threads of each worker.",
            1,
            1024,
            panel=CLUSTER,
            shown_default="the processors are shared out",
        ),
    ] = None
    gpus_per_worker: Annotated[
        float,
        number(
            "GPUs of each worker; may be a fraction.",
            0,
            16,
            panel=CLUSTER,
            metavar="G",
            command_line_only=True,
        ),
    ] = 0.0
    batch_tokens: Annotated[
        int | None,
        whole(
            "Tokens that a worker computes at once; bounds its memory.",
            1,
            10_000_000,
            panel=CLUSTER,
            shown_default="chosen by model and device",
            command_line_only=True,
        ),
    ] = None
    quiet: Annotated[
        bool, switch("Print no notes, only errors.", "--quiet", "-q", panel=GENERAL)
    ] = False


_ONE_PROMPT_ONLY = frozenset({"context", "samples", "draft", "no_prefix_cache"})
if TYPE_CHECKING:
    BatchGenerationOptions = GenerationOptions
else:
    _HINTS = get_type_hints(GenerationOptions, include_extras=True)
    BatchGenerationOptions = make_dataclass(
        "BatchGenerationOptions",
        [
            (option.name, _HINTS[option.name], option)
            for option in fields(GenerationOptions)
            if option.name not in _ONE_PROMPT_ONLY
        ],
        frozen=True,
        kw_only=True,
    )
    """The options of `complete` and `infill` that make sense for many prompts."""
