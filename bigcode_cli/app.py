"""The command tree, in the order in which the help lists it, and `main`, which runs it."""

import inspect
import sys
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, cast

import typer
from typer.main import get_command

from bigcode_cli import __version__
from bigcode_cli.framework import errors, signals
from bigcode_cli.framework.help_page import help_text
from bigcode_cli.framework.option_types import is_option
from bigcode_cli.framework.settings import Settings
from bigcode_cli.framework.typer_glue import Declaration, LazyGroup, command_of, epilog_of

SUMMARIES: Mapping[str, str] = MappingProxyType(
    {
        "complete": "Continue the text of FILE or standard input.",
        "infill": "Fill a gap in FILE or standard input.",
        "score": "Score how predictable files are to a model, in bits per byte (higher = more"
        " surprising).",
        "classify": "Detect the programming language of files, or another label that a model was"
        " trained on.",
        "tag": "Find personal data and secrets in files, or redact them.",
        "bench": "Measure how fast a model runs on this machine, in every precision.",
        "serve": "Keep models in memory and answer editors and the other commands.",
        "ps": "List the models that the server has loaded, with memory and idle time.",
        "stop": "Unload MODEL, or stop the server.",
        "lsp": "Run a language server for editors on standard input and output.",
    }
)
"""Name -> first line of help, so that listing the commands imports none of them."""
GROUP_SUMMARIES: Mapping[str, str] = MappingProxyType(
    {
        "models": "Manage models.",
        "cache": "Show and free what bigcode caches.",
        "corpus": "Run a job over a data set: Parquet, JSON Lines or source files, on Ray Data.",
    }
)
GROUPS = MappingProxyType(
    {"models": "models.local", "cache": "cache.command", "corpus": "corpus.command"}
)
"""Group -> the module below `commands` that defines its commands."""
EXAMPLES = {
    "complete": (
        "bigcode complete src/app.py",
        "git show HEAD:setup.py | head -20 | bigcode complete --until function",
        "bigcode complete --samples 3 --temperature 0.8 --seed 1 --format json src/app.py",
    ),
    "infill": (
        "bigcode infill --at 12:5 src/app.py",
        "bigcode infill --marker '<HERE>' --in-place src/app.py",
        "bigcode infill --at 3:1 --until line --print diff src/app.py | patch -p0",
    ),
    "score": (
        "bigcode score src/",
        "bigcode score --staged --max-rise 3",
        "bigcode score --worst 10 src/",
    ),
    "classify": (
        "bigcode classify src/",
        "bigcode classify --expect Python --min-score 0.8 scripts/",
        "git show HEAD:Makefile | bigcode classify --top 3 --format json",
    ),
    "tag": (
        "bigcode tag src/",
        "bigcode tag --redact < server.log",
        "bigcode tag --staged --labels KEY,PASSWORD",
    ),
    "bench": (
        "bigcode bench",
        "bigcode bench --shape santacoder --precision float32 --repeat 1",
        "bigcode bench -m bigcode/tiny_starcoder_py --context 4000 --format json",
    ),
    "serve": (
        "bigcode serve --background",
        "bigcode serve --port 8012 -m bigcode/tiny_starcoder_py",
        "bigcode serve --port 8012 --host 0.0.0.0 --api-key-file key.txt",
    ),
    "ps": ("bigcode ps", "bigcode ps --format json"),
    "stop": ("bigcode stop", "bigcode stop bigcode/tiny_starcoder_py"),
    "lsp": ("bigcode lsp", "bigcode lsp -m bigcode/tiny_starcoder_py --surprises"),
}
ROOT_EXAMPLES = (
    "bigcode complete --until function src/app.py",
    "bigcode infill --at 12:5 src/app.py",
    "bigcode tag --redact < server.log",
    "bigcode models pull starcoderbase-1b",
)


def function_of(name: str) -> Callable[..., None]:
    """Import a command: a function whose signature is the command line."""
    from bigcode_cli.framework.typer_glue import grouped

    module = import_module(f"bigcode_cli.commands.{name}.command")
    return grouped(getattr(module, name))


def _command(name: str) -> Any:
    return command_of(function_of(name), name, examples=EXAMPLES[name])


def _group(name: str) -> Any:
    """Build Typer's group of the commands below a name, such as `models list`."""
    from bigcode_cli.framework.typer_glue import grouped

    module = import_module(f"bigcode_cli.commands.{GROUPS[name]}")

    def build(child: str) -> Any:
        return command_of(grouped(module.COMMANDS[child]), child, examples=module.EXAMPLES[child])

    class Children(LazyGroup):
        declarations: ClassVar[Mapping[str, Declaration]] = {
            child: Declaration(summary=inspect.getdoc(command) or "", build=partial(build, child))
            for child, command in module.COMMANDS.items()
        }

    group = typer.Typer(
        name=name,
        cls=Children,
        help=GROUP_SUMMARIES[name],
        epilog=epilog_of([module.EXAMPLES[child][0] for child in [*module.COMMANDS][:3]]),
        invoke_without_command=True,
        add_completion=False,
        rich_markup_mode=None,
    )

    @group.callback()
    def call(context: typer.Context) -> None:
        _require_subcommand(context)

    return get_command(group)


class Commands(LazyGroup):
    """Every command, in the order of the help."""

    declarations: ClassVar[Mapping[str, Declaration]] = {
        **{
            name: Declaration(summary=summary, build=partial(_command, name))
            for name, summary in SUMMARIES.items()
        },
        **{
            name: Declaration(summary=summary, build=partial(_group, name))
            for name, summary in GROUP_SUMMARIES.items()
        },
    }


app = typer.Typer(
    name="bigcode",
    cls=Commands,
    help="Run code models of the GPTBigCode family (SantaCoder, StarCoder, Granite Code) on this"
    " machine.\n\nMore models: https://huggingface.co/models?other=gpt_bigcode",
    epilog=epilog_of(
        ROOT_EXAMPLES,
        "Options can also be set in the environment (BIGCODE_MAX_TOKENS=64) and in config.toml"
        " (max-tokens = 64).",
    ),
    invoke_without_command=True,
    add_completion=False,  # completions/ holds better ones
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _require_subcommand(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(help_text(context.command, context, sys.stderr), err=True)
        raise typer.Exit(errors.ExitStatus.USAGE)


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
    settings = context.obj = Settings(options)
    tree: dict[str, Any] = dict.fromkeys(SUMMARIES, settings)
    name = context.invoked_subcommand or ""
    if name in GROUPS:
        module = import_module(f"bigcode_cli.commands.{GROUPS[name]}")
        tree[name] = dict.fromkeys(module.COMMANDS, settings)
    context.default_map = cast("MutableMapping[str, Any]", tree)


def options(*names: str) -> dict[str, Any]:
    """Return the options of commands by parameter name, with their annotations.

    Args:
        names: the commands; by default all but the groups, whose options cannot be preset.
    """
    return {
        parameter.name: parameter.annotation
        for name in names or SUMMARIES
        for parameter in inspect.signature(function_of(name)).parameters.values()
        if is_option(parameter.annotation)
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line without ever raising; return the exit status."""
    try:
        status = _program(arguments)
        sys.stdout.flush()
    except SystemExit as ending:
        status = _typer_status(ending)
    except BaseException as error:  # noqa: BLE001  # the outermost handler: every error becomes one line
        # After a signal, the error is only how the interruption surfaced from some library.
        status = errors.report(KeyboardInterrupt() if signals.status() else error)
    return status


def _typer_status(ending: SystemExit) -> int:
    """Return the status of an exit that Typer raised; it reports a broken pipe as 1."""
    if isinstance(ending.__context__, BrokenPipeError):
        return errors.ExitStatus.PIPE_CLOSED
    return ending.code if isinstance(ending.code, int) else errors.ExitStatus.FAILED


def _program(arguments: list[str] | None) -> int:
    """Parse the arguments and run the command, without any error handling."""
    if sys.stdout is None:
        raise errors.Failure("output", "stdout is closed")
    command = get_command(app)
    status = command(arguments, prog_name="bigcode", standalone_mode=False)
    return status if isinstance(status, int) else errors.ExitStatus.DONE
