"""Turns the words of a command line into values, one small parser for each kind of option.

Knows nothing of which options exist; every parser raises `typer.BadParameter` with a short reason.
"""

import math
import os
import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import typer

Choice = TypeVar("Choice", bound=StrEnum)
Number = TypeVar("Number", int, float)

_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")
_MOST_STOPS = 16
_LONGEST_STOP_BYTES = 256


def text(value: Any) -> str:
    """Return a text as it was given."""
    if not isinstance(value, str):
        raise typer.BadParameter(f"{value!r} is not a text")
    return value


def path(value: Any) -> Path:
    """Return a file's name, whatever bytes it is made of."""
    if not text(value):
        raise typer.BadParameter("a file's name cannot be empty")
    return Path(value)


def flag(value: Any) -> bool:
    """Read a yes or no, as environments spell it."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off"}:
        return False
    raise typer.BadParameter(f"{value!r} is neither true nor false")


def bounded(
    kind: type[Number], *, low: Number, high: Number, above_low: bool = False
) -> Callable[[Any], Number]:
    """Build a parser of finite numbers from `low` (left out if `above_low`) to `high`."""
    name = "whole number" if kind is int else "number"
    lower = f"above {low}" if above_low else f"from {low}"

    def parse(value: Any) -> Number:
        try:
            number = kind(value) if isinstance(value, str) or kind is float else value
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        refused = isinstance(number, bool) or not isinstance(number, kind)
        if refused or not low <= number <= high or (above_low and number == low):
            raise typer.BadParameter(f"{value!r} is not a {name} {lower} to {high}")
        return number

    return parse


def one_of(kind: type[Choice]) -> Callable[[Any], Choice]:
    """Build a parser of the values of an enum."""

    def parse(value: Any) -> Choice:
        try:
            return kind(value)
        except ValueError:
            names = ", ".join(kind)
            raise typer.BadParameter(f"{value!r} is not one of {names}") from None

    return parse


def device(value: Any) -> str:
    """Read `auto`, `cpu`, `cuda` or `cuda:N`."""
    if not _DEVICE.fullmatch(text(value)):
        raise typer.BadParameter(f"{value!r} is not one of auto, cpu, cuda, cuda:N")
    return str(value)


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
    values = values or []  # Typer makes None of an empty list
    if len(values) > _MOST_STOPS:
        raise typer.BadParameter(f"at most {_MOST_STOPS} stop texts, not {len(values)}")
    return values


class _Direct:
    """Calls an option's own parser where Typer would call it through pydantic."""

    def __init__(self, parse: Callable[[Any], Any] | None) -> None:
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
