"""Chooses the device and the number format of PyTorch."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gpt_bigcode.errors import DeviceError, MemoryLimitError
from gpt_bigcode.hardware import BFLOAT16_FLAGS, choose_threads, cpu_flags

_PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK = 1 << 30


def choose_device(name: str) -> torch.device:
    """The device of that name: auto, cpu, cuda or cuda:N; auto prefers CUDA.

    Raises:
        DeviceError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or (":" in name and not (number.isascii() and number.isdigit())):
        raise DeviceError(f"device: {name!r} is not one of auto, cpu, cuda, cuda:N")
    if not torch.cuda.is_available():
        raise DeviceError(f"device: {name}: no CUDA device is available", hint="use --device cpu")
    count = torch.cuda.device_count()
    if int(number or 0) >= count:
        raise DeviceError(f"device: {name}: there are {count} CUDA devices")
    return torch.device("cuda", int(number or 0))


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The type of weights and activations: auto, float32, bfloat16 or float16.

    auto is bfloat16 where the device has hardware for it, else float32 on a CPU (where 16-bit types
    are slower) and float16 on a GPU.

    Raises:
        DeviceError: no such precision.
    """
    if name != "auto":
        if name not in _PRECISIONS:
            raise DeviceError(f"precision: {name!r} is not one of auto, {', '.join(_PRECISIONS)}")
        return _PRECISIONS[name]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    return torch.bfloat16 if BFLOAT16_FLAGS & cpu_flags() else torch.float32


def set_threads(threads: int | None = None) -> None:
    """Make PyTorch compute with `choose_threads(threads)` threads, in the whole process."""
    wanted = choose_threads(threads)
    if torch.get_num_threads() != wanted:
        torch.set_num_threads(wanted)


def reuse_freed_memory() -> None:
    """Let the C library keep freed memory for the next tensors, in the whole process.

    By default it returns large blocks to the system at once. Faulting the pages in again took a
    third of a prefill, and more of the first one.
    """
    configure = getattr(ctypes.CDLL(None), "mallopt", None)  # of the GNU library only
    if configure is not None:
        configure(_MMAP_THRESHOLD, _LARGEST_BLOCK)
        configure(_TRIM_THRESHOLD, _LARGEST_BLOCK)


@contextmanager
def memory_errors(what: str) -> Iterator[None]:
    """Turn PyTorch's different out-of-memory errors into one.

    Raises:
        MemoryLimitError: there is not enough memory for `what`.
    """
    try:
        yield
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise MemoryLimitError(f"not enough memory for {what}") from None
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        raise MemoryLimitError(f"not enough memory for {what}") from None
