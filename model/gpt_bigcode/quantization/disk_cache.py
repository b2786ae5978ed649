"""Quantized weights in a disk cache, so that the next start maps them instead of quantizing.

The payload of an entry is a safetensors file. Its layout follows from the tensors it holds, and
its name from the weights and these tensors, so no header is parsed to find them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from gpt_bigcode.storage.disk_cache import CachedFile, DiskCache

_LENGTH_BYTES = 8
_ALIGNMENT = 64
_ALIGNMENT_OF_NUMBERS = 4
_TYPES = {
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
}


@dataclass(frozen=True)
class TensorPlan:
    """One tensor of an entry."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes without padding."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


class QuantizedTensors:
    """The tensors of an open entry."""

    def __init__(self, file: CachedFile, plans: Sequence[TensorPlan]) -> None:
        self._file = file
        self._starts: dict[str, int] = {}
        start = file.size_bytes - sum(plan.size_bytes for plan in plans)
        for plan in plans:
            self._starts[plan.name] = start
            start += plan.size_bytes

    @classmethod
    def open(cls, cache: DiskCache, name: str, plans: Sequence[TensorPlan]) -> Self | None:
        """Open an entry after verifying all its bytes; None on a cache miss."""
        file = cache.open(name)
        return None if file is None else cls(file, plans)

    @classmethod
    def write(
        cls, cache: DiskCache, name: str, plans: Sequence[TensorPlan], values: Iterator[Tensor]
    ) -> Self | None:
        """Write an entry and open it.

        Args:
            cache: where to write.
            name: the entry's name.
            plans: its tensors.
            values: the same tensors in order; each is requested after the previous one is written.

        Returns:
            The entry; None: it could not be stored, and `values` may be partly consumed.

        Raises:
            ValueError: a value is not as planned.
        """
        # Mapped numbers must lie at multiples of their own size.
        aligned = all(plan.size_bytes % _ALIGNMENT_OF_NUMBERS == 0 for plan in plans)
        needed = sum(plan.size_bytes + _ALIGNMENT for plan in plans)
        if not aligned or not cache.trim(needed) or not cache.write(name, _parts(plans, values)):
            return None
        return cls.open(cache, name, plans)

    def map(self, plans: Mapping[str, TensorPlan]) -> dict[str, Tensor]:
        """Map some tensors; a tensor's pages stay in memory only as long as the tensor."""
        return {part: self._map(plan) for part, plan in plans.items()}

    def close(self) -> None:
        """Close the file; mapped tensors stay valid."""
        self._file.close()

    def _map(self, plan: TensorPlan) -> Tensor:
        data = self._file.map(self._starts[plan.name], plan.size_bytes)
        return torch.frombuffer(data, dtype=plan.dtype).view(plan.shape)


def _parts(plans: Sequence[TensorPlan], values: Iterator[Tensor]) -> Iterator[memoryview]:
    yield memoryview(_header(plans))
    for plan, value in zip(plans, values, strict=True):
        if value.dtype != plan.dtype or tuple(value.shape) != plan.shape:
            raise ValueError(f"{plan.name}: {value.dtype} {list(value.shape)} is not as planned")
        yield value.contiguous().view(-1).view(torch.uint8).numpy().data


def _header(plans: Sequence[TensorPlan]) -> bytes:
    start, entries = 0, {}
    for plan in plans:
        end = start + plan.size_bytes
        entries[plan.name] = {
            "dtype": _TYPES[plan.dtype],
            "shape": list(plan.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(entries).encode()
    text += b" " * (-(len(text) + _LENGTH_BYTES) % _ALIGNMENT)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text
