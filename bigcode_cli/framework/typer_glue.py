"""Builds Typer commands from functions and dataclasses, importing each only when it is used."""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, ClassVar, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from bigcode_cli.framework.errors import UsageFailure
from bigcode_cli.framework.help_page import help_text, usage_pieces
from bigcode_cli.framework.option_types import is_setting, parse_directly
from bigcode_cli.framework.output import Notes
from bigcode_cli.framework.settings import Settings, environment_name, origin


class Command(TyperCommand):
    """A command whose help shows the built-in defaults and works with a broken config.toml."""

    def get_params(self, ctx: typer.Context) -> list[Any]:  # type: ignore[override]  # as below
        """Its options and arguments, --help among them."""
        parameters: list[Any] = super().get_params(ctx)
        parse_directly(parameters)
        return parameters

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # as below
        """Run the command."""
        if isinstance(ctx.obj, Settings):
            _settle_loudness(ctx)
            quiet = bool(ctx.params.get("quiet"))
            variables = [one.envvar for one in self.params if isinstance(one.envvar, str)]
            ctx.obj.note_ignored_variables(variables, Notes(quiet=quiet))
        try:
            return super().invoke(ctx)
        except UsageFailure as error:
            _name_origin(error, self.params, ctx)
            raise

    def get_help(self, ctx: typer.Context) -> str:  # type: ignore[override]  # a Context of Typer
        """Return the help page."""
        return help_text(self, ctx, sys.stdout)

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the words of the usage line after the command's own."""
        return usage_pieces(self, ctx)


def _name_origin(error: UsageFailure, parameters: Sequence[Any], ctx: Any) -> None:
    """Name the variable or the setting, not the option, where that gave the wrong value."""
    flag, colon, why = str(error).partition(": ")
    for parameter in parameters if colon else ():
        if flag in parameter.opts and not (place := origin(parameter, ctx)).startswith("-"):
            error.args = (f"{place}: {why}",)


def _settle_loudness(ctx: Any) -> None:
    """Let -q or -v on the command line override the other one from a setting.

    Raises:
        UsageFailure: both are on the command line.
    """
    if not (ctx.params.get("quiet") and ctx.params.get("verbose")):
        return
    typed = [
        name
        for name in ("quiet", "verbose")
        if ctx.get_parameter_source(name).name == "COMMANDLINE"
    ]
    if len(typed) > 1:
        raise UsageFailure("--quiet and --verbose do not go together")
    ctx.params["verbose"] = typed == ["verbose"]
    ctx.params["quiet"] = not ctx.params["verbose"]


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """A command that has not been imported yet.

    Attributes:
        summary: the first line of its help.
        build: imports it and gives Typer's command.
    """

    summary: str
    build: Callable[[], Any]


def epilog_of(examples: Sequence[str], *paragraphs: str) -> str:
    """Write examples and closing paragraphs in the form that help and man pages read."""
    return "\n\n".join(["\n".join(f"$ {line}" for line in examples), *paragraphs])


def command_of(function: Callable[..., None], name: str, *, examples: Sequence[str]) -> Any:
    """Make Typer's command of a function whose signature is the command line."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name, cls=Command, epilog=epilog_of(examples))(function)
    return get_command(alone)


class LazyGroup(TyperGroup):
    """A group whose commands are declared by a subclass and built when they are looked up."""

    declarations: ClassVar[Mapping[str, Declaration]] = {}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = _Commands(self.declarations)

    def get_params(self, ctx: typer.Context) -> list[Any]:  # type: ignore[override]  # as above
        """Its options, --help among them."""
        parameters: list[Any] = super().get_params(ctx)
        parse_directly(parameters)
        return parameters

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # as above
        """Their names, in the order of their declaration."""
        del ctx
        return list(self.declarations)

    def get_help(self, ctx: typer.Context) -> str:  # type: ignore[override]  # as above
        """Return the help page."""
        return help_text(self, ctx, sys.stdout)

    @property
    def summaries(self) -> dict[str, str]:
        """Name -> first line of help, from the declarations alone."""
        return {name: declared.summary for name, declared in self.declarations.items()}


class _Commands(Mapping[str, Any]):
    """Commands by name; each is built at the first look-up."""

    def __init__(self, declarations: Mapping[str, Declaration]) -> None:
        self._declarations = declarations
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = self._declarations[name].build()
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._declarations)

    def __len__(self) -> int:
        return len(self._declarations)


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Spread the dataclass parameters of `command` into the options that Typer reads."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}

    def call(**values: Any) -> None:
        for name, kind in groups.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        command(**values)

    call.__name__ = command.__name__
    call.__doc__ = command.__doc__
    parameters = _spread(command, hints)
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by Typer
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _spread(command: Callable[..., None], hints: dict[str, Any]) -> list[inspect.Parameter]:
    spread = []
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if is_dataclass(kind):
            inner = get_type_hints(kind, include_extras=True)
            spread += [_keyword(f.name, inner[f.name], f.default) for f in fields(kind)]
        else:
            spread.append(_keyword(parameter.name, kind, parameter.default))
    return spread


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    absent = default is MISSING or default is inspect.Parameter.empty
    default = inspect.Parameter.empty if absent else default
    if is_setting(annotation):
        for declaration in annotation.__metadata__:
            declaration.envvar = environment_name(name)
            declaration.show_envvar = False  # the help explains their names once
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)
