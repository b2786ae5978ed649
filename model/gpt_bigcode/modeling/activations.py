"""Activation functions, initial values of parameters, and checks of a forward pass's arguments."""

import math
from collections.abc import Callable, Mapping
from math import pi, sqrt
from types import MappingProxyType

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import InputError

# With fewer numbers, five operator calls take longer than the computation.
_LEAST_NUMBERS = 1 << 16
_LINEAR = 2 * sqrt(2 / pi)
_CUBIC = 0.044715 * _LINEAR


def gelu_tanh(hidden: Tensor) -> Tensor:
    """GELU approximated by a tanh (arXiv 1606.08415, section 2), any shape.

    Large tensors on the CPU, without gradients, use x * sigmoid(2u), which equals
    x * (1 + tanh(u)) / 2: PyTorch's tanh takes four to ten times as long as its sigmoid there.
    """
    few = hidden.numel() < _LEAST_NUMBERS
    plain = hidden.dtype == torch.float32 and hidden.device.type == "cpu"
    if few or not plain or torch.is_grad_enabled():
        return F.gelu(hidden, approximate="tanh")
    inner = hidden * hidden
    inner.mul_(_CUBIC).add_(_LINEAR).mul_(hidden).sigmoid_()
    return inner.mul_(hidden)


# Keyed by the values of `config.ACTIVATIONS`.
FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "relu": F.relu,
        "silu": F.silu,
        "tanh": torch.tanh,
        "gelu": F.gelu,
        "gelu_tanh": gelu_tanh,
    }
)


def initialize(module: nn.Module, config: GPTBigCodeConfig) -> None:
    """Fill one module's own parameters; for `nn.Module.apply`, which visits children first."""
    residual = getattr(module, "c_proj", None)
    if isinstance(residual, nn.Linear):
        deviation = config.initializer_range / math.sqrt(2 * config.n_layer)
        nn.init.normal_(residual.weight, std=deviation)
    elif isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=config.initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def check_shape(name: str, value: Tensor | None, *allowed: tuple[int, ...]) -> None:
    """Refuse a tensor whose shape is not among `allowed`.

    Raises:
        InputError: with the tensor's name and shape.
    """
    if value is not None and tuple(value.shape) not in allowed:
        wanted = " or ".join(str(list(shape)) for shape in allowed)
        raise InputError(f"{name}: shape {list(value.shape)} is not {wanted}")


def look_up(name: str, table: nn.Embedding, ids: Tensor) -> Tensor:
    """The rows of a table, [..., E].

    Raises:
        InputError: an id that is not an integer, or is out of range. The range is not checked on a
            GPU, because the check would synchronize it.
    """
    if ids.dtype not in (torch.int64, torch.int32):
        raise InputError(f"{name}: {ids.dtype} are not integers")
    try:
        return table(ids)  # type: ignore[no-any-return]
    except IndexError:
        raise InputError(f"{name}: not all in 0..{table.num_embeddings - 1}") from None
