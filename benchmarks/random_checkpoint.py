"""A checkpoint of a family member's size with random weights, written layer by layer.

Knows no program that reads it. With --repeat all layers hold the numbers of the first one: enough
for speed and memory, and much faster to write.
Run: python benchmarks/random_checkpoint.py SHAPE FOLDER [--layers N] [--repeat]
"""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from gpt_bigcode.checkpoint.tensor_index import INDEX_FILE, Task, tensor_shapes
from gpt_bigcode.config import GPTBigCodeConfig

# Widths, heads, layers, positions and vocabularies of the published checkpoints.
SHAPES: dict[str, tuple[int, int, int, int, int]] = {
    "tiny_starcoder_py": (768, 12, 20, 8192, 49152),
    "santacoder": (2048, 16, 24, 2048, 49280),
    "starcoderbase-3b": (2816, 22, 36, 8192, 49152),
    "starcoder": (6144, 48, 40, 8192, 49152),
}
_BLOCK = ".h."


def fields(shape: str, layers: int | None = None) -> dict[str, Any]:
    """The config.json of a shape, perhaps with fewer layers."""
    width, heads, depth, positions, vocabulary = SHAPES[shape]
    return {
        "model_type": "gpt_bigcode",
        "architectures": ["GPTBigCodeForCausalLM"],
        "activation_function": "gelu_pytorch_tanh",
        "n_embd": width,
        "n_inner": 4 * width,
        "n_head": heads,
        "n_layer": layers or depth,
        "n_positions": positions,
        "vocab_size": vocabulary,
        "multi_query": True,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "dtype": "bfloat16",
    }


def write(shape: str, folder: Path, *, layers: int | None = None, repeat: bool = False) -> int:
    """Write a checkpoint in bfloat16, one file for each layer; return how many bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    values = fields(shape, layers)
    config = GPTBigCodeConfig.from_dict(values)
    torch.manual_seed(0)
    places: dict[str, str] = {}
    total = 0
    first: list[torch.Tensor] = []
    for number, (names, shapes) in enumerate(_shards(config)):
        name = f"model-{number:05}.safetensors"
        if repeat and first:
            tensors = dict(zip(names, first, strict=True))
        else:
            tensors = {key: _random(key, shapes[key], config.n_layer) for key in names}
            first = list(tensors.values()) if number else []
        save_file(tensors, folder / name, metadata={"format": "pt"})
        places |= dict.fromkeys(names, name)
        total += sum(value.numel() * value.element_size() for value in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / INDEX_FILE).write_text(json.dumps(index), "utf-8")
    (folder / "config.json").write_text(json.dumps(values, indent=2), "utf-8")
    return total


def _shards(config: GPTBigCodeConfig) -> Iterator[tuple[list[str], dict[str, tuple[int, ...]]]]:
    shapes = tensor_shapes(config, Task.CAUSAL_LM)
    yield [name for name in shapes if _BLOCK not in name], shapes
    for layer in range(config.n_layer):
        yield [name for name in shapes if f"{_BLOCK}{layer}." in name], shapes


def _random(name: str, shape: tuple[int, ...], layers: int) -> torch.Tensor:
    if ".ln_" in name:
        return torch.full(shape, float(name.endswith("weight")), dtype=torch.bfloat16)
    deviation = 0.02 / (math.sqrt(2 * layers) if "c_proj" in name else 1.0)
    return torch.empty(shape, dtype=torch.bfloat16).normal_(std=deviation)


def main() -> None:
    """Write one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=sorted(SHAPES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--repeat", action="store_true")
    arguments = parser.parse_args()
    total = write(
        arguments.shape, arguments.folder, layers=arguments.layers, repeat=arguments.repeat
    )
    print(f"{arguments.folder}: {total / 1e9:.2f} GB of weights")


if __name__ == "__main__":
    main()
