"""The file of one cache entry: the payload, a SHA-256 of each MiB of it, and a footer.

The footer's checksum covers the entry's name, the payload's size and those hashes. It is keyed with
the secret of the cache, so that nobody who cannot read the secret can make a valid entry.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from hashlib import blake2b, sha256
from hmac import compare_digest
from io import FileIO
from mmap import ACCESS_COPY, ALLOCATIONGRANULARITY, mmap
from typing import BinaryIO, Self, TypeAlias

from gpt_bigcode.storage.private_folder import is_private

Buffer: TypeAlias = bytes | bytearray | memoryview

_MAGIC = b"BIGCODE1"
_BLOCK_BYTES = 1 << 20
_HASH_BYTES = 32
_SIZE_BYTES = 8
_FOOTER_BYTES = len(_MAGIC) + _SIZE_BYTES + _HASH_BYTES
_FEW_BLOCKS, _MAX_THREADS = 4, 8


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


def write_entry(stream: BinaryIO, name: str, parts: Iterable[Buffer], secret: bytes) -> None:
    """Write the payload, then the hashes of its blocks and the footer."""
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
