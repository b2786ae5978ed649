"""The command tree, in the order in which the help lists it, and `main`, which runs it.

Knows nothing of models or files; every command lives in its own module.
"""

import inspect
import sys
from collections.abc import Callable, MutableMapping
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand
from typer.main import get_command

from bigcode_cli import __version__, failures, interruption
from bigcode_cli.commands import models
from bigcode_cli.commands.complete import complete
from bigcode_cli.commands.infill import infill
from bigcode_cli.commands.score import score
from bigcode_cli.commands.tag import tag
from bigcode_cli.grouping import grouped
from bigcode_cli.parsing import parse_directly
from bigcode_cli.settings import Settings

COMMANDS: tuple[Callable[..., None], ...] = (
    grouped(complete),
    grouped(infill),
    grouped(score),
    grouped(tag),
)
EXAMPLES = {
    "complete": """
    \b
    Examples:
    $ bigcode complete src/app.py
    $ git show HEAD:setup.py | head -20 | bigcode complete --until function
    $ bigcode complete --samples 3 --temperature 0.8 --seed 1 --format json src/app.py
    """,
    "infill": """
    \b
    Examples:
    $ bigcode infill --at 12:5 src/app.py
    $ bigcode infill --marker '<HERE>' --in-place src/app.py
    $ bigcode infill --at 3:1 --until line --print diff src/app.py | patch -p0
    """,
    "score": """
    \b
    Examples:
    $ bigcode score src/
    $ bigcode score --staged --max-bits-per-byte 3
    $ bigcode score --lines --format csv src/app.py
    """,
    "tag": """
    \b
    Examples:
    $ bigcode tag src/
    $ bigcode tag --redact < server.log
    $ bigcode tag --staged --baseline .bigcode-baseline.json
    """,
}
MODELS: dict[str, Callable[..., None]] = {
    name: grouped(command) for name, command in models.COMMANDS.items()
}
ARGUMENTS = frozenset({"file", "paths"})

app = typer.Typer(
    name="bigcode",
    help="Local code models of the GPTBigCode family, from the shell.",
    epilog="Every option can also be set by BIGCODE_<OPTION> (BIGCODE_MAX_TOKENS=64) in the"
    " environment, or by its name (max-tokens = 64) in config.toml.",
    invoke_without_command=True,
    add_completion=False,  # completions/ holds better ones
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Command(TyperCommand):
    """A command whose help shows the built-in defaults and works with a broken config.toml."""

    def get_help(self, ctx: typer.Context) -> str:  # type: ignore[override]  # a Context of Typer
        """Return the help page."""
        ctx.default_map = None
        return super().get_help(ctx)


for _command in COMMANDS:
    app.command(cls=Command, epilog=EXAMPLES[_command.__name__])(_command)

_group = typer.Typer(
    name="models", help=models.HELP, invoke_without_command=True, rich_markup_mode=None
)
for _name, _command in MODELS.items():
    _group.command(_name, cls=Command, epilog=models.EXAMPLES[_name])(_command)
app.add_typer(_group)


@_group.callback(help=models.HELP)
def _models(context: typer.Context) -> None:
    _require_subcommand(context)


def _require_subcommand(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(failures.ExitStatus.USAGE)


def _show_version(wanted: bool) -> None:  # noqa: FBT001  # Typer passes the value by position
    if wanted:
        typer.echo(f"bigcode {__version__}")
        raise typer.Exit


@app.callback()
def bigcode(
    context: typer.Context,
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Complete code with a local model; nothing leaves this machine."""
    del version
    _require_subcommand(context)
    settings = Settings(options())
    tree: dict[str, Any] = {command.__name__: settings for command in COMMANDS}
    tree["models"] = dict.fromkeys(MODELS, settings)
    context.default_map = cast("MutableMapping[str, Any]", tree)


def options(*names: str) -> dict[str, Any]:
    """Return every option of these commands, or of all, by parameter name, with its annotation.

    What the commands on models have of their own, such as --yes, belongs on the command line.
    """
    return {
        parameter.name: parameter.annotation
        for command in COMMANDS
        if command.__name__ in names or not names
        for parameter in inspect.signature(command).parameters.values()
        if parameter.name not in ARGUMENTS
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line without ever raising; return the exit status."""
    try:
        status = _program(arguments)
        sys.stdout.flush()
    except SystemExit as ending:
        status = _typer_status(ending)
    except BaseException as error:  # noqa: BLE001  # the border: whatever it is becomes one line
        # After a signal the error is only how the interruption came out of some library.
        status = failures.report(KeyboardInterrupt() if interruption.status() else error)
    return interruption.status() or status


def _typer_status(ending: SystemExit) -> int:
    """Read the status of an exit by Typer itself, which would end a broken pipe with 1."""
    if isinstance(ending.__context__, BrokenPipeError):
        return failures.ExitStatus.PIPE_CLOSED
    return ending.code if isinstance(ending.code, int) else failures.ExitStatus.FAILED


def _program(arguments: list[str] | None) -> int:
    """Parse the arguments and run the command, without any error handling."""
    if sys.stdout is None:
        raise failures.Failure("output", "stdout is closed")
    command = get_command(app)
    parse_directly(command)
    status = command(arguments, prog_name="bigcode", standalone_mode=False)
    return status if isinstance(status, int) else failures.ExitStatus.DONE
