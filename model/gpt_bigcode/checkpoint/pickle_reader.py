"""The one place that opens a pickle: it accepts tensors by name, and nothing else.

Meant for a sandboxed process: see `conversion`.
"""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gpt_bigcode.errors import CheckpointError, MemoryLimitError, UnsafeCheckpointError

if TYPE_CHECKING:
    from torch import Tensor

# An archive also holds the names of its tensors, and a few bytes for each.
_MOST_OVERHEAD = 1.05
_OVERHEAD_BYTES = 1 << 20


def read_pickle(path: Path) -> "dict[str, Tensor]":
    """Read the tensors of one `pytorch_model.bin`; they are mapped, not copied.

    Args:
        path: an archive as written by `torch.save` since PyTorch 1.6.

    Raises:
        UnsafeCheckpointError: it contains anything but tensors, or is not such an archive.
        CheckpointError: it is damaged.
        MemoryLimitError: it needs more memory than allowed.
    """
    require_archive(path)
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError:
        # PyTorch's own message recommends loading it unsafely.
        message = f"{path.name}: its pickle asks for something other than tensors"
        raise UnsafeCheckpointError(message, hint="do not trust its source") from None
    except MemoryError:
        raise MemoryLimitError(f"{path.name}: asks for more memory than it may have") from None
    except Exception as error:  # noqa: BLE001  # a hostile pickle can make the reader raise any
        raise CheckpointError(f"{path.name}: cannot be read ({type(error).__name__})") from None
    return _tensors(path, content)


def require_archive(path: Path) -> None:
    """Refuse a file that is not an archive, or that would unpack to more than its size.

    Raises:
        UnsafeCheckpointError: with the reason.
    """
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        message = f"{path.name}: is not an archive of tensors that PyTorch has written"
        raise UnsafeCheckpointError(message) from None
    unpacked = sum(entry.file_size for entry in entries)
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed or unpacked > _MOST_OVERHEAD * size + _OVERHEAD_BYTES:
        raise UnsafeCheckpointError(f"{path.name}: unpacks to {unpacked:,} bytes from {size:,}")


def _tensors(path: Path, content: object) -> "dict[str, Tensor]":
    import torch

    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path.name}: holds no tensors by name")
    found: dict[str, Tensor] = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(f"{path.name}: {str(name)[:80]!r} is not a tensor")
        if value.layout is not torch.strided or value.is_meta or value.is_quantized:
            raise CheckpointError(f"{path.name}: {name[:80]!r} is not a plain tensor")
        # A stride of zero makes one number look like a million.
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise CheckpointError(f"{path.name}: {name[:80]!r} has fewer numbers than it says")
        found[name] = value.detach()
    return found
