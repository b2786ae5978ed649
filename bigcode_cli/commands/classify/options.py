"""The options of `bigcode classify`."""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from bigcode_cli.framework import option_types
from bigcode_cli.framework.option_types import number, switch, whole, words
from bigcode_cli.framework.options import COMMON, GATES, ExitZero, Strict, model_option

ClassifierName: TypeAlias = Annotated[
    str | None,
    model_option(
        "pocket-languages, built in",
        "The model: a built-in name, a folder, or a downloaded repository. The setting is called"
        " classify-model.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class ClassifyingOptions:
    """What is reported of each file."""

    top: Annotated[
        int | None,
        whole(
            "Show the N most likely labels.",
            1,
            10_000,
            panel=COMMON,
            shown_default="the predicted ones, or all in JSON",
        ),
    ] = None
    windows: Annotated[
        bool,
        switch("Also report each window of a long file.", "--windows", panel=COMMON),
    ] = False
    names: Annotated[
        bool,
        switch("Let file names decide between labels that are close.", "--names", panel=COMMON),
    ] = False


@dataclass(frozen=True, kw_only=True)
class LabelGateOptions:
    """When the exit status says that files are not what they should be."""

    expect: Annotated[
        list[str] | None,
        words(
            "Exit with status 1 if a file has another label. Repeatable: any of them passes."
            " `bigcode models show` lists the labels; case is ignored.",
            option_types.text,
            panel=GATES,
            metavar="LABEL",
        ),
    ] = None
    min_score: Annotated[
        float | None,
        number("Exit with status 1 if the label of a file has a lower score.", 0, 1, panel=GATES),
    ] = None
    strict: Strict = False
    exit_zero: ExitZero = False
