"""The original layout of bigcode/santacoder -> ours; knows no files.

That checkpoint was published with its own code on top of GPT-2: projections are stored transposed
(Conv1D, [in, out]), and queries may lie apart from the one key and value head.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gpt_bigcode.errors import CheckpointMismatchError, UnsupportedModelError

if TYPE_CHECKING:
    from torch import Tensor

_PROJECTION = re.compile(r"\.(attn\.(c_attn|q_attn|kv_attn|c_proj)|mlp\.(c_fc|c_proj))\.weight$")
_MASK_BUFFER = re.compile(r"\.attn\.(bias|masked_bias)$")
# Options of that code that name things of the reference's configuration, or change no number.
_DROPPED = frozenset(
    {"attention_head_type", "auto_map", "architectures", "model_type", "reorder_and_upcast_attn"}
)
_REFUSED = MappingProxyType({"scale_attn_by_inverse_layer_idx": True})


def is_santacoder(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is of the original layout; shapes alone cannot tell."""
    return config.get("model_type") == "gpt2" and "attention_head_type" in config


def convert_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """config.json of the original layout -> GPTBigCode's.

    Raises:
        UnsupportedModelError: not that layout, or an attention that GPTBigCode does not have.
    """
    if not is_santacoder(config):
        raise UnsupportedModelError("not the original layout of bigcode/santacoder")
    heads = config["attention_head_type"]
    if heads not in ("multiquery", "multihead"):
        raise UnsupportedModelError(f"attention_head_type: {heads!r} is not implemented")
    for key, value in _REFUSED.items():
        if config.get(key) == value:
            raise UnsupportedModelError(f"{key}: {value!r} is not implemented")
    kept = {
        key: value for key, value in config.items() if key not in _DROPPED and key not in _REFUSED
    }
    return kept | {
        "model_type": "gpt_bigcode",
        "architectures": ["GPTBigCodeForCausalLM"],
        "multi_query": heads == "multiquery",
    }


def convert_tensors(
    tensors: "Mapping[str, Tensor]", config: Mapping[str, Any]
) -> "dict[str, Tensor]":
    """Tensors of the original layout -> GPTBigCode's names and orientation.

    Args:
        tensors: as stored; `q_attn` and `kv_attn` apart or `c_attn` together, all [in, out].
        config: the original config.json; it decides about heads, since square shapes cannot.

    Raises:
        CheckpointMismatchError: `q_attn` without `kv_attn`, or the other way round.
    """
    import torch

    heads = int(config["n_head"])
    turned = {
        name: value.t() if _PROJECTION.search(name) else value
        for name, value in tensors.items()
        if not _MASK_BUFFER.search(name)
    }
    if config["attention_head_type"] == "multihead":
        turned = {name: _interleave(name, value, heads) for name, value in turned.items()}
    joined: dict[str, Tensor] = {}
    for name, value in turned.items():
        if ".kv_attn." in name:
            if name.replace(".kv_attn.", ".q_attn.") not in turned:
                raise CheckpointMismatchError(f"{name}: no q_attn beside it")
        elif ".q_attn." in name:
            other = name.replace(".q_attn.", ".kv_attn.")
            if other not in turned:
                raise CheckpointMismatchError(f"{name}: no kv_attn beside it")
            joined[name.replace(".q_attn.", ".c_attn.")] = torch.cat([value, turned[other]])
        else:
            joined[name] = value
    return {name: value.contiguous() for name, value in joined.items()}


def _interleave(name: str, value: "Tensor", heads: int) -> "Tensor":
    """GPT-2's [q | k | v] for all heads -> GPTBigCode's [q | k | v] head by head."""
    if ".attn.c_attn." not in name:
        return value
    split = value.reshape(3, heads, -1, *value.shape[1:])
    return split.transpose(0, 1).flatten(0, 2)
