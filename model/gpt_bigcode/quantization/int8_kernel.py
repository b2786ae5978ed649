"""Products of an int8 matrix, by the two libraries inside PyTorch that have them.

oneDNN's operators are here to stay and faster for many rows. FBGEMM's belong to the eager
quantized tensors that PyTorch deprecates; while they exist they serve single rows of small
matrices, where calling oneDNN takes as long as the product, and processors without VNNI. Both
multiply integers, so that a row's product does not depend on the rows around it.
"""

import warnings
from contextlib import nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gpt_bigcode.quantization.packed_matrix import PackedMatrix

_ENGINE = "fbgemm"
_TINY = 1e-30
# Rows that are quantized together, few enough for their float32 numbers to stay in the cache.
_ROWS_AT_ONCE = 64
# From this many rows on, oneDNN multiplies small matrices too, and results may be bfloat16.
MANY_ROWS = 128

# Packed matrices are not tensors: each call looks for their `__torch_function__`, which takes as
# long as the product of a small matrix. Within this context manager it does not.
fast_calls: Any = getattr(torch._C, "DisableTorchFunctionSubclass", nullcontext)  # noqa: SLF001
CALLS_ARE_FAST = fast_calls is not nullcontext
"""False with a PyTorch that has no such context manager: int8 then decodes more slowly."""


class FbgemmInt8:
    """An int8 matrix [O, I], packed for products with the integers that inputs are rounded to."""

    def __init__(self, weight: Tensor) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of the deprecation
            zeros = torch.zeros(len(weight), dtype=torch.long)
            ones = torch.ones(len(weight), dtype=torch.double)  # scales: the results are integers
            make = torch._make_per_channel_quantized_tensor  # noqa: SLF001 - its name
            matrix = make(weight, ones, zeros, 0)
            torch.backends.quantized.engine = _ENGINE
            self._packed = torch.ops.quantized.linear_prepack(matrix, None)
        operators = torch.ops.quantized
        # Below the call in Python, which looks through all arguments for fake tensors.
        self._times_row = operators.linear_dynamic.default._op  # noqa: SLF001
        self._times_numbers = operators.linear_with_input_q_dq_qweight_dq_output_fp32.default

    def times_row(self, row: Tensor) -> Tensor:
        """Float32 [1, I] -> [1, O]; the operator rounds the row to 7 bits and scales back."""
        return self._times_row(row, self._packed, True)  # type: ignore[no-any-return]

    def times_numbers(self, numbers: Tensor) -> Tensor:
        """Float32 [T, I], rounded to integers 0..127 -> their products [T, O]."""
        return self._times_numbers(numbers, 1.0, 0, self._packed)  # type: ignore[no-any-return]


class OneDnnInt8:
    """An int8 matrix [O, I] for products with rows of 8 bits."""

    def __init__(self, matrix: PackedMatrix, scale: Tensor) -> None:
        """Take the packed matrix and the scale of each output, float32 [O]."""
        self._matrix, self._packed = matrix, matrix.tensor
        self._scale = scale
        self._zeros = torch.zeros(len(scale), dtype=torch.int32)
        self._times = torch.ops.onednn.qlinear_pointwise.default._op  # noqa: SLF001 - as above

    def __call__(
        self, rows: Tensor, *, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """Multiply float [T, I], each row rounded to integers of its own step.

        Returns:
            The products of the integers with the scaled matrix, [T, O], and the steps, [T, 1], both
            of that dtype: their product is the result. NaN or infinity where the row has any.
        """
        numbers, step = _quantize(rows, dtype)
        product = self._times(
            *(numbers, 1.0, _zero(), self._packed, self._scale, self._zeros, None),
            *(1.0, 0, dtype, "none", [], ""),
        )
        return product, step


def _quantize(rows: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Float [T, I] -> uint8, the zero `_zero()`, and the steps [T, 1], exact in that dtype."""
    numbers = torch.empty(rows.shape, dtype=torch.uint8)
    steps = torch.empty(len(rows), 1, dtype=dtype)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        some = rows[part]
        top = torch.maximum(some.amax(1, keepdim=True), some.amin(1, keepdim=True).neg_())
        step = torch.div(top.float(), _zero() - 1).clamp_(min=_TINY).to(dtype)
        scaled = some.float() * step.float().reciprocal()
        # Conversion cuts off: with a half added it rounds.
        numbers[part] = scaled.add_(_zero() + 0.5)
        steps[part] = step
    return numbers, steps


def _zero() -> int:
    """The zero point: the byte that encodes 0, in the middle of the range."""
    return 128 if full_range() else 64


@cache
def full_range() -> bool:
    """Whether oneDNN multiplies all 8 bits: without VNNI it adds pairs of products in 16 bits."""
    matrix = torch.full((64, 64), 127, dtype=torch.int8)
    packed, scale = torch.ops.onednn.qlinear_prepack(matrix, None), torch.ones(64)
    numbers, zeros = torch.full((1, 64), 255, dtype=torch.uint8), torch.zeros(64, dtype=torch.int32)
    multiply = torch.ops.onednn.qlinear_pointwise
    found = multiply(
        *(numbers, 1.0, 128, packed, scale, zeros, None, 1.0, 0, torch.float32, "none", [], "")
    )
    return bool((found == 64 * 127 * 127).all())


@cache
def has_fbgemm() -> bool:
    """Tell whether PyTorch still has FBGEMM's operators, on this processor."""
    if _ENGINE not in torch.backends.quantized.supported_engines:
        return False
    try:
        with torch.inference_mode():
            product = FbgemmInt8(torch.ones(8, 8, dtype=torch.int8)).times_row(torch.ones(1, 8))
            return bool((product - 8).abs().max() < 0.1)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False


@cache
def has_onednn() -> bool:
    """Tell whether PyTorch has oneDNN's operators, on this processor."""
    try:
        with torch.inference_mode():
            ones = PackedMatrix.pack(torch.ones(8, 8, dtype=torch.int8))
            matrix = OneDnnInt8(ones, torch.ones(8))
            product, step = matrix(torch.ones(1, 8))
            return bool((product * step - 8).abs().max() < 0.1)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False


def has_int8() -> bool:
    """Tell whether there are operators for int8 matrices, on this processor."""
    return has_fbgemm() or has_onednn()
