"""Products of an int8 matrix: the only place that uses PyTorch's eager quantized tensors.

PyTorch deprecates them, and pyproject.toml bounds its version for that reason. `has_int8`
asks whether they work; where they do not, another precision is chosen.
"""

import warnings
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

_ENGINE = "fbgemm"

# Packed matrices are no tensors: each call looks for a `__torch_function__` of theirs, which takes
# as long as the product of a small matrix. Within this context manager it does not.
fast_calls: Any = getattr(torch._C, "DisableTorchFunctionSubclass", nullcontext)  # noqa: SLF001
CALLS_ARE_FAST = fast_calls is not nullcontext
"""False with a PyTorch that has no such context manager: int8 then decodes more slowly."""


class PackedInt8:
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


def has_int8() -> bool:
    """Tell whether PyTorch has these operators, on this processor."""
    if _ENGINE not in torch.backends.quantized.supported_engines:
        return False
    try:
        with torch.inference_mode():
            product = PackedInt8(torch.ones(8, 8, dtype=torch.int8)).times_row(torch.ones(1, 8))
            return bool((product - 8).abs().max() < 0.1)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
