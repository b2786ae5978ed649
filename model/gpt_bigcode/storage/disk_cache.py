"""Caches on disk that are private to their user, bounded, and verified on every read.

Whatever is wrong with a cache, its only effect is a miss: a folder that others could have written
to is ignored, and so is an entry that is not, byte for byte, what this user's `DiskCache` wrote.
"""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gpt_bigcode.storage.entry import Buffer, CachedFile, write_entry
from gpt_bigcode.storage.private_folder import (
    PARTIAL,
    SAFELY,
    locked,
    make_secret,
    new_file,
    private_folder,
    read_secret,
)

_NAME = re.compile(r"[0-9a-f][0-9a-f-]{0,127}")


@dataclass(frozen=True)
class CacheEntry:
    """One file of a cache.

    Attributes:
        name: as it was given to `DiskCache.put` or `write`.
        size_bytes: what it takes on the disk.
        used_at: when it was last written or read, in seconds since the epoch.
    """

    name: str
    size_bytes: int
    used_at: float


@dataclass(frozen=True, kw_only=True)
class DiskCache:
    """The entries of one folder, which several processes may use at once.

    Nothing here raises because of what is on the disk. A folder that cannot be written to still
    gives hits.

    Attributes:
        path: the folder, absolute; it is made for its owner alone when the first entry is written.
        suffix: how the file names of entries end.
        limit_bytes: what `trim` leaves at most.
        limit_entries: likewise; None: any number.
        spare_bytes: how much of the disk `trim` wants to stay free.
    """

    path: Path
    suffix: str
    limit_bytes: int
    limit_entries: int | None = None
    spare_bytes: int = 0

    def file(self, name: str) -> Path:
        """Where an entry of that name is, whether it exists or not."""
        return self.path / (name + self.suffix)

    def get(self, name: str) -> bytes | None:
        """Read an entry; None: there is no such entry."""
        file = self.open(name)
        if file is None:
            return None
        with file, suppress(OSError):
            return bytes(file.map(0, file.size_bytes))
        return None

    def open(self, name: str) -> "CachedFile | None":
        """Open an entry, to map parts of it, after all of it has been verified.

        Returns:
            The entry, which keeps its content even if it is removed meanwhile. None: there is no
            such entry, or it was damaged and has been removed.
        """
        _require_name(name)
        with suppress(OSError), private_folder(self.path) as folder:
            if folder is None:
                return None
            handle = os.open(name + self.suffix, os.O_RDONLY | SAFELY, dir_fd=folder)
            file = CachedFile(os.fdopen(handle, "rb", buffering=0))
            try:
                whole = file.verify(name, read_secret(folder))
            except BaseException:
                file.close()
                raise
            if whole:
                with suppress(OSError):
                    os.utime(handle)  # the least recently used go first
                return file
            file.close()
            self._unlink(folder, name)
        return None

    def put(self, name: str, payload: Buffer) -> bool:
        """Write an entry that is in memory; see `write`."""
        return self.write(name, [payload])

    def write(self, name: str, parts: Iterable[Buffer]) -> bool:
        """Write an entry as a whole; call `trim` before or after it to keep within the limits.

        Args:
            name: hexadecimal digits and hyphens. Names that begin alike can be removed together.
            parts: the payload; each part is asked for when the one before has been written.

        Returns:
            Whether it was written. If not, for lack of permission or space or because another
            process is writing the same entry, `parts` may be used up in part.
        """
        _require_name(name)
        with suppress(OSError), private_folder(self.path, create=True) as folder:
            secret = make_secret(folder) if folder is not None else b""
            if folder is None or not secret:
                return False
            with new_file(folder, name + self.suffix) as stream:
                write_entry(stream, name, parts, secret)
            return True
        return False

    def entries(self) -> list[CacheEntry]:
        """All entries, the least recently used first."""
        with suppress(OSError), private_folder(self.path) as folder:
            return [] if folder is None else self._entries(folder)
        return []

    def remove(self, start: str = "") -> int:
        """Remove the entries whose names begin like this, and return the number of bytes freed."""
        freed = 0
        with suppress(OSError), private_folder(self.path) as folder:
            found = [] if folder is None else self._entries(folder)
            for entry in found:
                if entry.name.startswith(start) and self._unlink(folder, entry.name):
                    freed += entry.size_bytes
        return freed

    def trim(self, needed_bytes: int = 0) -> bool:
        """Remove the least recently used entries, and what killed processes left unfinished.

        Args:
            needed_bytes: room for something that is to be written.

        Returns:
            Whether that fits within the limit and onto the disk.
        """
        with suppress(OSError), private_folder(self.path, create=needed_bytes > 0) as folder:
            if folder is None:
                return False
            self._sweep(folder)
            found = self._entries(folder)
            total = needed_bytes + sum(entry.size_bytes for entry in found)
            count = len(found)
            for entry in found:
                few = self.limit_entries is None or count <= self.limit_entries
                if few and total <= self.limit_bytes:
                    break
                if self._unlink(folder, entry.name):
                    total, count = total - entry.size_bytes, count - 1
            disk = os.fstatvfs(folder)
            free = disk.f_bavail * disk.f_frsize
            return total <= self.limit_bytes and free >= needed_bytes + self.spare_bytes
        return False

    def _entries(self, folder: int) -> list[CacheEntry]:
        found = []
        for entry in os.scandir(folder):
            name = entry.name.removesuffix(self.suffix)
            if name != entry.name and _NAME.fullmatch(name):
                with suppress(OSError):  # another process may have removed it
                    status = entry.stat(follow_symlinks=False)
                    found.append(CacheEntry(name, status.st_size, status.st_mtime))
        return sorted(found, key=lambda entry: entry.used_at)

    def _sweep(self, folder: int) -> None:
        """Remove unfinished entries that no process is writing."""
        end = self.suffix + PARTIAL
        for entry in os.scandir(folder):
            name = entry.name
            if name[0] == "." and name.endswith(end) and _NAME.fullmatch(name[1 : -len(end)]):
                with suppress(OSError), locked(folder, name, os.O_RDONLY):
                    os.unlink(name, dir_fd=folder)

    def _unlink(self, folder: int | None, name: str) -> bool:
        with suppress(OSError):
            os.unlink(name + self.suffix, dir_fd=folder)
            return True
        return False


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a name of a cache entry: {name!r}")
