"""Lets a command take its options as a few frozen dataclasses instead of thirty parameters.

Knows nothing of which options or commands exist; it gives each one its environment variable.
"""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints

from typer.models import OptionInfo

from bigcode_cli.settings import environment_name


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
    for declaration in getattr(annotation, "__metadata__", ()):
        # An option that is declared with no variable ([]) belongs on the command line alone.
        if isinstance(declaration, OptionInfo) and declaration.envvar != []:
            declaration.envvar = environment_name(name)
            declaration.show_envvar = False  # the help says once how all of them are called
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)
