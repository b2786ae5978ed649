"""Deletes models, and files that nothing refers to, from the cache.

Only paths that this module found in the cache are deleted; links are deleted, not followed.
"""

import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bigcode_cli.conversion.cached import conversions_of, orphans
from bigcode_cli.conversion.folders import PARTIAL_SUFFIX, converted_root, usable_folder
from bigcode_cli.framework.errors import Failure
from bigcode_cli.hub.cache_reader import CachedRepository, files_below, repositories
from bigcode_cli.hub.cache_writer import ORPHAN_SECONDS, storage_errors
from bigcode_cli.io.caches import entries_of_models, free_models
from gpt_bigcode.checkpoint.tensor_index import weights_id
from gpt_bigcode.errors import GPTBigCodeError

_WAIT_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What will be deleted, and how many bytes that frees.

    Attributes:
        paths: paths in the shared cache.
        conversions: folders of models that were converted from it.
        weights_ids: names of weights with entries in our own caches.
        bytes: the size of all of it.
    """

    paths: tuple[Path, ...]
    conversions: tuple[Path, ...] = ()
    weights_ids: frozenset[str] = frozenset()
    bytes: int


def plan_removal(repository: CachedRepository, commit: str | None) -> Removal:
    """Plan to delete a commit: its snapshot, and the contents that no other one needs.

    None stands for all commits: the whole folder of the repository.

    Raises:
        Failure: it is not in the cache, or its folder is a link.
    """
    conversions = tuple(record.folder for record in conversions_of(repository, commit))
    planned = _plan_removal(repository, commit, is_enough=bool(conversions))
    size = planned.bytes + sum(map(_bytes_below, conversions))
    gone = repository.commits() if commit is None else [commit]
    return _with_caches(replace(planned, conversions=conversions, bytes=size), repository, gone)


def _with_caches(removal: Removal, repository: CachedRepository, gone: Iterable[str]) -> Removal:
    """Add the entries of our own caches for these commits, unless a remaining one needs them."""
    ids: dict[str, str] = {}
    for commit in repository.commits():
        with suppress(GPTBigCodeError, OSError):
            ids[commit] = weights_id(usable_folder(repository.snapshots / commit))
    lost = frozenset(ids.pop(commit) for commit in gone if commit in ids) - {*ids.values()}
    kept = [entry for entries in entries_of_models(lost).values() for entry in entries]
    size = removal.bytes + sum(entry.size_bytes for entry in kept)
    return replace(removal, weights_ids=lost, bytes=size)


def _plan_removal(repository: CachedRepository, commit: str | None, *, is_enough: bool) -> Removal:
    if repository.folder.is_symlink() and repository.folder.is_dir():
        target = repository.folder.readlink()
        message = f"{repository.name}: its folder in the cache is a link to {target}"
        hint = "nothing outside the cache is removed; delete that folder and the link yourself"
        raise Failure("cache-link", message, hint=hint)
    if not repository.folder.is_dir():
        if is_enough:  # only its conversion is left
            return Removal(paths=(), bytes=0)
        where = f"not in the local cache {repository.root}"
        raise Failure("model-missing", f"{repository.name}: {where}")
    others = [at for at in repository.commits() if at != commit]
    if commit is None or not others:
        size = _bytes_below(repository.folder)
        return Removal(paths=(repository.folder,), bytes=size)
    if commit not in repository.commits():
        raise Failure("model-missing", f"{repository.name}: no commit {commit} in the cache")
    return _without(repository, {commit}, loose_too=False)


def plan_pruning(repository: CachedRepository) -> Removal:
    """Plan to delete what nothing refers to: old commits, loose contents, partial downloads.

    Commits stay if a branch or a tag refers to them, or if there is no reference at all.
    """
    referred = set(repository.references().values())
    old = {commit for commit in repository.commits() if referred and commit not in referred}
    return _with_caches(_without(repository, old, loose_too=True), repository, old)


def plan_pruning_of_conversions(root: Path) -> Removal:
    """Plan to delete conversions whose source is gone, and leftovers of killed ones."""
    folders = tuple(record.folder for record in orphans(list(repositories(root)), root))
    return Removal(paths=(), conversions=folders, bytes=sum(map(_bytes_below, folders)))


def remove_conversions(removal: Removal) -> None:
    """Delete conversions; each disappears atomically."""
    root = converted_root()
    for folder in removal.conversions:
        if folder.parent != root:
            raise AssertionError(folder)
        away = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")
        with storage_errors(root):
            folder.rename(away)
            shutil.rmtree(away)


def remove(repository: CachedRepository, removal: Removal) -> None:
    """Delete what was planned.

    Raises:
        Failure: a download is going on, or the cache cannot be written.
    """
    with storage_errors(repository.root), _no_downloads(repository):
        for path in removal.paths:
            if not path.is_relative_to(repository.folder):
                raise AssertionError(path)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if not repository.folder.exists():
            shutil.rmtree(repository.locks, ignore_errors=True)
    remove_conversions(removal)
    free_models(removal.weights_ids)


def _without(repository: CachedRepository, gone: set[str], *, loose_too: bool) -> Removal:
    kept = [repository.snapshots / at for at in repository.commits() if at not in gone]
    folders = [repository.snapshots / commit for commit in sorted(gone)]
    needed = {name for folder in kept for name in _targets(folder)}
    dropped = {name for folder in folders for name in _targets(folder)} - needed
    contents = [
        path
        for path in _blobs(repository)
        if path.name in dropped or (loose_too and path.name not in needed and _is_old(path))
    ]
    references = [
        repository.reference(name)
        for name, commit in repository.references().items()
        if commit in gone
    ]
    size = sum(path.lstat().st_size for path in contents) + sum(map(_bytes_below, folders))
    return Removal(paths=(*references, *folders, *contents), bytes=size)


def _is_old(path: Path) -> bool:
    """Tell whether a content is too old to belong to a running download."""
    return time.time() - path.lstat().st_mtime > ORPHAN_SECONDS


def _blobs(repository: CachedRepository) -> Iterator[Path]:
    with suppress(OSError):
        for path in sorted(repository.blobs.iterdir()):
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def _targets(folder: Path) -> Iterator[str]:
    """Yield the names of the contents of a snapshot."""
    for path in files_below(folder):
        if path.is_symlink():
            yield path.readlink().name


def _bytes_below(folder: Path) -> int:
    """Add up the bytes that deleting a folder frees, without links."""
    total = 0
    for path in files_below(folder):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            total += status.st_size
    return total


@contextmanager
def _no_downloads(repository: CachedRepository) -> Iterator[None]:
    """Hold the locks of all contents, so that no download is running.

    Raises:
        Failure: one of them is held for more than two seconds.
    """
    from filelock import FileLock, Timeout

    deadline = time.monotonic() + _WAIT_SECONDS
    with ExitStack() as held:
        for path in sorted(repository.locks.glob("*.lock")):
            try:
                left = max(deadline - time.monotonic(), 0.0)
                held.enter_context(FileLock(path, timeout=left, mode=0o664))
            except Timeout:
                message = f"{repository.name}: it is being downloaded"
                raise Failure("busy", message, hint="wait for it, or stop it") from None
            except NotImplementedError:
                continue
        yield
