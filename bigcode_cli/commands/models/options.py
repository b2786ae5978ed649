"""The arguments and options that only the commands on models have."""

from pathlib import Path
from typing import Annotated, TypeAlias

from bigcode_cli.framework import option_types
from bigcode_cli.framework.option_types import argument, switch, words
from bigcode_cli.framework.options import COMMON

ModelName: TypeAlias = Annotated[
    str,
    argument(
        "A built-in model, a folder, or a downloaded repository OWNER/NAME[@REVISION].",
        option_types.text,
        metavar="NAME",
    ),
]
DefaultName: TypeAlias = Annotated[
    str | None,
    argument(
        "A built-in model, a folder, or a downloaded repository OWNER/NAME[@REVISION].",
        option_types.text,
        metavar="NAME",
    ),
]
Repository: TypeAlias = Annotated[
    str,
    argument(
        "A repository OWNER/NAME[@REVISION], or a short name from `bigcode models list"
        " --available`.",
        option_types.text,
        metavar="REPO",
    ),
]
CachedName: TypeAlias = Annotated[
    str,
    argument(
        "A downloaded repository OWNER/NAME; with @REVISION only that revision.",
        option_types.text,
        metavar="NAME",
    ),
]
UpdatedNames: TypeAlias = Annotated[
    list[str] | None,
    argument(
        "Downloaded repositories OWNER/NAME[@BRANCH]; without any, all of them.",
        option_types.text,
        metavar="NAME",
    ),
]
SourceName: TypeAlias = Annotated[
    str,
    argument(
        "A downloaded repository OWNER/NAME[@REVISION], or a folder.",
        option_types.text,
        metavar="NAME",
    ),
]
Target: TypeAlias = Annotated[
    Path | None,
    argument(
        "Folder to create; required if NAME is a folder. Without it, NAME refers to the result.",
        option_types.path,
        metavar="PATH",
    ),
]
Revision: TypeAlias = Annotated[
    str | None,
    words(
        "Branch, tag or commit to download.",
        option_types.text,
        panel=COMMON,
        metavar="REVISION",
        shown_default="main",
        command_line_only=True,
    ),
]
Convert: TypeAlias = Annotated[
    bool,
    switch(
        "Also download weights that are pickles, or of the layout of bigcode/santacoder, and"
        " convert them to safetensors.",
        "--convert",
        panel=COMMON,
        command_line_only=True,
    ),
]
Available: TypeAlias = Annotated[
    bool,
    switch(
        "List the models that can be downloaded instead.",
        "--available",
        panel=COMMON,
        command_line_only=True,
    ),
]
