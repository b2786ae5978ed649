"""The activation functions, one of them faster than PyTorch's own; knows no layer."""

from collections.abc import Callable, Mapping
from math import pi, sqrt
from types import MappingProxyType

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

# Below, the calls of five operators cost more than the numbers.
_LEAST_NUMBERS = 1 << 16
_LINEAR = 2 * sqrt(2 / pi)
_CUBIC = 0.044715 * _LINEAR


def gelu_tanh(hidden: Tensor) -> Tensor:
    """GELU approximated by a tanh (arXiv 1606.08415, section 2), any shape.

    For many numbers on the processor, and without gradients, as x * sigmoid(2u), which equals
    x * (1 + tanh(u)) / 2: PyTorch's tanh takes four to ten times as long as its sigmoid there.
    """
    few = hidden.numel() < _LEAST_NUMBERS
    plain = hidden.dtype == torch.float32 and hidden.device.type == "cpu"
    if few or not plain or torch.is_grad_enabled():
        return F.gelu(hidden, approximate="tanh")
    inner = hidden * hidden
    inner.mul_(_CUBIC).add_(_LINEAR).mul_(hidden).sigmoid_()
    return inner.mul_(hidden)


# By the names that `config.ACTIVATIONS` maps a configuration's to.
FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "relu": F.relu,
        "silu": F.silu,
        "tanh": torch.tanh,
        "gelu": F.gelu,
        "gelu_tanh": gelu_tanh,
    }
)
