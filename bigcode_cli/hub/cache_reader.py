"""Reads the cache of checkpoints that other tools share."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bigcode_cli.framework.errors import Failure, UsageFailure
from gpt_bigcode.errors import MissingFileError, UnreadableFileError
from gpt_bigcode.reading import read_checked

COMMIT = re.compile(r"[0-9a-f]{40}")
BRANCH = "main"
LONGEST_NAME = 200
"""The longest name; messages show no more of an invalid one."""
_NAME = r"[A-Za-z0-9][\w.-]{0,95}"
REPOSITORY = re.compile(rf"{_NAME}(/{_NAME})?", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
MAX_REFERENCE_BYTES = 100
_FOLDER_PREFIX = "models--"


def hub_home() -> Path:
    """Return the folder of the hub's own tools."""
    home = os.environ.get("HF_HOME") or os.path.join(  # noqa: PTH118  # as those tools do
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    return _expanded(home)


def cache_root() -> Path:
    """Return the cache that the hub's tools share."""
    variables = os.environ.get
    cache = variables("HF_HUB_CACHE") or variables("HUGGINGFACE_HUB_CACHE")
    return _expanded(cache) if cache else hub_home() / "hub"


def _expanded(path: str) -> Path:
    return Path(os.path.expandvars(os.path.expanduser(path)))  # noqa: PTH111


def is_repository(name: str) -> bool:
    """Tell whether a name is valid for a repository."""
    doubled = ".." in name or "--" in name or name.endswith((".git", "-", "."))
    return bool(REPOSITORY.fullmatch(name)) and not doubled


def validate_revision(revision: str, *, option: str) -> str:
    """Return a branch, tag or commit; a revision becomes part of a path and of a URL.

    Raises:
        UsageFailure: it could lead out of the folder of references.
    """
    bad_part = ".." in revision or "//" in revision or revision.endswith(("/", ".lock"))
    if not _REVISION.fullmatch(revision) or bad_part:
        shown = revision if len(revision) <= LONGEST_NAME else f"{revision[:LONGEST_NAME]}…"
        raise UsageFailure(f"{option}: {shown!r} is not a revision")
    return revision


@dataclass(frozen=True)
class CachedRepository:
    """The folder of one repository in the cache; it need not exist."""

    name: str
    root: Path

    @property
    def folder(self) -> Path:
        """The folder of its blobs, references and snapshots."""
        return self.root / (_FOLDER_PREFIX + self.name.replace("/", "--"))

    @property
    def blobs(self) -> Path:
        """The folder of the files' contents, each named by its hash."""
        return self.folder / "blobs"

    @property
    def snapshots(self) -> Path:
        """The folder of the commits, each with links to blobs."""
        return self.folder / "snapshots"

    @property
    def locks(self) -> Path:
        """The folder of its lock files."""
        return self.root / ".locks" / self.folder.name

    def reference(self, name: str) -> Path:
        """Return the file that holds the commit of a branch or tag."""
        return self.folder / "refs" / name

    def commit(self, revision: str) -> str | None:
        """Look up the commit of a branch, a tag or a commit; None if the cache does not know it.

        Raises:
            Failure: the reference does not hold a commit.
        """
        if COMMIT.fullmatch(revision):
            return revision
        try:
            return read_reference(self.reference(revision))
        except Failure as error:
            hint = f"bigcode models pull {self.name} repairs it"
            raise Failure(error.slug, str(error), hint=hint) from None

    def snapshot(self, commit: str) -> Path | None:
        """Return the folder of a commit; None if it is not cached.

        Raises:
            Failure: it, or a file in it, is a link to somewhere else.
        """
        directory = self.snapshots / commit
        if not directory.is_dir():
            return None
        if directory.resolve().parent != self.snapshots.resolve():
            raise Failure("model-corrupt", f"{self.name}: its snapshot leads out of the cache")
        roots = self.roots()
        for entry in os.scandir(directory):
            if entry.is_symlink() and not is_inside(entry.path, roots):
                message = f"{self.name}: its {entry.name} leads out of the cache"
                hint = f"bigcode models pull {self.name} repairs it"
                raise Failure("model-corrupt", message, hint=hint)
        return directory

    def roots(self) -> list[Path]:
        """Return the folders out of which no link of a snapshot may lead.

        The user may have replaced the repository, or its blobs, by a link to another disk.
        """
        return [Path(os.path.realpath(path)) for path in (self.root, self.folder, self.blobs)]

    def references(self) -> dict[str, str]:
        """Return name -> commit of every branch and tag; broken ones are left out."""
        found = {}
        top = self.folder / "refs"
        for folder, _, names in os.walk(top):
            for name in names:
                path = Path(folder, name)
                try:
                    commit = read_reference(path)
                except Failure:
                    continue
                if commit is not None:
                    found[path.relative_to(top).as_posix()] = commit
        return found

    def commits(self) -> list[str]:
        """Return the commits that have a folder of their own, sorted."""
        try:
            names = os.listdir(self.snapshots)  # noqa: PTH208  # names only
        except OSError:
            return []
        return sorted(name for name in names if COMMIT.fullmatch(name) and self._is_own(name))

    def _is_own(self, commit: str) -> bool:
        path = self.snapshots / commit
        return path.is_dir() and not path.is_symlink()


def is_inside(path: str | Path, roots: Iterable[Path]) -> bool:
    """Tell whether what a path leads to, through all links, lies in one of some folders."""
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(root) for root in roots)


def read_reference(path: Path) -> str | None:
    """Read the commit that a reference holds; None if there is no such file.

    Raises:
        Failure: it holds anything else.
    """
    try:
        content = read_checked(path, max_bytes=MAX_REFERENCE_BYTES)
    except MissingFileError:
        return None
    except UnreadableFileError:
        content = b""
    commit = content.decode("ascii", "replace").strip()
    if not COMMIT.fullmatch(commit):
        raise Failure("model-corrupt", f"{path}: does not hold a commit")
    return commit


def repositories(root: Path) -> Iterator[CachedRepository]:
    """Iterate over the repositories of models in a cache, by name."""
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        name = entry.name.removeprefix(_FOLDER_PREFIX).replace("--", "/", 1)
        is_model = entry.name.startswith(_FOLDER_PREFIX) and is_repository(name)
        if is_model and entry.is_dir():
            yield CachedRepository(name, root)


def file_sizes(folder: Path) -> dict[str, int | None]:
    """Return the size in bytes of every file below a folder, by relative name.

    None marks a dangling link. Links to folders are not followed.
    """
    sizes: dict[str, int | None] = {}
    for path in files_below(folder):
        try:
            size = path.stat().st_size
        except OSError:
            size = None
        sizes[path.relative_to(folder).as_posix()] = size
    return dict(sorted(sizes.items()))


def files_below(folder: Path) -> Iterator[Path]:
    """Iterate over everything below a folder that is not a folder.

    Links are yielded, not followed; unreadable folders are skipped.
    """
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            else:
                yield Path(entry.path)
