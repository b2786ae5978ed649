"""A checkpoint as llama.cpp reads it: GGUF of its `starcoder` architecture, in Q8_0 or Q4_0.

Needs `gguf`; the token table and the head have 8 bits in both, as in
llama.cpp's own conversions. Tokens are named w0, w1, ... since only their ids are used.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

_BLOCK = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
_WHOLE = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}


def write_gguf(folder: Path, path: Path, kind: str) -> None:
    """Convert the multi-query checkpoint in `folder`; `kind` is q8_0 or q4_0."""
    import gguf

    config = json.loads((folder / "config.json").read_text("utf-8"))
    writer = gguf.GGUFWriter(path, "starcoder")
    _write_fields(writer, config, gguf)
    wanted = {"q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0}[kind]
    for name, value in _tensors(folder):
        place, _, part = name.removeprefix("transformer.").rpartition(".")
        if place == "lm_head":
            continue
        new = f"{_name(place)}.{part}"
        if value.ndim == 1 or place == "wpe":
            writer.add_tensor(new, value)
            continue
        chosen = gguf.GGMLQuantizationType.Q8_0 if place == "wte" else wanted
        writer.add_tensor(new, gguf.quants.quantize(value, chosen), raw_dtype=chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_fields(writer: Any, config: dict[str, Any], gguf: Any) -> None:
    words = [f"w{index}" for index in range(config["vocab_size"])]
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(config["n_inner"])
    writer.add_block_count(config["n_layer"])
    writer.add_head_count(config["n_head"])
    writer.add_head_count_kv(1)
    writer.add_layer_norm_eps(config.get("layer_norm_epsilon", 1e-5))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("starcoder")
    writer.add_token_list(words)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(words))
    writer.add_token_merges(["w 0"])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])


def _tensors(folder: Path) -> Any:
    """Names and float32 values, one after the other."""
    import torch
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no dictionary
                yield name, np.ascontiguousarray(tensors.get_tensor(name).to(torch.float32).numpy())


def _name(place: str) -> str:
    if place in _WHOLE:
        return _WHOLE[place]
    _, layer, inner = place.split(".", 2)
    return f"blk.{layer}.{_BLOCK[inner]}"
