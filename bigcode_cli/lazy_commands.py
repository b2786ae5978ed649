"""Commands that are imported when one of them is named, not to list them.

Knows nothing of which commands there are.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from bigcode_cli.parsing import parse_directly


class Command(TyperCommand):
    """A command whose help shows the built-in defaults and works with a broken config.toml."""

    def get_params(self, ctx: typer.Context) -> list[Any]:  # type: ignore[override]  # as below
        """Its options and arguments, --help among them."""
        parameters: list[Any] = super().get_params(ctx)
        parse_directly(parameters)
        return parameters

    def get_help(self, ctx: typer.Context) -> str:  # type: ignore[override]  # a Context of Typer
        """Return the help page."""
        ctx.default_map = None
        return super().get_help(ctx)


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What a list of commands needs of one, and how to get the rest.

    Attributes:
        summary: the first line of its help.
        build: imports it and gives Typer's command.
    """

    summary: str
    build: Callable[[], Any]


def command_of(function: Callable[..., None], name: str, *, epilog: str) -> Any:
    """Typer's command of a function whose signature is the command line."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name, cls=Command, epilog=epilog)(function)
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

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write the list that the help shows, from the declarations alone."""
        built = self.commands
        self.commands = {
            name: TyperCommand(name, help=declared.summary)
            for name, declared in self.declarations.items()
        }
        super().format_commands(ctx, formatter)
        self.commands = built


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
