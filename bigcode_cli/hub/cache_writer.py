"""Writes to the shared cache: contents under their hashes, then links, then the reference.

A model becomes visible only when it is complete and checked.
"""

import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.output import Notes, shown_bytes
from bigcode_cli.hub.cache_reader import COMMIT, MAX_REFERENCE_BYTES, CachedRepository
from bigcode_cli.hub.checksums import file_digest
from bigcode_cli.hub.repo_files import CONFIG_FILE, RemoteFile
from gpt_bigcode.errors import UnreadableFileError
from gpt_bigcode.reading import read_checked

ORPHAN_SECONDS = 24 * 3600
_NOTE_AFTER_SECONDS = 2.0
_SILENT_SECONDS = 60.0
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_INCOMPLETE = ".incomplete"


@contextmanager
def storage_errors(root: Path, elsewhere: str = "let HF_HOME name a folder") -> Iterator[None]:
    """Translate errors of the disk into failures that name the cache.

    Args:
        root: the cache, or another folder for models.
        elsewhere: how the user can choose another folder.

    Raises:
        Failure: `no-space`, `cache-readonly` or `cache`.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno in _FULL:
            hint = f"free some space, or {elsewhere} on another disk"
            raise Failure("no-space", f"{root}: {reason}", hint=hint) from None
        if error.errno in _FORBIDDEN:
            hint = f"{elsewhere} that you may write to"
            raise Failure("cache-readonly", f"{root}: {reason}", hint=hint) from None
        raise Failure("cache", f"{error.filename or root}: {reason}") from None


class Store:
    """Writes one repository to the cache."""

    def __init__(self, repository: CachedRepository, notes: Notes) -> None:
        self.repository = repository
        self.notes = notes
        self.say = notes.note

    def holds(self, file: RemoteFile) -> bool:
        """Tell whether a content is cached and has its hash."""
        path = self.repository.blobs / file.digest
        return self.has_size(file) and file_digest(path, file.digest) == file.digest

    def has_size(self, file: RemoteFile) -> bool:
        """Tell whether a content is cached and has its size."""
        try:
            status = (self.repository.blobs / file.digest).lstat()
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size == file.size

    def note_damage(self, file: RemoteFile) -> None:
        """Note a damaged copy in the cache, if there is one."""
        if self.has_size(file):
            self.say(f"{file.name}: the cache's copy is damaged; it is fetched again")

    def require_space(self, files: Sequence[RemoteFile]) -> None:
        """Check that missing files will fit on the disk.

        Raises:
            Failure: they will not.
        """
        needed = sum(file.size for file in files if not self.has_size(file))
        place = self.repository.root
        while not place.exists() and place != place.parent:
            place = place.parent
        free = shutil.disk_usage(place).free
        if needed > free:
            message = f"needs {shown_bytes(needed)}, but {place} has {shown_bytes(free)} free"
            hint = "free some space, or let HF_HOME name a folder on another disk"
            raise Failure("no-space", message, hint=hint)

    def prepare(self) -> None:
        """Create the folders, and remove partial downloads older than a day."""
        for folder in (self.repository.blobs, self.repository.snapshots, self.repository.locks):
            folder.mkdir(parents=True, exist_ok=True)
        for path in self.repository.blobs.glob(f"*{_INCOMPLETE}"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > ORPHAN_SECONDS:
                    path.unlink()

    @contextmanager
    def locked(self, file: RemoteFile) -> Iterator[None]:
        """Hold the lock of a file, which all tools that share the cache use."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.repository.locks / f"{file.digest}.lock", mode=0o664)
        with suppress(NotImplementedError):  # no locks on this disk; the work may be done twice
            try:
                lock.acquire(timeout=_NOTE_AFTER_SECONDS)
            except Timeout:
                self.say("waiting for another download of the same files")
                lock.acquire()
        try:
            self._sweep(file, _SILENT_SECONDS)
            yield
        finally:
            lock.release()

    @contextmanager
    def new_content(self, file: RemoteFile) -> Iterator[Path]:
        """Yield the path of a temporary file, which becomes the blob if nothing fails."""
        blobs = self.repository.blobs
        path = blobs / f"{file.digest}.{secrets.token_hex(4)}{_INCOMPLETE}"
        try:
            yield path
            with suppress(FileNotFoundError):  # without locks, another process may be faster
                path.replace(blobs / file.digest)
            if not self.has_size(file):
                raise Failure("cache", f"{file.name}: was removed during the download")
            self._sweep(file)
        finally:
            path.unlink(missing_ok=True)

    def publish(self, commit: str, files: Sequence[RemoteFile]) -> Path:
        """Link a snapshot to its contents, the configuration last.

        Raises:
            Failure: a content has disappeared meanwhile.
        """
        for file in files:
            if not self.has_size(file):
                raise Failure("cache", f"{file.name}: was removed during the download")
        snapshot = self.repository.snapshots / commit
        snapshot.mkdir(parents=True, exist_ok=True)
        for file in sorted(files, key=lambda file: file.name == CONFIG_FILE):
            target = os.path.relpath(self.repository.blobs / file.digest, snapshot)
            _replace(snapshot / file.name, target, as_link=True)
        return snapshot

    def refer(self, revision: str, commit: str) -> None:
        """Set a branch or tag to a commit, as the last step; a commit needs no reference."""
        if COMMIT.fullmatch(revision):
            return
        reference = self.repository.reference(revision)
        try:
            if read_checked(reference, max_bytes=MAX_REFERENCE_BYTES) == commit.encode():
                return
        except UnreadableFileError:
            reference.parent.mkdir(parents=True, exist_ok=True)
        _replace(reference, commit, as_link=False)

    def _sweep(self, file: RemoteFile, silent_seconds: float = -1.0) -> None:
        """Remove partial downloads of a file that have not been written to for some time.

        We hold the lock, so their writers were killed, unless this disk has no locks.
        """
        for path in self.repository.blobs.glob(f"{file.digest}.*{_INCOMPLETE}"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > silent_seconds:
                    path.unlink()


def _replace(path: Path, content: str, *, as_link: bool) -> None:
    """Replace a link or a file atomically."""
    if as_link and path.is_symlink() and os.readlink(path) == content:  # noqa: PTH115  # text
        return
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        if as_link:
            temporary.symlink_to(content)
        else:
            temporary.write_text(content, "utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
