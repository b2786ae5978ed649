"""Options from config.toml, for every command alike.

Knows no option by name. Order: flag, then `BIGCODE_<OPTION>`, then config.toml, then the default;
Typer asks in that order. The file is read from the user's configuration folder only.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import cached_property
from pathlib import Path, PurePath
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from gpt_bigcode.errors import MissingFileError, UnreadableFileError

MAX_CONFIG_BYTES = 1 << 20
MODEL_FOLDERS = "model_folders"  # no option of any command, but a setting like them
_KINDS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
_NONE = type(None)
_LONGEST_VALUE = 80


class SettingsError(ValueError):
    """config.toml cannot be used; the message names the file and the key."""


def environment_name(option: str) -> str:
    """Name the variable that sets an option: `max_tokens` becomes BIGCODE_MAX_TOKENS."""
    return "BIGCODE_" + option.upper().replace("-", "_")


def config_path() -> Path:
    """Return where config.toml is, whether it exists or not."""
    import platformdirs

    return Path(platformdirs.user_config_dir("bigcode", appauthor=False)) / "config.toml"


def origin(parameter: Any, context: Any) -> str:
    """Name the place that a parameter's value came from, for an error line."""
    source = context.get_parameter_source(parameter.name)
    if source is not None and source.name == "ENVIRONMENT":
        return str(parameter.envvar)
    if source is not None and source.name == "DEFAULT_MAP":
        return f"{config_path()}: {parameter.name.replace('_', '-')}"
    flags = [name for name in parameter.opts if name.startswith("-")]
    return "/".join(flags) or str(parameter.metavar or parameter.name)


class Settings(Mapping[str, Any]):
    """The values that config.toml gives, looked up by parameter name.

    The file is read at the first look-up, so that help never waits for it or fails on it. Which
    options there are is asked only if the file sets one: every command is imported to tell.
    """

    def __init__(self, annotations: Callable[[], Mapping[str, Any]]) -> None:
        self._annotations = annotations

    def __getitem__(self, name: str) -> Any:
        """Return a setting; KeyError if the file does not have it."""
        return self._config[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the options that are set."""
        return iter(self._config)

    def __len__(self) -> int:
        """Count the options that are set."""
        return len(self._config)

    @cached_property
    def _config(self) -> dict[str, Any]:
        path = config_path()
        table = _read_table(path)
        if not table:
            return {}
        known = {**self._annotations(), MODEL_FOLDERS: list[str]}
        return {key.replace("-", "_"): _checked(path, key, known, table[key]) for key in table}


def _read_table(path: Path) -> dict[str, Any]:
    if not path.is_absolute():
        return {}  # a relative XDG_CONFIG_HOME would mean the current directory
    from gpt_bigcode import reading

    try:
        return reading.read_toml(path, max_bytes=MAX_CONFIG_BYTES)
    except MissingFileError:
        return {}
    except UnreadableFileError as error:
        raise SettingsError(str(error)) from None


def _checked(path: Path, key: str, annotations: Mapping[str, Any], value: Any) -> Any:
    name = key.replace("-", "_")
    if "_" in key or name not in annotations:
        raise SettingsError(f"{path}: {key[:80]}: there is no such option")
    kind, many = _kind(annotations[name])
    items = value if many and isinstance(value, list) else [value]
    accepted = (int, float) if kind is float else (kind,)
    if not all(type(item) in accepted for item in items):
        expected = f"a list of texts or {_KINDS[kind]}" if many else _KINDS[kind]
        raise SettingsError(f"{path}: {key}: {_short(value)} is not {expected}")
    return items if many else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _kind(annotation: Any) -> tuple[type, bool]:
    """Reduce an option's annotation to str, bool, int or float, and tell whether it is a list."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(kind for kind in get_args(annotation) if kind is not _NONE)
    many = get_origin(annotation) is list
    kind = get_args(annotation)[0] if many else annotation
    return (str if issubclass(kind, (Enum, PurePath)) else kind), many
