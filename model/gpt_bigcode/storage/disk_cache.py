"""Caches on disk that are private to their user, bounded, and verified on every read.

A fault of the cache is only ever a miss: a folder that others could have written
to is ignored, and so is an entry that is not, byte for byte, what this user's `DiskCache` wrote.

An entry is a file: the payload, a SHA-256 of each MiB of it, and a footer. The footer's checksum
covers the entry's name, the payload's size and those hashes. It is keyed with the secret of the
folder, so that nobody who cannot read the secret can make a valid entry.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b, sha256
from hmac import compare_digest
from io import FileIO
from mmap import ACCESS_COPY, ALLOCATIONGRANULARITY, mmap
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self, TypeAlias

from gpt_bigcode.storage.private_folder import (
    PARTIAL,
    SAFELY,
    is_private,
    locked,
    make_secret,
    new_file,
    private_folder,
    read_secret,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

Buffer: TypeAlias = bytes | bytearray | memoryview

_MAGIC = b"BIGCODE1"
_BLOCK_BYTES = 1 << 20
_HASH_BYTES = 32
_SIZE_BYTES = 8
_FOOTER_BYTES = len(_MAGIC) + _SIZE_BYTES + _HASH_BYTES
_FEW_BLOCKS, _MAX_THREADS = 4, 8
# Entries that threads are opening: file -> what `DiskCache.open` will return.
_AHEAD: "dict[Path, Future[CachedFile | None]]" = {}
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
        """Read an entry; None on a cache miss."""
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
        ahead = _AHEAD.pop(self.file(name), None)
        if ahead is not None:
            file = ahead.result()
            if file is not None:
                return file
        return self._open(name)

    @contextmanager
    def opening(self, start: str) -> Iterator[None]:
        """Open the newest entry whose name begins like this, in a thread; `open` takes it then.

        Verifying gigabytes takes as long as importing PyTorch. What is not taken is closed.
        """
        found = [entry.name for entry in self.entries() if entry.name.startswith(start)]
        if not found:
            yield
            return
        from concurrent.futures import ThreadPoolExecutor

        path, pool = self.file(found[-1]), ThreadPoolExecutor(1)
        _AHEAD[path] = pool.submit(self._open, found[-1])
        try:
            yield
        finally:
            pool.shutdown(wait=False)
            left = _AHEAD.pop(path, None)
            if left is not None:
                left.add_done_callback(_close)

    def _open(self, name: str) -> "CachedFile | None":
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
                _write_entry(stream, name, parts, secret)
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


class CachedFile:
    """An open entry; leaving it as a context manager closes it, and its maps stay valid."""

    def __init__(self, stream: FileIO) -> None:
        self.size_bytes = 0
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def map(self, start: int, size: int) -> memoryview:
        """Map a part of the payload; changes to it stay in this process.

        Its pages stay in memory only as long as something refers to the result.

        Raises:
            OSError: the system cannot map it.
        """
        if not size:
            return memoryview(b"")
        before = start % ALLOCATIONGRANULARITY
        length, offset = before + size, start - before
        return memoryview(mmap(self._handle, length, access=ACCESS_COPY, offset=offset))[before:]

    def verify(self, name: str, secret: bytes) -> bool:
        """Tell whether every byte is what was written under that name, and set `size_bytes`."""
        status = os.fstat(self._handle)
        if not secret or not stat.S_ISREG(status.st_mode) or not is_private(status):
            return False
        end = max(status.st_size - _FOOTER_BYTES, 0)
        blocks = -(-end // (_BLOCK_BYTES + _HASH_BYTES))
        self.size_bytes = max(end - blocks * _HASH_BYTES, 0)
        hashes = os.pread(self._handle, blocks * _HASH_BYTES, self.size_bytes)
        footer = os.pread(self._handle, _FOOTER_BYTES, end)
        if not compare_digest(footer, _footer(name, self.size_bytes, hashes, secret)):
            return False
        return all(self._same_blocks(hashes))

    @property
    def _handle(self) -> int:
        return self._stream.fileno()

    def _same_blocks(self, hashes: bytes) -> Iterator[bool]:
        """Compare each block with its hash, many blocks in threads: this takes as long as reading.

        Yields:
            Whether they are the same.
        """

        def same(block: int) -> bool:
            start = block * _BLOCK_BYTES
            data = os.pread(self._handle, min(_BLOCK_BYTES, self.size_bytes - start), start)
            return sha256(data).digest() == hashes[block * _HASH_BYTES : (block + 1) * _HASH_BYTES]

        blocks = range(len(hashes) // _HASH_BYTES)
        if len(blocks) <= _FEW_BLOCKS:
            yield from map(same, blocks)
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
            yield from pool.map(same, blocks)


def _close(opened: "Future[CachedFile | None]") -> None:
    file = None if opened.exception() else opened.result()
    if file is not None:
        file.close()


def _write_entry(stream: BinaryIO, name: str, parts: Iterable[Buffer], secret: bytes) -> None:
    hashes, size, block = bytearray(), 0, sha256()
    for part in parts:
        rest = memoryview(part).cast("B")
        while rest:
            piece = rest[: _BLOCK_BYTES - size % _BLOCK_BYTES]
            block.update(piece)
            stream.write(piece)
            size, rest = size + len(piece), rest[len(piece) :]
            if size % _BLOCK_BYTES == 0:
                hashes += block.digest()
                block = sha256()
    if size % _BLOCK_BYTES:
        hashes += block.digest()
    stream.write(hashes)
    stream.write(_footer(name, size, bytes(hashes), secret))


def _footer(name: str, size: int, hashes: bytes, secret: bytes) -> bytes:
    start = _MAGIC + size.to_bytes(_SIZE_BYTES, "little")
    checksum = blake2b(start, key=secret, digest_size=_HASH_BYTES)
    checksum.update(name.encode() + b"\0")
    checksum.update(hashes)
    return start + checksum.digest()


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a name of a cache entry: {name!r}")
