"""Declares options: one constructor makes the parser, the range, the metavar and the help panel.

    max_tokens: Annotated[int, whole("Maximum number of new tokens.", 1, 100_000, panel=COMMON)]

A parser turns a string from the command line, the environment or config.toml into a value, or
raises `typer.BadParameter` with a short reason.
"""

import math
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar, Unpack

import typer
from typer.models import OptionInfo

Chosen = TypeVar("Chosen", bound=StrEnum)
Number = TypeVar("Number", int, float)
Parser = Callable[[Any], Any]

UNBOUNDED = 2**63 - 1
"""Upper bound of whole numbers without a limit of their own."""

SERVER_KEY_VARIABLE = "BIGCODE_SERVER_KEY"
_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?", re.ASCII)
_MOST_STOPS = 16
_LONGEST_STOP_BYTES = 256


class Extras(TypedDict, total=False):
    """Attributes that only some options have.

    Attributes:
        flags: its spellings, where they differ from the parameter's name.
        shown_default: the default in words, where its value does not say it.
        command_line_only: neither the environment nor config.toml may set it, because it changes
            files or names a place in one.
        callback: checks all values of an option that can be repeated.
    """

    flags: tuple[str, ...]
    shown_default: str
    command_line_only: bool
    callback: Callable[[Any], Any]


def whole(
    help_text: str,
    low: int,
    high: int = UNBOUNDED,
    *,
    panel: str,
    metavar: str = "N",
    **extras: Unpack[Extras],
) -> Any:
    """Declare an option that takes a whole number from `low` to `high`."""
    return _option(help_text, Range(int, low, high), panel, metavar, extras)


def number(
    help_text: str,
    low: float,
    high: float,
    *,
    panel: str,
    above_low: bool = False,
    metavar: str = "X",
    **extras: Unpack[Extras],
) -> Any:
    """Declare an option that takes a finite number from `low`, or above it, to `high`."""
    span = Range(float, low, high, above_low=above_low)
    return _option(help_text, span, panel, metavar, extras)


def choice(help_text: str, kind: type[StrEnum], *, panel: str, **extras: Unpack[Extras]) -> Any:
    """Declare an option that takes one of the values of an enum."""
    return _option(help_text, one_of(kind), panel, "|".join(kind), extras)


def switch(help_text: str, *flags: str, panel: str, command_line_only: bool = False) -> Any:
    """Declare an option that takes no value."""
    extras = Extras(flags=flags, command_line_only=command_line_only)
    return _option(help_text, None, panel, None, extras)


def words(
    help_text: str, parse: Parser, *, panel: str, metavar: str, **extras: Unpack[Extras]
) -> Any:
    """Declare an option that takes anything that `parse` accepts."""
    return _option(help_text, parse, panel, metavar, extras)


def argument(help_text: str, parse: Parser, *, metavar: str) -> Any:
    """Declare an argument."""
    return typer.Argument(metavar=metavar, show_default=False, parser=parse, help=help_text)


def _option(
    help_text: str, parse: Parser | None, panel: str, metavar: str | None, extras: Extras
) -> Any:
    return typer.Option(
        *extras.get("flags", ()),
        metavar=metavar,
        parser=parse,
        rich_help_panel=panel,
        help=help_text,
        show_default=extras.get("shown_default", True),
        callback=extras.get("callback"),
        envvar=[] if extras.get("command_line_only") else None,
        show_envvar=False,  # the help explains their names once
    )


def is_option(annotation: Any) -> bool:
    """Tell an annotation that declares an option from that of an argument."""
    return any(isinstance(one, OptionInfo) for one in getattr(annotation, "__metadata__", ()))


def is_setting(annotation: Any) -> bool:
    """Tell whether the environment and config.toml may set an option."""
    declarations = getattr(annotation, "__metadata__", ())
    return any(isinstance(one, OptionInfo) and one.envvar != [] for one in declarations)


@dataclass(frozen=True)
class Range(Generic[Number]):
    """Parses finite numbers between two ends.

    Attributes:
        kind: int or float.
        low: the smallest number, or an exclusive lower bound.
        high: the largest number.
        above_low: refuse `low` itself.
    """

    kind: type[Number]
    low: Number
    high: Number
    above_low: bool = False

    @property
    def span(self) -> str:
        """The range as the help and errors show it."""
        low, high = f"{self.low:.15g}", f"{self.high:.15g}"
        if self.high == UNBOUNDED:
            return f"{low} or more"
        return f"above {low}, up to {high}" if self.above_low else f"{low} to {high}"

    def __call__(self, value: Any) -> Number:
        """Parse one value."""
        try:
            found = self.kind(value) if isinstance(value, str) or self.kind is float else value
        except (TypeError, ValueError, OverflowError):
            found = math.nan
        refused = isinstance(found, bool) or not isinstance(found, self.kind)
        if refused or not self.low <= found <= self.high or (self.above_low and found == self.low):
            name = "whole number" if self.kind is int else "number"
            is_too_large = self.high == UNBOUNDED and found > self.high
            span = f"{self.low} to {self.high}" if is_too_large else self.span
            raise typer.BadParameter(f"{value!r} is not a {name} ({span})")
        return found


def one_of(kind: type[Chosen]) -> Callable[[Any], Chosen]:
    """Build a parser of the values of an enum."""

    def parse(value: Any) -> Chosen:
        try:
            return kind(value)
        except ValueError:
            names = ", ".join(kind)
            raise typer.BadParameter(f"{value!r} is not one of {names}") from None

    return parse


def text(value: Any) -> str:
    """Return a text as it was given."""
    if not isinstance(value, str):
        raise typer.BadParameter(f"{value!r} is not a text")
    return value


def path(value: Any) -> Path:
    """Return a file name, which may be any bytes."""
    if not text(value):
        raise typer.BadParameter("a file's name cannot be empty")
    return Path(value)


def flag(value: Any) -> bool:
    """Read a boolean as environment variables spell it."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off"}:
        return False
    raise typer.BadParameter(f"{value!r} is neither true nor false")


def device(value: Any) -> str:
    """Read `auto`, `cpu`, `cuda` or `cuda:N`."""
    if not _DEVICE.fullmatch(text(value)):
        raise typer.BadParameter(f"{value!r} is not one of auto, cpu, cuda, cuda:N")
    return str(value)


def server(value: Any) -> str:
    """Read `auto`, `off`, `unix:PATH` or the URL of an engine."""
    choice = text(value)
    if choice in {"auto", "off"} or (choice.startswith("unix:") and choice != "unix:"):
        return choice
    if not choice.startswith(("http://", "https://")):
        raise typer.BadParameter(f"{choice!r} is not auto, off, unix:PATH or a URL")
    from urllib.parse import urlsplit

    if "@" in choice.partition("://")[2].partition("/")[0]:
        raise typer.BadParameter(f"keys do not belong in a URL; set {SERVER_KEY_VARIABLE}")
    try:
        parts = urlsplit(choice)
        is_address = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or not choice.isascii() or not choice.isprintable() or " " in choice:
        raise typer.BadParameter(f"{choice!r} is not a URL such as http://host:8000/v1")
    return choice


def stop_text(value: Any) -> str:
    """Read a text that ends the completion: 1 to 256 bytes of UTF-8."""
    size = len(text(value).encode("utf-8", "surrogateescape"))
    if not 1 <= size <= _LONGEST_STOP_BYTES:
        raise typer.BadParameter(f"a stop text has 1 to {_LONGEST_STOP_BYTES} bytes, not {size}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise typer.BadParameter("a stop text must be valid UTF-8") from None
    return str(value)


def few_stops(values: list[str] | None) -> list[str]:
    """Refuse more stop texts than a completion can watch for."""
    values = values or []  # Typer turns an empty list into None
    if len(values) > _MOST_STOPS:
        raise typer.BadParameter(f"at most {_MOST_STOPS} stop texts, not {len(values)}")
    return values


class _Direct:
    """Calls an option's own parser where Typer would call it through pydantic."""

    def __init__(self, parse: Parser | None) -> None:
        self._parse = parse

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None:
            return [] if param.multiple else None
        if self._parse is None:
            param._runtime_param = None  # noqa: SLF001  # one of Typer's own: let Typer convert it
            return param.get_runtime_param().coerce(value, param=param, ctx=ctx)
        if not param.multiple and param.nargs == 1:
            return self._parse(value)
        source = ctx.get_parameter_source(param.name)
        if source is not None and source.name == "ENVIRONMENT":
            # Typer splits a variable at white space, which a stop text or a file name may hold.
            value = [os.environ[param.envvar]]
        return [self._parse(item) for item in value]


def parse_directly(parameters: Iterable[Any]) -> None:
    """Let the parsers of a command's parameters run without pydantic.

    Typer 0.29 imports pydantic (0.2 s) for the first value that it converts, only to call the
    parser declared with the option. Where Typer has no such slot, nothing changes but the time.
    """
    for parameter in parameters:
        descriptor = getattr(parameter, "type_descriptor", None)
        if descriptor is not None and hasattr(parameter, "_runtime_param"):
            parse = flag if descriptor.annotation is bool else descriptor.parameter_info.parser
            parameter._runtime_param = _Direct(parse)  # noqa: SLF001  # see above
