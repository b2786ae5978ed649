"""The options of `bigcode tag`."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from bigcode_cli.framework import option_types
from bigcode_cli.framework.option_types import choice, number, switch, words
from bigcode_cli.framework.options import (
    COMMON,
    GENERAL,
    ComputeOptions,
    ExitZero,
    MessageOptions,
    NoIgnore,
    Strict,
    model_option,
)


class TagFormat(StrEnum):
    """How findings are written to stdout."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    SARIF = "sarif"


FALSE_POSITIVES, REDACTION = "False positives", "Redaction"


@dataclass(frozen=True, kw_only=True)
class TagModelOptions(ComputeOptions):
    """Which model finds the spans, and where it runs."""

    tag_model: Annotated[
        str | None,
        model_option(
            "pocket-secrets, built in",
            "The model: a built-in name, a folder, or a downloaded repository. The setting is"
            " called tag-model.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class FindingOptions:
    """What counts as a finding, and how it changes the exit status."""

    labels: Annotated[
        list[str] | None,
        words(
            "Report only these labels, separated by commas; KEY=0.8 sets a minimum score for one"
            " of them. PHONE, CARD and IBAN are found only where named here. Repeatable.",
            option_types.text,
            panel=COMMON,
            metavar="LABEL[=P]",
            shown_default="all, except for declared authors",
        ),
    ] = None
    min_score: Annotated[
        float, number("Report only findings with at least this score.", 0, 1, panel=COMMON)
    ] = 0.5
    strict: Strict = False
    exit_zero: ExitZero = False


@dataclass(frozen=True, kw_only=True)
class SilencingOptions:
    """Which findings are known or allowed."""

    tag_baseline: Annotated[
        Path | None,
        words(
            "Do not report findings recorded in this file. The setting is called tag-baseline.",
            option_types.path,
            panel=FALSE_POSITIVES,
            metavar="FILE",
            flags=("--baseline",),
        ),
    ] = None
    update_baseline: Annotated[
        bool,
        switch(
            "Record all findings in the baseline instead of reporting them.",
            "--update-baseline",
            panel=FALSE_POSITIVES,
            command_line_only=True,
        ),
    ] = False
    allow: Annotated[
        list[str] | None,
        words(
            "Ignore findings whose text matches this regular expression. Repeatable.",
            option_types.text,
            panel=FALSE_POSITIVES,
            metavar="REGEX",
        ),
    ] = None
    exclude: Annotated[
        list[str] | None,
        words(
            "Do not search files that match this pattern, written as in .gitignore. Repeatable.",
            option_types.text,
            panel=FALSE_POSITIVES,
            metavar="GLOB",
        ),
    ] = None
    salt: Annotated[
        str | None,
        words(
            "Salt of the fingerprints.",
            option_types.text,
            panel=FALSE_POSITIVES,
            metavar="TEXT",
            shown_default="that of the baseline",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class RedactionOptions:
    """Whether texts are redacted."""

    redact: Annotated[
        bool,
        switch(
            "Print the text with every finding replaced by <LABEL>, and nothing else.",
            "--redact",
            panel=REDACTION,
            command_line_only=True,
        ),
    ] = False
    in_place: Annotated[
        bool,
        switch(
            "With --redact: overwrite the files.",
            "--in-place",
            panel=REDACTION,
            command_line_only=True,
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class TagTableOptions(MessageOptions):
    """Which files in folders are read, and how findings and messages are shown."""

    no_ignore: NoIgnore = False
    format: Annotated[TagFormat, choice("Output format.", TagFormat, panel=GENERAL)] = (
        TagFormat.TEXT
    )
