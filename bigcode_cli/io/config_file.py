"""Reads and changes one setting of config.toml; its other lines stay as they are."""

import json
import re
from pathlib import Path
from typing import Any

from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.settings import MAX_CONFIG_BYTES, SettingsError, config_path
from bigcode_cli.io.atomic_files import (
    atomic_write,
    folder_lock,
    make_private_folder,
    open_target,
)
from gpt_bigcode.errors import MissingFileError, UnreadableFileError
from gpt_bigcode.reading import parse_toml, read_checked


def read_setting(key: str) -> str | None:
    """Return a string setting; None if it is not set.

    Raises:
        SettingsError: the file cannot be used, or the setting has another type.
    """
    path = config_path()
    value = _parsed(path, _read(path)).get(key)
    if value is not None and not isinstance(value, str):
        raise SettingsError(f"{path}: {key}: {str(value)[:80]!r} is not a text")
    return value


def read_list(key: str) -> list[str]:
    """Return a setting that is a list of strings; an empty one if it is not set.

    Raises:
        SettingsError: the file cannot be used, or the setting has another type.
    """
    path = config_path()
    data = _read(path)
    value = _parsed(path, data).get(key, []) if key.encode() in data else []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise SettingsError(f"{path}: {key}: {str(value)[:80]!r} is not a list of texts")
    return value


def write_setting(key: str, value: str) -> None:
    """Set a string setting atomically.

    Raises:
        SettingsError: the file cannot be used, or cannot be changed safely.
        Failure: `settings`, `changed` or `busy`: it cannot be written.
    """
    path = config_path()
    if not path.is_absolute():
        raise SettingsError(f"{path}: the folder for settings is not an absolute path")
    try:
        make_private_folder(path.parent)
    except OSError as error:
        raise Failure("settings", f"{path}: {error.strerror}") from None
    with folder_lock(path):
        target = open_target(
            path, option="config.toml", slug="settings", max_bytes=MAX_CONFIG_BYTES, create=True
        )
        after = _changed(path, target.data, key, value)
        atomic_write(target, after, new_mode=0o600)


def _changed(path: Path, data: bytes, key: str, value: str) -> bytes:
    """Return the file with one setting changed or added."""
    values = _parsed(path, data)
    before = data.decode("utf-8-sig")
    line = f"{key} = {json.dumps(value, ensure_ascii=False)}"
    pattern = re.compile(rf"^[ \t]*{re.escape(key)}[ \t]*=.*$", re.MULTILINE)
    text = pattern.sub(lambda _: line, before, count=1) if key in values else f"{line}\n{before}"
    try:
        after = text.encode()
    except UnicodeEncodeError:
        raise SettingsError(f"{path}: {key}: it is not Unicode") from None
    if _parsed(path, after) != {**values, key: value}:
        raise SettingsError(f"{path}: {key}: cannot be changed safely; edit the file")
    return after


def _read(path: Path) -> bytes:
    try:
        return read_checked(path, max_bytes=MAX_CONFIG_BYTES)
    except MissingFileError:
        return b""
    except UnreadableFileError as error:
        raise SettingsError(str(error)) from None


def _parsed(path: Path, data: bytes) -> dict[str, Any]:
    try:
        return parse_toml(data)
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from None
