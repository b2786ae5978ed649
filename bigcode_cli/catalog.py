"""Finds the folder of a model by name: built-in, a folder, or a repository in the local cache.

Knows nothing of what is in the folder, and never uses the network.
"""

import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bigcode_cli.failures import Failure, UsageFailure

BUILT_IN = "pocket-coder"
BUILT_IN_PACKAGE = "pocket_coder"

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LONGEST_NAME = 200
_LONGEST_REFERENCE_BYTES = 100


@dataclass(frozen=True, kw_only=True)
class Found:
    """A model that is there.

    Attributes:
        name: what to call it in results.
        directory: the folder with its files.
        revision: the commit, for a repository in the cache.
    """

    name: str
    directory: Path
    revision: str | None = None


def find_model(name: str | None) -> Found:
    """Find a model by the value of --model; None means the built-in one.

    A value that starts like a path (`/`, `./`, `../`, `~`) is a folder. Any other is a built-in
    name, else a repository of the cache, else a folder.

    Raises:
        UsageFailure: a name that cannot be one.
        Failure: `model-missing`, `model-corrupt`.
    """
    if name is None or name == BUILT_IN:
        return _built_in()
    if "\0" in name or not name:
        raise UsageFailure(f"--model: {name!r} is not a name")
    if name in (".", "..") or name.startswith(("/", "./", "../", "~")):
        return _folder(name)
    repository, _, revision = name.partition("@")
    _validate(name, repository, revision if "@" in name else "main")
    cached = _cached(repository, revision or "main")
    if cached is not None:
        return cached
    if os.path.isdir(name):  # noqa: PTH112  # a name longer than the system allows is no folder
        return _folder(name)
    hint = f"only models that are here can be used: -m {BUILT_IN}, or -m ./FOLDER"
    raise Failure("model-missing", f"{name}: not in the local cache {_cache()}", hint=hint)


def _built_in() -> Found:
    spec = find_spec(BUILT_IN_PACKAGE)
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    for place in map(Path, places):
        if (place / "config.json").is_file():
            return Found(name=BUILT_IN, directory=place)
    hint = "this installation came without its model; -m names another one"
    raise Failure("model-missing", f"{BUILT_IN}: the built-in model is not here", hint=hint)


def _folder(name: str) -> Found:
    directory = Path(os.path.expanduser(name))  # noqa: PTH111  # Path raises for an unknown user
    if os.path.isdir(directory):  # noqa: PTH112  # as above
        return Found(name=name, directory=directory)
    if os.path.exists(directory):  # noqa: PTH110  # as above
        hint = "name the folder that holds config.json"
        raise Failure("model-missing", f"{name}: is a file, not a folder", hint=hint)
    raise Failure("model-missing", f"{name}: no such folder")


def _validate(name: str, repository: str, revision: str) -> None:
    fits = _REPOSITORY.fullmatch(repository) or repository.count("/") > 1
    if len(name) > _LONGEST_NAME or name.startswith("-") or ".." in name or not fits:
        shown = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
        hint = "a model is a NAME, OWNER/NAME[@REVISION], or a path that starts with ./ or /"
        raise UsageFailure(f"--model: {shown!r} is not a model's name", hint=hint)
    bad_end = revision.endswith(("/", ".lock"))
    if not _REVISION.fullmatch(revision) or "//" in revision or bad_end:
        raise UsageFailure(f"--model: {revision!r} is not a revision")


def _cache() -> Path:
    """Return the folder that other tools share, by their own variables."""
    variables = os.environ.get
    home = variables("HF_HOME") or os.path.join(  # noqa: PTH118  # as the tools that share it do
        variables("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    cache = variables("HF_HUB_CACHE") or variables("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    return Path(os.path.expandvars(os.path.expanduser(cache)))  # noqa: PTH111


def _cached(repository: str, revision: str) -> Found | None:
    """Look a repository up in the cache; None if it, or the revision, is not there.

    Whoever can write a reference must not be able to lead us out of the cache.
    """
    folder = _cache() / f"models--{repository.replace('/', '--')}"
    commit = revision if _COMMIT.fullmatch(revision) else _commit(folder / "refs" / revision)
    if commit is None:
        return None
    snapshots = folder / "snapshots"
    directory = snapshots / commit
    if not directory.is_dir():
        return None
    if directory.resolve().parent != snapshots.resolve():
        raise Failure("model-corrupt", f"{repository}: its snapshot leads out of the cache")
    return Found(name=repository, directory=directory, revision=commit)


def _commit(reference: Path) -> str | None:
    try:
        with reference.open("rb") as file:
            content = file.read(_LONGEST_REFERENCE_BYTES)
    except OSError:
        return None
    commit = content.decode("ascii", "replace").strip()
    if not _COMMIT.fullmatch(commit):
        raise Failure("model-corrupt", f"{reference}: does not hold a commit")
    return commit
