"""The parts of the NumPy engine: weights, keys and values of each row, activation functions."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from gpt_bigcode.checkpoint.tensor_index import (
    HEAD,
    PREFIX,
    TOKENS,
    RawTensor,
    StoredTensor,
    mapped_tensors,
)
from gpt_bigcode.errors import CheckpointMismatchError

Floats = NDArray[np.float32]
# Overflow is found in the results (NonFiniteError), so no step warns of it.
unwarned = np.errstate(all="ignore")
BLOCK_TOKENS = 256  # the unit of the prefix cache, and of a row's growth
_LEAST_TOKENS = 32  # smaller parts would need too many calls
_GELU_LINEAR = np.float32(-2 * math.sqrt(2 / math.pi))
_GELU_CUBIC = np.float32(-2 * math.sqrt(2 / math.pi) * 0.044715)
_TYPES = MappingProxyType({"F32": np.float32, "F16": np.float16, "F64": np.float64})


def read_weights(stored: Mapping[str, StoredTensor]) -> dict[str, Floats]:
    """All tensors as float32, without the trunk's prefix; the head is always among them."""
    weights: dict[str, Floats] = {}
    for path in {tensor.path for tensor in stored.values()}:
        with mapped_tensors(path) as raw:
            for full, tensor in stored.items():
                if tensor.path == path:
                    weights[full.removeprefix(PREFIX)] = _floats(full, raw[tensor.name])
    weights.setdefault(HEAD, weights[TOKENS.removeprefix(PREFIX)])
    return weights


@unwarned
def _floats(name: str, raw: RawTensor) -> Floats:
    """A copy of a tensor's numbers: its file may change later."""
    if raw.kind == "BF16":
        # bfloat16 is the upper half of float32.
        wide = np.frombuffer(raw.data, np.uint16).astype(np.uint32)
        values = np.left_shift(wide, 16, out=wide).view(np.float32)
    elif raw.kind in _TYPES:
        values = np.frombuffer(raw.data, _TYPES[raw.kind]).astype(np.float32)
    else:
        raise CheckpointMismatchError(f"{name}: {raw.kind} is not a type of weights")
    return values.reshape(raw.shape)


def same_numbers(first: StoredTensor, second: StoredTensor) -> bool:
    """Whether two stored tensors hold the same numbers."""

    def data(tensor: StoredTensor) -> Floats:
        with mapped_tensors(tensor.path) as raw:
            return _floats(tensor.name, raw[tensor.name])

    return np.array_equal(data(first), data(second))


class KVRow:
    """One text's keys and values, [L, 2, K, capacity, D], and how many tokens they hold."""

    def __init__(self, store: Floats, length: int = 0) -> None:
        self.store, self.length = store, length

    def copy(self) -> "KVRow":
        """A copy with its own memory."""
        return KVRow(self.store.copy(), self.length)

    def reserve(self, tokens: int) -> None:
        """Grow to at least `tokens` tokens."""
        *shape, capacity, size = self.store.shape
        if tokens > capacity:
            blocks = -(-tokens // BLOCK_TOKENS)
            grown = np.empty((*shape, blocks * BLOCK_TOKENS, size), np.float32)
            grown[..., : self.length, :] = self.store[..., : self.length, :]
            self.store = grown

    def put(self, layer: int, both: Floats) -> None:
        """Store the keys and values of the tokens after `length` in one layer, [2, K, T, D]."""
        seen = self.length + both.shape[2]
        self.reserve(seen)
        self.store[layer, :, :, self.length : seen] = both


def half_blocks(ids: Sequence[int], start: int = 0) -> list[Sequence[int]]:
    """The parts of a prompt, from the end of a whole block on; each part is one forward pass.

    They are small, so that two threads can share a short prompt, and none crosses the border of a
    block, so that a block's keys and values do not depend on what follows it.
    """
    edges = [start]
    for block in range(start, len(ids), BLOCK_TOKENS):
        tokens = min(len(ids) - block, BLOCK_TOKENS)
        half = -(-tokens // 2)
        if tokens >= 2 * _LEAST_TOKENS:
            edges.append(block + half)
        edges.append(block + tokens)
    return [ids[begin:end] for begin, end in pairwise(edges)]


def _gelu(x: Floats) -> Floats:
    erf = np.frompyfunc(math.erf, 1, 1)(x * math.sqrt(0.5)).astype(np.float32)
    return np.asarray(0.5 * x * (1 + erf), np.float32)


@unwarned
def _gelu_tanh(x: Floats) -> Floats:
    # 0.5 * (1 + tanh(y)) is 1 / (1 + exp(-2y)), for which NumPy needs half the time.
    power = x * x  # not x**3: NumPy's power is 30 times slower
    power *= _GELU_CUBIC
    power += _GELU_LINEAR
    power *= x
    np.exp(power, out=power)  # infinite where the result is 0
    power += np.float32(1)
    np.divide(x, power, out=power)
    return power


def _silu(x: Floats) -> Floats:
    return np.asarray(0.5 * x * (1 + np.tanh(0.5 * x)), np.float32)


ACTIVATION_FUNCTIONS: Mapping[str, Callable[[Floats], Floats]] = MappingProxyType(
    {
        "relu": lambda x: np.maximum(x, np.float32(0)),
        "silu": _silu,
        "tanh": np.tanh,
        "gelu": _gelu,
        "gelu_tanh": _gelu_tanh,
    }
)
