"""Tensors of a checkpoint as NumPy's arrays."""

from collections.abc import Mapping
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
# Numbers that leave float32 are found in the results (NonFiniteError): no step warns of them.
unwarned = np.errstate(all="ignore")


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
    """A tensor's numbers, copied: its file may change later."""
    if raw.kind == "BF16":
        # bfloat16 is the upper half of float32.
        wide = np.frombuffer(raw.data, np.uint16).astype(np.uint32)
        values = np.left_shift(wide, 16, out=wide).view(np.float32)
    elif raw.kind in _TYPES:
        values = np.frombuffer(raw.data, _TYPES[raw.kind]).astype(np.float32)
    else:
        raise CheckpointMismatchError(f"{name}: {raw.kind} is not a type of weights")
    return values.reshape(raw.shape)


_TYPES = MappingProxyType({"F32": np.float32, "F16": np.float16, "F64": np.float64})


def same_numbers(first: StoredTensor, second: StoredTensor) -> bool:
    """Whether two stored tensors hold the same numbers."""

    def data(tensor: StoredTensor) -> Floats:
        with mapped_tensors(tensor.path) as raw:
            return _floats(tensor.name, raw[tensor.name])

    return np.array_equal(data(first), data(second))
