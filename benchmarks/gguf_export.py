"""A checkpoint as llama.cpp reads it: GGUF of its `starcoder` architecture.

Needs `gguf`; in Q8_0 and Q4_0 the token table and the head have 8 bits, as in llama.cpp's own
conversions. Without a tokenizer.json tokens are named w0, w1, ... since only their ids are used.
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
    """Convert the multi-query checkpoint in `folder`; `kind` is f32, q8_0 or q4_0."""
    import gguf

    config = json.loads((folder / "config.json").read_text("utf-8"))
    writer = gguf.GGUFWriter(path, "starcoder")
    _write_fields(writer, config)
    _write_tokens(writer, folder, config["vocab_size"], gguf)
    types = gguf.GGMLQuantizationType
    wanted = {"f32": types.F32, "q8_0": types.Q8_0, "q4_0": types.Q4_0}[kind]
    for name, value in _tensors(folder):
        place, _, part = name.removeprefix("transformer.").rpartition(".")
        if place == "lm_head":
            continue
        new = f"{_name(place)}.{part}"
        if value.ndim == 1 or place == "wpe" or kind == "f32":
            writer.add_tensor(new, value)
            continue
        chosen = types.Q8_0 if place == "wte" else wanted
        writer.add_tensor(new, gguf.quants.quantize(value, chosen), raw_dtype=chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_fields(writer: Any, config: dict[str, Any]) -> None:
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(config.get("n_inner") or 4 * config["n_embd"])
    writer.add_block_count(config["n_layer"])
    writer.add_head_count(config["n_head"])
    writer.add_head_count_kv(1)
    writer.add_layer_norm_eps(config.get("layer_norm_epsilon", 1e-5))
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])


def _write_tokens(writer: Any, folder: Path, size: int, gguf: Any) -> None:
    words, merges = [f"w{index}" for index in range(size)], ["w 0"]
    types = [gguf.TokenType.NORMAL] * size
    file = folder / "tokenizer.json"
    if file.exists():
        tokenizer = json.loads(file.read_text("utf-8"))
        for word, index in tokenizer["model"]["vocab"].items():
            words[index] = word
        for token in tokenizer["added_tokens"]:
            words[token["id"]], types[token["id"]] = token["content"], gguf.TokenType.CONTROL
        merges = [" ".join(pair) for pair in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("starcoder")
    writer.add_token_list(words)
    writer.add_token_types(types)
    writer.add_token_merges(merges)


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
