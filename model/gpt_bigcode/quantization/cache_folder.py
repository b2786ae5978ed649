"""The folder in which quantized weights are kept; importing this imports no PyTorch."""

from pathlib import Path

from gpt_bigcode.storage.disk_cache import DiskCache

_LIMIT_BYTES = 32 << 30
_SPARE_BYTES = 1 << 30


def quantized_cache(folder: Path) -> DiskCache:
    """The cache of quantized weights in a folder, bounded to 32 GiB."""
    return DiskCache(
        path=folder.absolute(),
        suffix=".safetensors",
        limit_bytes=_LIMIT_BYTES,
        spare_bytes=_SPARE_BYTES,
    )
