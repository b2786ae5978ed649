"""config.json of bigcode/santacoder's original layout, without PyTorch: a download reads it too."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gpt_bigcode.errors import UnsupportedModelError

# Fields that the reference's configuration names differently, or that change no result.
_DROPPED = frozenset(
    {"attention_head_type", "auto_map", "architectures", "model_type", "reorder_and_upcast_attn"}
)
_REFUSED = MappingProxyType({"scale_attn_by_inverse_layer_idx": True})


def is_santacoder(config: Mapping[str, Any]) -> bool:
    """Whether a config.json has the original layout; tensor shapes alone cannot tell."""
    return config.get("model_type") == "gpt2" and "attention_head_type" in config


def convert_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """config.json of the original layout -> GPTBigCode's.

    Raises:
        UnsupportedModelError: another layout, or a kind of attention that GPTBigCode lacks.
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
