"""The folders with models that the user has named in config.toml or BIGCODE_MODEL_FOLDERS.

Knows no cache and no network, and nothing of what a model is but that it has a config.json.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from bigcode_cli.settings import MODEL_FOLDERS, SettingsError, config_path, environment_name

_CONFIG_FILE = "config.json"


def model_folders() -> list[Path]:
    """Return the folders to look into, in the order in which they were named.

    Raises:
        SettingsError: config.toml cannot be used, or one of them is no absolute path.
    """
    variable = environment_name(MODEL_FOLDERS)
    if variable in os.environ:
        named = [part for part in os.environ[variable].split(os.pathsep) if part]
        return [_absolute(part, variable) for part in named]
    path = config_path()
    if not path.is_absolute():
        return []
    from bigcode_cli.settings_file import read_list

    key = MODEL_FOLDERS.replace("_", "-")
    return [_absolute(part, f"{path}: {key}") for part in read_list(key)]


def _absolute(text: str, place: str) -> Path:
    folder = Path(os.path.expanduser(text))  # noqa: PTH111  # Path raises for an unknown user
    if not folder.is_absolute() or "\0" in text:
        raise SettingsError(f"{place}: {text!r} is not an absolute path, nor one from ~")
    return folder


def configured_models() -> Iterator[tuple[str, Path]]:
    """Iterate over name and folder of the models in them; the first of one name counts.

    Such a folder is a model itself, or holds models: NAME/ or OWNER/NAME/, as the hub names them.
    """
    seen: set[str] = set()
    for top in model_folders():
        for name, folder in _models_below(top):
            if name not in seen:
                seen.add(name)
                yield name, folder


def _models_below(top: Path) -> Iterator[tuple[str, Path]]:
    if _is_model(top):
        yield top.name, top
        return
    for child in _folders(top):
        if _is_model(child):
            yield child.name, child
            continue
        for grandchild in _folders(child):
            if _is_model(grandchild):
                yield f"{child.name}/{grandchild.name}", grandchild


def _is_model(folder: Path) -> bool:
    return (folder / _CONFIG_FILE).is_file()


def _folders(top: Path) -> list[Path]:
    """Folders in a folder, by name; one that cannot be read has none."""
    try:
        with os.scandir(top) as entries:
            found = [entry.path for entry in entries if entry.name[0] != "." and entry.is_dir()]
    except OSError:
        return []
    return [Path(path) for path in sorted(found)]


def find_configured(name: str) -> Path | None:
    """Return the folder of a configured model; None if none has that name."""
    return next((folder for known, folder in configured_models() if known == name), None)
