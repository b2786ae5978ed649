"""Updates cached models from the hub, and reports what changed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bigcode_cli.conversion.folders import is_convertible, usable_folder
from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.framework.offline import is_hub_off, offline_failure
from bigcode_cli.framework.output import Notes
from bigcode_cli.hub.cache_reader import (
    COMMIT,
    CachedRepository,
    cache_root,
    file_sizes,
    repositories,
)
from bigcode_cli.hub.client import Hub
from bigcode_cli.hub.errors import RetryableError
from bigcode_cli.hub.pull import PullRequest, PullResult, fetch
from bigcode_cli.models.describe import describe_if_whole
from bigcode_cli.models.repository_names import repository_and_revision


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
    """The result of updating one branch or tag.

    Attributes:
        name: the repository.
        reference: the branch or tag.
        before: its commit before.
        revision: its commit now.
        directory: the folder of the model.
        fetched_bytes: how much was downloaded.
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
class CachedRef:
    """A branch or tag of a cached repository, and its commit."""

    repository: CachedRepository
    reference: str
    commit: str


def chosen_refs(names: Sequence[str]) -> list[CachedRef]:
    """Find the branches and tags of REPO or REPO@BRANCH, or all without names.

    Raises:
        UsageFailure: a name that no repository can have, or a commit, which never changes.
        Failure: `model-missing`.
    """
    root = cache_root()
    if not names:
        return [ref for cached in repositories(root) for ref in _cached_refs(cached)]
    chosen: list[CachedRef] = []
    for text in names:
        name, revision = repository_and_revision(text, None, option="NAME")
        if revision is not None and COMMIT.fullmatch(revision):
            raise UsageFailure(f"NAME: {text}: a commit never changes")
        found = [
            ref
            for ref in _cached_refs(CachedRepository(name, root))
            if revision in (None, ref.reference)
        ]
        if not found:
            hint = f"bigcode models pull {text} fetches it"
            message = f"{text}: no model in the local cache {root} tracks a branch of it"
            raise Failure("model-missing", message, hint=hint)
        chosen += [ref for ref in found if ref not in chosen]
    return chosen


def _cached_refs(repository: CachedRepository) -> Iterator[CachedRef]:
    for reference, commit in sorted(repository.references().items()):
        if _is_model(repository, commit):
            yield CachedRef(repository, reference, commit)


def _is_model(repository: CachedRepository, commit: str) -> bool:
    """Tell whether a commit is a model of this family."""
    folder = repository.snapshots / commit
    return folder.is_dir() and describe_if_whole(usable_folder(folder)) is not None


def open_hub(notes: Notes, *, offline: bool) -> Hub:
    """Open the hub.

    Raises:
        Failure: `offline`, if the network must not be used.
    """
    if is_hub_off(offline=offline):
        raise offline_failure("an update needs the network")
    return Hub(notes)


def update(hub: Hub, ref: CachedRef, notes: Notes) -> Updated:
    """Update one branch or tag; an unchanged model takes one request.

    Raises:
        Failure: the hub refuses or cannot be reached; the cache is unchanged.
    """
    repository, reference = ref.repository, ref.reference
    before = repository.snapshots / ref.commit
    try:
        commit = hub.commit(repository.name, reference)
        if commit == ref.commit:
            return _report(ref, commit, usable_folder(before))
        request = PullRequest(revision=reference, convert=is_convertible(before))
        pulled = fetch(hub, repository, commit, request, notes)
    except RetryableError as error:
        raise error.failure from None
    return _report(ref, commit, pulled.directory, pulled)


def _report(
    ref: CachedRef, commit: str, directory: Path, pulled: PullResult | None = None
) -> Updated:
    snapshots = ref.repository.snapshots
    changes = _changes(snapshots / ref.commit, snapshots / commit)
    return Updated(
        name=ref.repository.name,
        reference=ref.reference,
        before=ref.commit,
        revision=commit,
        directory=directory,
        fetched_bytes=0 if pulled is None else pulled.fetched_bytes,
        files=tuple(changes),
    )


def _changes(before: Path, after: Path) -> Iterator[FileChange]:
    """Compare two snapshots by the hashes in the names of their contents."""
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
