"""Options from the environment and config.toml, the same for every command.

Order: flag, then `BIGCODE_<OPTION>`, then config.toml, then the default; Typer asks in that order.
The file is read from the user's configuration folder only.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from enum import Enum
from functools import cached_property
from pathlib import Path, PurePath
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from bigcode_cli.framework.option_types import is_setting
from bigcode_cli.framework.output import Notes

MAX_CONFIG_BYTES = 1 << 20
MODEL_FOLDERS = "model_folders"  # a setting that is not an option
_PREFIX = "BIGCODE_"
_NO_OPTIONS = frozenset({"BIGCODE_DEBUG", "BIGCODE_MODEL_FOLDERS"})
_ALONE = "is taken from the command line alone"
_KINDS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
_NONE = type(None)
_LONGEST_VALUE = 80


class SettingsError(ValueError):
    """config.toml cannot be used; the message names the file and the key."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def environment_name(option: str) -> str:
    """Name the variable that sets an option: `max_tokens` becomes BIGCODE_MAX_TOKENS."""
    return _PREFIX + option.upper().replace("-", "_")


def config_path() -> Path:
    """Return the path of config.toml, which need not exist."""
    import platformdirs

    return Path(platformdirs.user_config_dir("bigcode", appauthor=False)) / "config.toml"


def cache_folder(name: str) -> Path:
    """Return the folder of a cache, which need not exist."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("bigcode", appauthor=False)) / name


def state_folder() -> Path:
    """Return the folder for logs and marks, which need not exist."""
    import platformdirs

    return Path(platformdirs.user_state_dir("bigcode", appauthor=False))


def origin(parameter: Any, context: Any) -> str:
    """Name where a parameter's value came from, for error lines."""
    source = context.get_parameter_source(parameter.name)
    if source is not None and source.name == "ENVIRONMENT":
        return str(parameter.envvar)
    if source is not None and source.name == "DEFAULT_MAP":
        return f"{config_path()}: {parameter.name.replace('_', '-')}"
    flags = [name for name in parameter.opts if name.startswith("-")]
    return "/".join(flags) or str(parameter.metavar or parameter.name)


class Settings(Mapping[str, Any]):
    """The values that config.toml gives, looked up by parameter name.

    The file is read at the first look-up, so that help never waits for it or fails on it. Names are
    checked only if something is set, because that imports every command.

    Args:
        annotations: every option of every command, by parameter name.
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

    def note_ignored_variables(self, known: Iterable[str], notes: Notes) -> None:
        """Note BIGCODE_ variables that have no effect.

        Args:
            known: the variables of the running command; those of other commands are accepted too.
            notes: where it is noted.
        """
        variables = {name for name in os.environ if name.startswith(_PREFIX) and os.environ[name]}
        if not (doubtful := variables - _NO_OPTIONS - set(known)):
            return
        from bigcode_cli.framework.options import shared_names

        if not (doubtful := doubtful - set(map(environment_name, shared_names()))):
            return
        options = {environment_name(name): found for name, found in self._annotations().items()}
        names = {
            name.removeprefix(_PREFIX): name for name in options if _is_settable(options[name])
        }
        for name in sorted(doubtful - set(names.values())):
            if name in options:
                notes.note(f"{name} is ignored: {_flag(name)} {_ALONE}")
                continue
            close = get_close_matches(name.removeprefix(_PREFIX), names, n=1)
            advice = f"; did you mean {names[close[0]]}?" if close else ""
            notes.note(f"{name} is ignored: there is no such option{advice}")


def _flag(variable: str) -> str:
    return "--" + variable.removeprefix(_PREFIX).lower().replace("_", "-")


def _is_settable(annotation: Any) -> bool:
    return annotation == list[str] or is_setting(annotation)


def _read_table(path: Path) -> dict[str, Any]:
    if not path.is_absolute():
        return {}  # a relative XDG_CONFIG_HOME would mean the current directory
    if not os.path.lexists(path):
        return {}  # the usual case; no parser is imported
    from gpt_bigcode.errors import MissingFileError, UnreadableFileError
    from gpt_bigcode.reading import read_toml

    try:
        return read_toml(path, max_bytes=MAX_CONFIG_BYTES)
    except MissingFileError:
        return {}
    except UnreadableFileError as error:
        raise SettingsError(str(error)) from None


def _checked(path: Path, key: str, annotations: Mapping[str, Any], value: Any) -> Any:
    name = key.replace("-", "_")
    if "_" in key or name not in annotations:
        raise _unknown_key(path, key, annotations, value)
    if not _is_settable(annotations[name]):
        raise SettingsError(f"{path}: {key}: {_ALONE}")
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


def _unknown_key(path: Path, key: str, annotations: Mapping[str, Any], value: Any) -> SettingsError:
    names = [name.replace("_", "-") for name in annotations if _is_settable(annotations[name])]
    close = get_close_matches(key.replace("_", "-"), names, n=1)
    hint = f"did you mean {close[0]}?" if close else None
    if isinstance(value, dict):
        hint = "options are set for all commands, outside of [tables]"
    return SettingsError(f"{path}: {key[:80]}: there is no such option", hint=hint)


def _kind(annotation: Any) -> tuple[type, bool]:
    """Reduce an option's annotation to str, bool, int or float, and tell whether it is a list."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(kind for kind in get_args(annotation) if kind is not _NONE)
    many = get_origin(annotation) is list
    kind = get_args(annotation)[0] if many else annotation
    return (str if issubclass(kind, (Enum, PurePath)) else kind), many
