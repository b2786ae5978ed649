"""Reads and changes one setting of config.toml; its other lines stay as they are.

Knows no option by name.
"""

import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

from bigcode_cli.framework.settings import SettingsError, config_path
from bigcode_cli.io.atomic_files import make_private_folder


def read_setting(key: str) -> str | None:
    """Return a setting that is a text; None if there is none.

    Raises:
        SettingsError: the file cannot be used, or holds something else there.
    """
    path = config_path()
    value = _parsed(path, _text(path)).get(key)
    if value is not None and not isinstance(value, str):
        raise SettingsError(f"{path}: {key}: {value!r} is not a text")
    return value


def read_list(key: str) -> list[str]:
    """Return a setting that is a list of texts; an empty one if there is none.

    Raises:
        SettingsError: the file cannot be used, or holds something else there.
    """
    path = config_path()
    text = _text(path)
    value = _parsed(path, text).get(key, []) if key in text else []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise SettingsError(f"{path}: {key}: {value!r} is not a list of texts")
    return value


def write_setting(key: str, value: str) -> None:
    """Set a setting to a text, in one step: readers see the old file or the new one.

    Raises:
        SettingsError: the file cannot be used or written.
    """
    path = config_path()
    if not path.is_absolute():
        raise SettingsError(f"{path}: the folder for settings is not an absolute path")
    before = _text(path)
    values = _parsed(path, before)
    line = f"{key} = {json.dumps(value, ensure_ascii=False)}"
    pattern = re.compile(rf"^[ \t]*{re.escape(key)}[ \t]*=.*$", re.MULTILINE)
    is_set = key in values
    after = pattern.sub(lambda _: line, before, count=1) if is_set else f"{line}\n{before}"
    if _parsed(path, after) != {**values, key: value}:
        raise SettingsError(f"{path}: {key}: cannot be changed safely; edit the file")
    try:
        _write(path, after)
    except (OSError, UnicodeEncodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not Unicode"
        raise SettingsError(f"{path}: {reason}") from None


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: {error}") from None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}") from None


def _write(path: Path, text: str) -> None:
    """Write a temporary file beside the real one, which may be behind a link, and rename it."""
    make_private_folder(path.parent)
    real = path.resolve()
    temporary = real.with_name(f".{real.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8", newline="") as stream:  # noqa: PTH123  # a number
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(real.stat().st_mode & 0o777 if real.exists() else 0o600)
        temporary.replace(real)
    finally:
        temporary.unlink(missing_ok=True)
