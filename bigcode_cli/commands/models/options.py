"""The arguments and options that only the commands on models have.

Knows nothing of what the commands do with them.
"""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from bigcode_cli.framework import option_types
from bigcode_cli.framework.options import GENERAL, OutputFormat

ModelName: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        show_default=False,
        parser=option_types.text,
        help="A built-in name, a folder, or a repository OWNER/NAME[@REVISION] of the cache.",
    ),
]
Format: TypeAlias = Annotated[
    OutputFormat,
    typer.Option(
        "--format",
        parser=option_types.one_of(OutputFormat),
        rich_help_panel=GENERAL,
        help="How the result is written.",
    ),
]

Repository: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="REPO",
        show_default=False,
        parser=option_types.text,
        help="OWNER/NAME[@REVISION] on the hub, or the short name of a published model.",
    ),
]
Revision: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--revision",
        metavar="REVISION",
        envvar=[],
        show_envvar=False,
        parser=option_types.text,
        help="The branch, tag or commit to fetch (default: main).",
    ),
]

CachedName: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        show_default=False,
        parser=option_types.text,
        help="A repository OWNER/NAME of the cache; with @REVISION only that revision.",
    ),
]
DefaultName: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        show_default=False,
        parser=option_types.text,
        help="A built-in name, a folder, or a repository OWNER/NAME[@REVISION] of the cache.",
    ),
]
Yes: TypeAlias = Annotated[
    bool, typer.Option("--yes", "-y", envvar=[], show_envvar=False, help="Do not ask.")
]
Convert: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--convert",
        envvar=[],
        show_envvar=False,
        help="Fetch weights that are pickles, or of the layout of bigcode/santacoder, and turn"
        " them into safetensors.",
    ),
]
UpdatedNames: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        show_default=False,
        parser=option_types.text,
        help="Repositories OWNER/NAME[@BRANCH] of the cache; without any, all of them.",
    ),
]
SourceName: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        show_default=False,
        parser=option_types.text,
        help="A repository OWNER/NAME[@REVISION] of the cache, or a folder.",
    ),
]
Target: TypeAlias = Annotated[
    Path | None,
    typer.Argument(
        metavar="PATH",
        show_default=False,
        parser=option_types.path,
        help="The folder to make for the result; without it, it goes where NAME finds it.",
    ),
]
