"""oneDNN's packed int8 matrices as bytes, which can be kept in a file and mapped by the next start.

Packing takes as long as dozens of products: oneDNN reorders the numbers one by one. PyTorch does
not save packed matrices, but has operators that show their bytes and a C function that makes one of
such bytes, for the programs that its compiler writes (torch/csrc/inductor/aoti_torch/c/shim.h).
"""

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from gpt_bigcode.hardware import processor_name

# The most that oneDNN's formats pad rows and columns to; each row adds a sum of 4 bytes.
_PADDED, _SUM_BYTES = 64, 4
# Room for oneDNN's description of the format after the numbers: its length, then 772 bytes.
_DESCRIPTION_BYTES, _LENGTH_BYTES = 1024, 4
_NEW_CAPSULE = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
)(("PyCapsule_New", ctypes.pythonapi))


@dataclass(frozen=True)
class PackedMatrix:
    """An int8 matrix [O, I] in oneDNN's own format.

    Attributes:
        tensor: opaque, of the shape [I, O], for oneDNN's operators.
        memory: the bytes that it lies in, if it does not own them.
    """

    tensor: Tensor
    memory: Tensor | None = None

    @classmethod
    def pack(cls, weight: Tensor) -> Self:
        """Pack int8 [O, I]."""
        return cls(torch.ops.onednn.qlinear_prepack(weight, None))

    @classmethod
    def of_bytes(cls, data: Tensor, outputs: int, inputs: int) -> Self:
        """Use what `to_bytes` returned in place, uint8, possibly in a mapped file.

        Raises:
            RuntimeError: PyTorch refuses it.
        """
        end = data[-_DESCRIPTION_BYTES:].numpy().tobytes()
        length = int.from_bytes(end[:_LENGTH_BYTES], "little")
        description = end[_LENGTH_BYTES : _LENGTH_BYTES + length]
        return cls(_tensor_at(data.data_ptr(), (inputs, outputs), description), data)

    def to_bytes(self) -> Tensor:
        """Copy it: uint8 [`packed_bytes(O, I)`].

        Raises:
            RuntimeError: the format is not known to fit.
        """
        operators = torch.ops.mkldnn
        size = int(operators._nbytes(self.tensor))  # noqa: SLF001 - its name
        description = operators._get_mkldnn_serialized_md(self.tensor)  # noqa: SLF001 - its name
        length = description.numel()
        inputs, outputs = self.tensor.shape
        data = torch.zeros(packed_bytes(outputs, inputs), dtype=torch.uint8)
        if size > len(data) - _DESCRIPTION_BYTES or length > _DESCRIPTION_BYTES - _LENGTH_BYTES:
            raise RuntimeError(f"a packed matrix of {size} and {length} bytes")
        ctypes.memmove(data.data_ptr(), operators.data_ptr(self.tensor), size)
        end = data[-_DESCRIPTION_BYTES:]
        end[:_LENGTH_BYTES] = torch.tensor(list(length.to_bytes(_LENGTH_BYTES, "little")))
        end[_LENGTH_BYTES : _LENGTH_BYTES + length] = description
        return data


def packed_bytes(outputs: int, inputs: int) -> int:
    """How many bytes a packed matrix takes in a file."""
    rows, columns = (-(-size // _PADDED) * _PADDED for size in (outputs, inputs))
    return rows * (columns + _SUM_BYTES) + _DESCRIPTION_BYTES


@cache
def can_map() -> bool:
    """Tell whether this PyTorch makes packed matrices of bytes, on this processor."""
    try:
        with torch.inference_mode():
            packed = _sample()
            mapped = PackedMatrix.of_bytes(packed.to_bytes(), *reversed(packed.tensor.shape))
            return torch.equal(_product(packed), _product(mapped))
    except (RuntimeError, AttributeError, NotImplementedError, OSError, ImportError):
        return False


@cache
def packing_of_int8() -> bytes:
    """What the bytes of a packed matrix depend on, besides the matrix."""
    sample = _sample().to_bytes().numpy().tobytes()
    return f"{torch.__version__} {processor_name()}".encode() + sample


def _sample() -> PackedMatrix:
    numbers = torch.arange(96 * 160).mul_(37).remainder_(255).sub_(127)
    return PackedMatrix.pack(numbers.to(torch.int8).view(96, 160))


def _product(matrix: PackedMatrix) -> Tensor:
    inputs, outputs = matrix.tensor.shape
    row = torch.arange(inputs, dtype=torch.uint8).unsqueeze(0)
    scale, zeros = torch.ones(outputs), torch.zeros(outputs, dtype=torch.int32)
    multiply = torch.ops.onednn.qlinear_pointwise
    return multiply(  # type: ignore[no-any-return]
        *(row, 1.0, 64, matrix.tensor, scale, zeros, None, 1.0, 0, torch.float32, "none", [], "")
    )


@cache
def _library() -> ctypes.CDLL:
    """PyTorch's library of processor code, which is loaded already."""
    names = ("libtorch_cpu.so", "libtorch_cpu.dylib")
    folder = Path(torch.__file__).parent / "lib"
    path = next((folder / name for name in names if (folder / name).exists()), folder / names[0])
    return ctypes.CDLL(str(path))


def _tensor_at(address: int, shape: tuple[int, int], description: bytes) -> Tensor:
    """A packed tensor of the numbers at an address."""
    library, numbers = _library(), ctypes.c_int64 * len(shape)
    handle = ctypes.c_void_p()
    status = library.aoti_torch_create_tensor_from_blob_v2(
        ctypes.c_void_p(address),
        ctypes.c_int64(len(shape)),
        numbers(*shape),
        numbers(shape[1], 1),
        ctypes.c_int64(0),
        library.aoti_torch_dtype_int8(),
        library.aoti_torch_device_type_cpu(),
        0,
        ctypes.byref(handle),
        library.aoti_torch_layout__mkldnn(),
        description,
        ctypes.c_int64(len(description)),
    )
    if status or not handle.value:
        raise RuntimeError("PyTorch makes no packed matrix of these bytes")
    capsule = _NEW_CAPSULE(handle.value, None, None)
    return torch._C._aoti.alloc_tensor_by_stealing_from_void_ptr(capsule)  # noqa: SLF001 - its name
