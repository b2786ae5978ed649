"""The options of `bigcode tag`.

Knows nothing of what the command does with them.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from bigcode_cli.files.options import NoIgnore
from bigcode_cli.framework import option_types
from bigcode_cli.framework.options import GENERAL, MODEL, ComputeOptions, MessageOptions


class TagFormat(StrEnum):
    """How findings are written to stdout."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    SARIF = "sarif"


FINDINGS, SILENCING, REDACTION = "Findings", "Silencing", "Redaction"

TagPaths: TypeAlias = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="PATH",
        show_default=False,
        parser=option_types.path,
        help="Files and folders to search; - or nothing reads standard input.",
    ),
]
StagedFindings: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--staged",
        rich_help_panel=FINDINGS,
        help="Search what is staged in git instead of files, and report only added lines.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class TagModelOptions(ComputeOptions):
    """Which model finds the spans, and where it runs."""

    tag_model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|PATH|REPO[@REVISION]",
            parser=option_types.text,
            rich_help_panel=MODEL,
            help="The model: a built-in name, a folder, or a repository in the local cache"
            " (default: the built-in pocket-secrets; set by BIGCODE_TAG_MODEL or tag-model).",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class FindingOptions:
    """What is a finding, and what it does to the exit status."""

    labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL[=P]",
            parser=option_types.text,
            rich_help_panel=FINDINGS,
            help="Only these labels, separated by commas, each with a minimum score of its own if"
            " one is given; repeatable (default: all).",
        ),
    ] = None
    min_score: Annotated[
        float,
        typer.Option(
            metavar="P",
            min=0,
            max=1,
            parser=option_types.bounded(float, low=0.0, high=1.0),
            rich_help_panel=FINDINGS,
            help="Leave out what the model is less sure of.",
        ),
    ] = 0.5
    exit_zero: Annotated[
        bool,
        typer.Option(
            "--exit-zero", rich_help_panel=FINDINGS, help="Exit with 0 even if there are findings."
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class SilencingOptions:
    """Which findings are known or allowed."""

    tag_baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline",
            metavar="FILE",
            parser=option_types.path,
            rich_help_panel=SILENCING,
            help="Report no finding that this file knows (set by BIGCODE_TAG_BASELINE or"
            " tag-baseline).",
        ),
    ] = None
    update_baseline: Annotated[
        bool,
        typer.Option(
            "--update-baseline",
            envvar=[],
            rich_help_panel=SILENCING,
            help="Write the findings into the baseline instead of reporting them.",
        ),
    ] = False
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REGEX",
            parser=option_types.text,
            rich_help_panel=SILENCING,
            help="Report no finding in whose text this is found; repeatable.",
        ),
    ] = None
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            parser=option_types.text,
            rich_help_panel=SILENCING,
            help="Search no files that this matches, written as in .gitignore; repeatable.",
        ),
    ] = None
    salt: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            parser=option_types.text,
            rich_help_panel=SILENCING,
            help="What fingerprints are mixed with (default: the baseline's own salt).",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class RedactionOptions:
    """Whether texts are rewritten without what was found."""

    redact: Annotated[
        bool,
        typer.Option(
            "--redact",
            envvar=[],
            rich_help_panel=REDACTION,
            help="Write the text with every finding replaced by <LABEL>, and nothing else.",
        ),
    ] = False
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            envvar=[],
            rich_help_panel=REDACTION,
            help="With --redact: write the files anew instead.",
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class TagTableOptions(MessageOptions):
    """Which files in folders count, and how findings and messages are shown."""

    no_ignore: NoIgnore = False
    format: Annotated[
        TagFormat,
        typer.Option(
            parser=option_types.one_of(TagFormat),
            rich_help_panel=GENERAL,
            help="How findings are written.",
        ),
    ] = TagFormat.TEXT
