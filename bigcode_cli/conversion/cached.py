"""Converts cached models once, and finds their conversions again."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bigcode_cli.conversion import folders
from bigcode_cli.conversion.folders import Record
from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.output import Notes
from bigcode_cli.hub.cache_reader import CachedRepository, cache_root
from bigcode_cli.io.atomic_files import make_private_folder
from bigcode_cli.models.resolve import Found
from gpt_bigcode.errors import GPTBigCodeError

_NOTE_AFTER_SECONDS = 2.0


def convert_snapshot(repository: CachedRepository, commit: str, notes: Notes) -> Path:
    """Convert a snapshot, unless it already was; return the folder of the result.

    Raises:
        Failure: it is not cached, needs no conversion, or cannot be converted.
    """
    from bigcode_cli.conversion.convert import Source, convert

    snapshot = repository.snapshot(commit)
    if snapshot is None:
        raise Failure("model-missing", f"{repository.name}: not in the local cache")
    require_convertible(repository.name, snapshot)
    target = folders.converted_folder(snapshot)
    if target is None:
        message = f"{repository.name}: its files in the cache are not links to blobs"
        raise Failure("model-corrupt", message, hint="name a folder for the result")
    with _turn(target, notes):
        if not folders.is_own(target) or folders.read_record(target) is None:
            place = {"repository": repository.name, "commit": commit, "cache": str(repository.root)}
            source = Source(
                name=repository.name, folder=snapshot, roots=repository.roots(), record=place
            )
            convert(source, target, notes, private=True)
    return target


def convert_folder(found: Found, target: Path, notes: Notes) -> None:
    """Convert a folder or a cached model into a folder that the user named.

    Raises:
        Failure: it needs no conversion or cannot be converted, or the target exists.
    """
    from bigcode_cli.conversion.convert import Source, convert

    name, source, commit = found.name, found.directory, found.revision
    require_convertible(name, source)
    place = {"repository": name if commit is not None else None, "commit": commit}
    cached = CachedRepository(name, cache_root()) if commit is not None else None
    roots = [source.resolve()] if cached is None else cached.roots()
    convert(
        Source(name=name, folder=source, roots=roots, record=place), target, notes, private=False
    )


def require_convertible(name: str, folder: Path) -> None:
    """Refuse what needs no conversion, or cannot be converted.

    Raises:
        Failure: `nothing-to-convert` or `model-missing`.
    """
    if folders.has_usable_weights(folder):
        message = f"{name}: its weights are safetensors of this family already"
        raise Failure("nothing-to-convert", message)
    if not folders.is_convertible(folder):
        raise Failure("model-missing", f"{name}: it holds no weights that can be converted")


@contextmanager
def _turn(target: Path, notes: Notes) -> Iterator[None]:
    """Wait while another process converts the same files."""
    from filelock import FileLock, Timeout

    make_private_folder(target.parent)
    lock = FileLock(target.with_name(f".{target.name}.lock"), mode=0o600)
    # On a file system without locks, the work may be done twice.
    with suppress(NotImplementedError):
        try:
            lock.acquire(timeout=_NOTE_AFTER_SECONDS)
        except Timeout:
            notes.note("waiting for another conversion of the same files")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def orphans(repositories: list[CachedRepository], root: Path) -> Iterator[Record]:
    """Iterate over conversions whose source is no longer in a cache."""
    needed = set()
    for repository in repositories:
        for commit in repository.commits():
            needed.add(_conversion_of(repository, commit))
    for record in folders.conversions():
        if record.cache == str(root) and record.folder not in needed:
            yield record


def conversions_of(repository: CachedRepository, commit: str | None) -> Iterator[Record]:
    """Iterate over the conversions of a repository, or those that only one commit of it needs."""
    others = [at for at in repository.commits() if commit is not None and at != commit]
    kept = {_conversion_of(repository, other) for other in others}
    for record in folders.conversions(repository):
        if record.folder not in kept:
            yield record


def _conversion_of(repository: CachedRepository, commit: str) -> Path | None:
    snapshot = repository.snapshots / commit
    try:
        is_one = folders.is_convertible(snapshot)
        return folders.converted_folder(snapshot) if is_one else None
    except (Failure, GPTBigCodeError, OSError):
        return None
