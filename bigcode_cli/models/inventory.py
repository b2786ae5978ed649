"""The models on this machine, and those that can be downloaded."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bigcode_cli.conversion.folders import usable_folder
from bigcode_cli.framework.errors import Failure
from bigcode_cli.hub.cache_reader import CachedRepository, cache_root, file_sizes, repositories
from bigcode_cli.models.aliases import PUBLISHED, PublishedModel, full_name
from bigcode_cli.models.describe import Description, describe_if_whole
from bigcode_cli.models.resolve import BUILT_IN_PACKAGES, Found, configured_models, find_model


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A model that can be used.

    Attributes:
        name: what --model takes.
        source: `builtin`, `cache` or `path`.
        revision: the commit, for a repository of the cache.
        references: the branches and tags that refer to this commit.
        directory: the folder with its files.
        bytes: the size of its files.
        description: what it is.
    """

    name: str
    source: str
    revision: str | None
    references: tuple[str, ...]
    directory: Path
    bytes: int
    description: Description


def installed_models() -> Iterator[Installed]:
    """Iterate over the complete models, the built-in ones first.

    Repositories of other architectures, and incomplete ones, are left out.
    """
    for name in BUILT_IN_PACKAGES:
        built_in = _built_in(name)
        if built_in is not None:
            yield built_in
    taken = set(BUILT_IN_PACKAGES)
    for repository in repositories(cache_root()):
        for model in _revisions(repository):
            taken.add(model.name)
            yield model
    for name, folder in configured_models():
        # Another model has this name: show the folder, which refers to this one.
        shown = str(folder) if name in taken or full_name(name) in taken else name
        model_here = _in_folder(shown, folder, "path")
        if model_here is not None:
            yield model_here


def available_models() -> Iterator[tuple[PublishedModel, bool]]:
    """Iterate over the published models, and whether each is here."""
    here = {model.name for model in installed_models()}
    for model in PUBLISHED:
        yield model, model.repository in here


def source_of(found: Found) -> str:
    """Tell where a model was found: `builtin`, `cache` or `path`."""
    if found.name in BUILT_IN_PACKAGES:
        return "builtin"
    return "path" if found.revision is None else "cache"


def total_bytes(folder: Path) -> int:
    """Add up the sizes of the files below a folder."""
    return sum(size or 0 for size in file_sizes(folder).values())


def _built_in(name: str) -> Installed | None:
    try:
        found = find_model(name)
    except Failure:
        return None
    return _in_folder(found.name, found.directory, "builtin")


def _in_folder(name: str, folder: Path, source: str) -> Installed | None:
    description = describe_if_whole(folder)
    if description is None:
        return None
    return Installed(
        name=name,
        source=source,
        revision=None,
        references=(),
        directory=folder,
        bytes=total_bytes(folder),
        description=description,
    )


def _revisions(repository: CachedRepository) -> Iterator[Installed]:
    references = repository.references()
    for commit in repository.commits():
        directory = usable_folder(repository.snapshots / commit)
        description = describe_if_whole(directory)
        if description is not None:
            yield Installed(
                name=repository.name,
                source="cache",
                revision=commit,
                references=tuple(sorted(n for n, at in references.items() if at == commit)),
                directory=directory,
                bytes=total_bytes(directory),
                description=description,
            )
