"""Quantized weights on disk, kept for the next start; knows names, shapes and bytes, no model.

One safetensors file for each checkpoint and way of quantizing. Its name is a hash of everything
that its content depends on, so that a file is either right or not asked for. A file is written
beside its place and moved there when it is complete; readers map it and never see half of one.
"""

import hashlib
import json
import os
import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

_VERSION = 1
_SUFFIX = ".safetensors"
_TEMPORARY = ".incomplete-"
_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LENGTH_BYTES = 8
_ALIGNMENT = 64
_ALIGNMENT_OF_NUMBERS = 4
_MAX_HEADER_BYTES = 100 << 20
_SAMPLE_BYTES = 64 << 10
_MAX_BYTES = 32 << 30
_SPARE_BYTES = 1 << 30
_ORPHAN_SECONDS = 24 * 3600
_TYPES = {
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
}
_NO_CHECKSUM = "0" * 8


@dataclass(frozen=True)
class TensorPlan:
    """One tensor that a file will hold."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes without padding."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


def source_key(files: Sequence[Path], way: str) -> str:
    """A name for what these weight files become in that way; changes whenever they do.

    A file of the hub's cache is stored under the hash of its content, which is taken as it is, with
    the size. Any other file is known by device, inode, size and both times to the nanosecond (the
    change time cannot be set back) and by the hash of its header. Reading all of it would take
    longer than quantizing it.

    Args:
        files: the weight files.
        way: how they are quantized, and for which processor.

    Raises:
        OSError: a file cannot be read.
    """
    parts = [str(_VERSION), way]
    for path in files:
        real = path.resolve()
        status = real.stat()
        if real.parent.name == "blobs" and _BLOB.fullmatch(real.name):
            identity: list[Any] = [real.name, status.st_size]
        else:
            identity = [status.st_dev, status.st_ino, status.st_size]
            identity += [status.st_mtime_ns, status.st_ctime_ns, _header_hash(real)]
        parts.append(json.dumps(identity))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]


def _header_hash(path: Path) -> str:
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        return hashlib.sha256(stream.read(min(length, _MAX_HEADER_BYTES))).hexdigest()


class QuantizedStore:
    """The folder of all such files; it is private, and bounded to 32 GiB."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, key: str) -> Path:
        """Where the file of that key is, whether it exists or not."""
        return self._folder / (key + _SUFFIX)

    def holds(self, key: str, plans: Sequence[TensorPlan]) -> bool:
        """Tell whether a file is there and whole; a damaged one is removed.

        Names, types and shapes are compared with the plan, the length with the header, and the
        first and last 64 KiB of every tensor with a checksum: what a crash or a full disk leaves
        behind. Hashing all of it would take as long as the start should.
        """
        path = self.path(key)
        try:
            if _is_foreign(path):
                return False
            tensors, stated = _map(path)
        except FileNotFoundError:
            return False
        except (OSError, SafetensorError, ValueError):
            self._remove(path)
            return False
        expected = {plan.name: (plan.dtype, plan.shape) for plan in plans}
        found = {name: (value.dtype, tuple(value.shape)) for name, value in tensors.items()}
        if found != expected or stated != _checksum(tensors[plan.name] for plan in plans):
            self._remove(path)
            return False
        with suppress(OSError):
            os.utime(path)  # the least recently used ones go first
        return True

    def tensors(self, key: str, names: Sequence[str]) -> tuple[Tensor, ...]:
        """Map some tensors of a file; its pages stay in memory only as long as they do.

        Raises:
            OSError: the file has gone. SafetensorError: it is another one.
        """
        with safe_open(self.path(key), framework="pt") as stream:
            return tuple(stream.get_tensor(name) for name in names)

    def write(
        self, key: str, plans: Sequence[TensorPlan], tensors: Iterator[Tensor], source: str
    ) -> bool:
        """Write a file, tensor by tensor in the order of the plan.

        Only one process at a time writes a file; the others are told False and do without.

        Args:
            key: of `source_key`.
            plans: what comes.
            tensors: the values; each is asked for when the one before it is written.
            source: the name of the checkpoint, for people.

        Returns:
            Whether the file is there now. Where the folder cannot be written to, or the disk has
            no room, nothing is left behind and `tensors` may be used up in part.
        """
        from filelock import FileLock, Timeout

        needed = sum(plan.size_bytes + _ALIGNMENT for plan in plans)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Mapped numbers must lie at multiples of their own size.
            aligned = all(plan.size_bytes % _ALIGNMENT_OF_NUMBERS == 0 for plan in plans)
            if not aligned or needed > _MAX_BYTES or not self._make_room(needed):
                return False
            with FileLock(self._folder / f"{key}.lock", timeout=0):
                self._write(self.path(key), plans, tensors, source)
        except (OSError, Timeout):
            return False
        return True

    def _write(
        self, path: Path, plans: Sequence[TensorPlan], tensors: Iterator[Tensor], source: str
    ) -> None:
        header, place = _header(plans, source)
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=_TEMPORARY)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(header)
                checksum = 0
                for plan, value in zip(plans, tensors, strict=True):
                    checksum = _sample(value, checksum)
                    _write_tensor(stream, value, plan)
                stream.seek(place)
                stream.write(f"{checksum:08x}".encode())
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _make_room(self, needed: int) -> bool:
        """Remove what killed processes left, and the least recently used files beyond the bound."""
        files = []
        for path in self._folder.iterdir():
            with suppress(OSError):
                status = path.stat()
                old = time() - status.st_mtime > _ORPHAN_SECONDS
                if path.name.startswith(_TEMPORARY):
                    if old:
                        path.unlink()
                elif path.suffix == _SUFFIX:
                    files.append((status.st_mtime, status.st_size, path))
        total = needed + sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= _MAX_BYTES:
                break
            self._remove(path)
            total -= size
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize >= needed + _SPARE_BYTES

    @staticmethod
    def _remove(path: Path) -> None:
        for name in (path, path.with_suffix(".lock")):
            with suppress(OSError):
                name.unlink()


def _is_foreign(path: Path) -> bool:
    """Whether somebody else could have written it: then it is not read."""
    status = path.lstat()
    return status.st_uid != os.geteuid() or bool(status.st_mode & 0o022) or path.is_symlink()


def _map(path: Path) -> tuple[dict[str, Tensor], str]:
    with safe_open(path, framework="pt") as stream:
        stated = (stream.metadata() or {}).get("checksum", "")
        return {name: stream.get_tensor(name) for name in stream.keys()}, stated  # noqa: SIM118


def _header(plans: Sequence[TensorPlan], source: str) -> tuple[bytes, int]:
    """The file's beginning, and where in it the checksum stands."""
    start, entries = 0, {}
    for plan in plans:
        end = start + plan.size_bytes
        entries[plan.name] = {
            "dtype": _TYPES[plan.dtype],
            "shape": list(plan.shape),
            "data_offsets": [start, end],
        }
        start = end
    metadata = {"checksum": _NO_CHECKSUM, "source": source, "made_by": "bigcode"}
    text = json.dumps({"__metadata__": metadata, **entries}).encode()
    text += b" " * (-(len(text) + _LENGTH_BYTES) % _ALIGNMENT)
    place = _LENGTH_BYTES + text.index(_NO_CHECKSUM.encode())
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text, place


def _write_tensor(stream: IO[bytes], value: Tensor, plan: TensorPlan) -> None:
    if value.dtype != plan.dtype or tuple(value.shape) != plan.shape:
        raise ValueError(f"{plan.name}: {value.dtype} {list(value.shape)} is not as planned")
    stream.write(_bytes(value).numpy().data)


def _checksum(tensors: Iterator[Tensor]) -> str:
    checksum = 0
    for value in tensors:
        checksum = _sample(value, checksum)
    return f"{checksum:08x}"


def _sample(value: Tensor, checksum: int) -> int:
    """Carry a checksum on over the first and the last bytes of a tensor."""
    data = _bytes(value).numpy().data
    checksum = zlib.crc32(data[:_SAMPLE_BYTES], checksum)
    return zlib.crc32(data[-_SAMPLE_BYTES:], checksum)


def _bytes(value: Tensor) -> Tensor:
    return value.contiguous().view(-1).view(torch.uint8)


def read_sources(folder: Path) -> Mapping[Path, str]:
    """The files of a folder and the checkpoints they were made of, for `models prune`."""
    sources = {}
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        with suppress(OSError, SafetensorError), safe_open(path, framework="np") as stream:
            sources[path] = (stream.metadata() or {}).get("source", "")
    return sources
