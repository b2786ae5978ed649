"""Brings models of the cache up to the hub's present state, and says what changed.

Knows nothing of the command line or of how changes are shown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bigcode_cli.conversion.folders import is_convertible, usable_folder
from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.framework.output import Notes
from bigcode_cli.hub.cache_reader import (
    COMMIT,
    CachedRepository,
    cache_root,
    file_sizes,
    repositories,
)
from bigcode_cli.hub.client import Hub
from bigcode_cli.hub.errors import Interrupted
from bigcode_cli.hub.pull import Pulled, Wish, fetch, is_offline
from bigcode_cli.hub.repo_id import repository_and_revision
from bigcode_cli.hub.token import find_token
from bigcode_cli.models.describe import describe_if_whole


@dataclass(frozen=True, kw_only=True)
class FileChange:
    """One file that differs between two commits.

    Attributes:
        name: its name.
        change: `added`, `changed` or `removed`.
        bytes: its size now; None if it was removed.
        bytes_before: its size then; None if it was added.
    """

    name: str
    change: str
    bytes: int | None
    bytes_before: int | None


@dataclass(frozen=True, kw_only=True)
class Updated:
    """What became of one branch or tag of a repository.

    Attributes:
        name: the repository.
        reference: the branch or tag.
        before: the commit where it stood.
        revision: the commit where it stands now.
        directory: the folder of the model.
        fetched_bytes: what had to be fetched.
        files: what differs.
    """

    name: str
    reference: str
    before: str
    revision: str
    directory: Path
    fetched_bytes: int = 0
    files: tuple[FileChange, ...] = ()


@dataclass(frozen=True)
class Standing:
    """A branch or tag of a repository of the cache, and the commit at which it stands."""

    repository: CachedRepository
    reference: str
    commit: str


def chosen_standings(names: Sequence[str]) -> list[Standing]:
    """Find the branches and tags that names stand for: REPO, REPO@BRANCH; without any, all.

    Raises:
        UsageFailure: a name that no repository can have, or a commit, which never changes.
        Failure: `model-missing`.
    """
    root = cache_root()
    if not names:
        return [standing for cached in repositories(root) for standing in _standings(cached)]
    chosen: list[Standing] = []
    for text in names:
        name, revision = repository_and_revision(text, None, option="NAME")
        if revision is not None and COMMIT.fullmatch(revision):
            raise UsageFailure(f"NAME: {text}: a commit never changes")
        found = [
            standing
            for standing in _standings(CachedRepository(name, root))
            if revision in (None, standing.reference)
        ]
        if not found:
            hint = f"bigcode models pull {text} fetches it"
            message = f"{text}: no model of the local cache {root} stands at a branch of it"
            raise Failure("model-missing", message, hint=hint)
        chosen += [standing for standing in found if standing not in chosen]
    return chosen


def _standings(repository: CachedRepository) -> Iterator[Standing]:
    for reference, commit in sorted(repository.references().items()):
        if _is_model(repository, commit):
            yield Standing(repository, reference, commit)


def _is_model(repository: CachedRepository, commit: str) -> bool:
    """Tell whether a commit is one of ours; what other tools keep in the cache is theirs."""
    folder = repository.snapshots / commit
    return folder.is_dir() and describe_if_whole(usable_folder(folder)) is not None


def open_hub(notes: Notes, *, offline: bool) -> Hub:
    """Get ready to ask the hub.

    Raises:
        Failure: `offline`, if the network must not be used.
    """
    if offline or is_offline():
        raise Failure("offline", "the network is not to be used, and an update needs it")
    return Hub(find_token(), notes)


def update(hub: Hub, standing: Standing, notes: Notes) -> Updated:
    """Bring one branch or tag up to date; a model that is so already is not even read.

    Raises:
        Failure: the hub refuses or cannot be reached; what is here stays as it was.
    """
    repository, reference = standing.repository, standing.reference
    before = repository.snapshots / standing.commit
    try:
        commit = hub.commit(repository.name, reference)
        if commit == standing.commit:
            return _report(standing, commit, usable_folder(before))
        wish = Wish(revision=reference, convert=is_convertible(before))
        pulled = fetch(hub, repository, commit, wish, notes)
    except Interrupted as error:
        raise error.failure from None
    return _report(standing, commit, pulled.directory, pulled)


def _report(
    standing: Standing, commit: str, directory: Path, pulled: Pulled | None = None
) -> Updated:
    snapshots = standing.repository.snapshots
    changes = _changes(snapshots / standing.commit, snapshots / commit)
    return Updated(
        name=standing.repository.name,
        reference=standing.reference,
        before=standing.commit,
        revision=commit,
        directory=directory,
        fetched_bytes=0 if pulled is None else pulled.fetched_bytes,
        files=tuple(changes),
    )


def _changes(before: Path, after: Path) -> Iterator[FileChange]:
    """Compare two snapshots by the hashes that their links are named after."""
    if before == after:
        return
    old, new = file_sizes(before), file_sizes(after)
    for name in sorted(old.keys() | new.keys()):
        if name in old and name in new:
            if _content(before / name) == _content(after / name):
                continue
            change = "changed"
        else:
            change = "added" if name in new else "removed"
        yield FileChange(name=name, change=change, bytes=new.get(name), bytes_before=old.get(name))


def _content(path: Path) -> str:
    return path.resolve().name
