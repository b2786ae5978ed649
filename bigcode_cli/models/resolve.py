"""Finds the folder of a model by name: built-in, a folder, or a repository in the local cache."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.framework.settings import (
    MODEL_FOLDERS,
    SettingsError,
    config_path,
    environment_name,
)

if TYPE_CHECKING:
    from bigcode_cli.hub.cache_reader import CachedRepository

BUILT_IN, BUILT_IN_CLASSIFIER, BUILT_IN_TAGGER = (
    "pocket-coder",
    "pocket-languages",
    "pocket-secrets",
)
BUILT_IN_PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        BUILT_IN: "pocket_coder",
        BUILT_IN_CLASSIFIER: "pocket_languages",
        BUILT_IN_TAGGER: "pocket_secrets",
    }
)
"""The package of each built-in model; an installation may lack some."""

BUILT_IN_OF: Mapping[str, str] = MappingProxyType(
    {
        "complete": BUILT_IN,
        "infill": BUILT_IN,
        "score": BUILT_IN,
        "classify": BUILT_IN_CLASSIFIER,
        "tag": BUILT_IN_TAGGER,
    }
)
"""Command -> its model where none is named; also of such a job of the server or of `corpus`."""

_SETTINGS = MappingProxyType({"classify": "classify-model", "tag": "tag-model"})


@dataclass(frozen=True, kw_only=True)
class Found:
    """A model that was found.

    Attributes:
        name: its name in results.
        directory: the folder with its files.
        revision: the commit, for a repository in the cache.
        note: what the user should know about the choice.
    """

    name: str
    directory: Path
    revision: str | None = None
    note: str | None = None


def setting_of(tasks: Sequence[str]) -> str:
    """Return the key of config.toml that sets the model of these commands."""
    return next((_SETTINGS[task] for task in tasks if task in _SETTINGS), "model")


def find_model(name: str | None, *, option: str = "--model", command: str = "complete") -> Found:
    """Find a model by the value of --model; None is the command's built-in model.

    A value that starts like a path (`/`, `./`, `../`, `~`) is a folder. Any other is a built-in
    name, else a repository of the cache or the short name of one, else a model in a configured
    folder, else a folder. A model of the cache that was converted is its conversion.

    Args:
        name: the value.
        option: where the value came from, for error lines.
        command: a key of `BUILT_IN_OF`.

    Raises:
        UsageFailure: it is not a valid name.
        Failure: `model-missing`, `model-corrupt`.
    """
    return usable(find_source(name, option=option, command=command), name)


def usable(found: Found, name: str | None = None) -> Found:
    """Return a model itself, or its conversion if it needs one.

    Raises:
        Failure: `model-unsafe`: it needs a conversion that does not exist.
    """
    if found.name in BUILT_IN_PACKAGES:
        return found
    from bigcode_cli.conversion import folders

    name = name or found.name
    folder = found.directory if found.revision is None else folders.usable_folder(found.directory)
    if folder == found.directory and folders.is_convertible(folder):
        what = "a pickle" if folders.has_pickles(folder) else "of bigcode/santacoder's layout"
        target = " PATH" if found.revision is None else ""
        hint = f"bigcode models convert {name}{target} converts it to safetensors in a sandbox"
        raise Failure("model-unsafe", f"{name}: its weights are only {what}", hint=hint)
    return replace(found, directory=folder)


def find_source(name: str | None, *, option: str = "--model", command: str = "complete") -> Found:
    """Find a model, even one that must be converted before use.

    Raises:
        UsageFailure: it is not a valid name.
        Failure: `model-missing`, `model-corrupt`.
    """
    if name is None or name in BUILT_IN_PACKAGES:
        return _built_in(name or BUILT_IN_OF[command])
    if "\0" in name or not name:
        raise UsageFailure(f"{option}: {name!r} is not a name")
    if name in (".", "..") or name.startswith(("/", "./", "../", "~")):
        return _folder(name)
    from bigcode_cli.hub.cache_reader import CachedRepository, cache_root, validate_revision
    from bigcode_cli.models.aliases import full_name

    repository, at, revision = name.partition("@")
    _validate(name, repository, option)
    asked = validate_revision(revision, option=option) if at else None
    cached = find_cached(CachedRepository(full_name(repository), cache_root()), asked)
    if cached is not None:
        return cached
    configured = find_configured(name)
    if configured is not None:
        return Found(name=name, directory=configured)
    if os.path.isdir(name):  # noqa: PTH112  # a name longer than the system allows is no folder
        return _folder(name)
    raise _missing(name, option)


def _missing(name: str, option: str) -> Failure:
    """Describe a model that was not found: what was meant, or how to get it."""
    from bigcode_cli.hub.cache_reader import cache_root, repositories
    from bigcode_cli.models.aliases import SHORT_NAMES, meant

    repository = name.partition("@")[0]
    known = [*BUILT_IN_PACKAGES, *(cached.name for cached in repositories(cache_root()))]
    published = [*SHORT_NAMES, *SHORT_NAMES.values()]
    known += [*(configured for configured, _ in configured_models()), *published]
    can_be_pulled = "/" in repository or repository in SHORT_NAMES
    close = None if repository in published else meant(repository, known)
    hints = [] if close is None else [f"did you mean {close}?"]
    if can_be_pulled:
        hints.append(f"bigcode models pull {name} downloads it")
    elif not hints:
        hints.append("bigcode models list shows installed models, --available those to download")
    if option == "--model" and close is None and repository not in published:
        hints.append("-m ./FOLDER names a folder")
    message = f"{name}: not in the local cache {cache_root()}"
    if not can_be_pulled:
        message = f"{name}: not a built-in model, and not in the local cache {cache_root()}"
    return Failure("model-missing", message, hint="; ".join(hints).replace("?;", "?"))


def _built_in(name: str) -> Found:
    spec = find_spec(BUILT_IN_PACKAGES[name])
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    for place in map(Path, places):
        if (place / "config.json").is_file():
            return Found(name=name, directory=place)
    hint = "this installation has no built-in model; use -m"
    raise Failure("model-missing", f"{name}: the built-in model is missing", hint=hint)


def _folder(name: str) -> Found:
    directory = Path(os.path.expanduser(name))  # noqa: PTH111  # Path raises for an unknown user
    if directory == Path():  # whose files would be named without their folder
        with contextlib.suppress(FileNotFoundError):
            directory = directory.absolute()
    if os.path.isdir(directory):  # noqa: PTH112  # as above
        return Found(name=name, directory=directory)
    if os.path.exists(directory):  # noqa: PTH110  # as above
        hint = "name the folder that holds config.json"
        raise Failure("model-missing", f"{name}: is a file, not a folder", hint=hint)
    raise Failure("model-missing", f"{name}: no such folder")


def _validate(name: str, repository: str, option: str) -> None:
    from bigcode_cli.hub.cache_reader import LONGEST_NAME, REPOSITORY

    fits = REPOSITORY.fullmatch(repository) or repository.count("/") > 1
    if len(name) > LONGEST_NAME or name.startswith("-") or ".." in name or not fits:
        shown = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"
        hint = "a model is a NAME, OWNER/NAME[@REVISION], or a path that starts with ./ or /"
        raise UsageFailure(f"{option}: {shown!r} is not a model's name", hint=hint)


def find_cached(repository: "CachedRepository", revision: str | None) -> Found | None:
    """Find a cached model, by the same rules for every command.

    Args:
        repository: its repository.
        revision: a branch, tag or commit. None: the main branch, or else the only cached commit, as
            after a download by commit.

    Returns:
        The model; None if the cache has none of that repository.

    Raises:
        Failure: `model-corrupt`: a damaged reference or snapshot; `model-missing`: the cache has
            other commits of it, which are named.
    """
    from bigcode_cli.hub.cache_reader import BRANCH

    commit = repository.commit(revision or BRANCH)
    directory = None if commit is None else repository.snapshot(commit)
    if directory is not None:
        return Found(name=repository.name, directory=directory, revision=commit)
    whole = [commit for commit in repository.commits() if _is_whole(repository, commit)]
    if not whole:
        return None
    first = whole[0]
    if revision is None and len(whole) == 1:
        note = f"{repository.name}: no branch {BRANCH} in the cache; using its only commit {first}"
        directory = repository.snapshot(first)
        if directory is not None:
            return Found(name=repository.name, directory=directory, revision=first, note=note)
    message = f"{repository.name}@{revision or BRANCH}: not in the local cache {repository.root}"
    hint = f"it has {', '.join(f'{repository.name}@{commit}' for commit in whole)}"
    raise Failure("model-missing", message, hint=hint)


def _is_whole(repository: "CachedRepository", commit: str) -> bool:
    from bigcode_cli.conversion import folders
    from bigcode_cli.models.describe import describe_if_whole

    folder = repository.snapshots / commit
    usable_folder = folders.usable_folder(folder)
    return folders.is_convertible(folder) or describe_if_whole(usable_folder) is not None


_CONFIG_FILE = "config.json"


def model_folders() -> list[Path]:
    """Return the configured folders, in their order.

    Raises:
        SettingsError: config.toml cannot be used, or a path is not absolute.
    """
    variable = environment_name(MODEL_FOLDERS)
    if variable in os.environ:
        named = [part for part in os.environ[variable].split(os.pathsep) if part]
        return [_absolute(part, variable) for part in named]
    path = config_path()
    if not path.is_absolute():
        return []
    from bigcode_cli.io.config_file import read_list

    key = MODEL_FOLDERS.replace("_", "-")
    return [_absolute(part, f"{path}: {key}") for part in read_list(key)]


def _absolute(text: str, place: str) -> Path:
    folder = Path(os.path.expanduser(text))  # noqa: PTH111  # Path raises for an unknown user
    if not folder.is_absolute() or "\0" in text:
        raise SettingsError(f"{place}: {text!r} is not an absolute path, nor one from ~")
    return folder


def configured_models() -> Iterator[tuple[str, Path]]:
    """Iterate over names and folders of the models in them; the first of equal names wins.

    Such a folder is a model, or contains models as NAME/ or OWNER/NAME/.
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
    return os.path.isfile(folder / _CONFIG_FILE)  # noqa: PTH113  # Path raises for forbidden ones


def _folders(top: Path) -> list[Path]:
    """Return the subfolders of a folder by name; none if it cannot be read."""
    try:
        with os.scandir(top) as entries:
            found = [entry.path for entry in entries if entry.name[0] != "." and entry.is_dir()]
    except OSError:
        return []
    return [Path(path) for path in sorted(found)]


def find_configured(name: str) -> Path | None:
    """Return the folder of a configured model, if there is one of that name."""
    return next((folder for known, folder in configured_models() if known == name), None)
