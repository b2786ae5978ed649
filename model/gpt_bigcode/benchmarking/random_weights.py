"""Checkpoints of the family's sizes with random weights, to measure a machine with.

They compute as much, and read as many bytes, as trained ones.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from gpt_bigcode.checkpoint.tensor_index import CONFIG_FILE, INDEX_FILE, Task, tensor_shapes
from gpt_bigcode.config import GPTBigCodeConfig

_POOL_NUMBERS = 1 << 22
_BYTES_A_NUMBER = 2  # bfloat16
_DEVIATION = 0.02


def _shape(width: int, layers: int, heads: int, vocabulary: int, positions: int) -> Any:
    return MappingProxyType(
        {
            "n_embd": width,
            "n_layer": layers,
            "n_head": heads,
            "vocab_size": vocabulary,
            "n_positions": positions,
            "bos_token_id": 0,
            "eos_token_id": 0,
        }
    )


# From the config.json of the published checkpoints.
FAMILY: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "tiny_starcoder_py": _shape(768, 20, 12, 49152, 8192),
        "santacoder": _shape(2048, 24, 16, 49280, 2048),
        "starcoderbase-3b": _shape(2816, 36, 22, 49152, 8192),
        "starcoder": _shape(6144, 40, 48, 49152, 8192),
    }
)


def family_config(name: str) -> GPTBigCodeConfig:
    """The configuration of a member of `FAMILY`."""
    return GPTBigCodeConfig.from_dict(dict(FAMILY[name]))


def checkpoint_bytes(config: GPTBigCodeConfig) -> int:
    """How much room `write_random_checkpoint` takes."""
    return config.parameter_count() * _BYTES_A_NUMBER


def write_random_checkpoint(folder: Path, config: GPTBigCodeConfig, *, seed: int = 0) -> None:
    """Write config.json and weights in bfloat16, one file for each layer, tensor by tensor.

    Raises:
        OSError: the folder cannot be written to.
    """
    pool = _bfloat16(np.random.default_rng(seed).standard_normal(_POOL_NUMBERS, np.float32))
    files: dict[str, str] = {}
    shards: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in _shapes(config).items():
        layer = name.split(".")[2] if ".h." in name else "tables"
        files[name] = f"model-{layer}.safetensors"
        shards.setdefault(files[name], {})[name] = shape
    for file, shapes in shards.items():
        _write(folder / file, shapes, pool)
    index = {"metadata": {"total_size": checkpoint_bytes(config)}, "weight_map": files}
    (folder / INDEX_FILE).write_text(json.dumps(index), "utf-8")
    (folder / CONFIG_FILE).write_text(json.dumps(config.to_dict()), "utf-8")


def _write(path: Path, shapes: Mapping[str, tuple[int, ...]], pool: Any) -> None:
    """One file of safetensors: the header's length, the header, the numbers."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + int(np.prod(shape)) * _BYTES_A_NUMBER
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            stream.write(_draw(pool, name, shape))


def _shapes(config: GPTBigCodeConfig) -> dict[str, tuple[int, ...]]:
    return tensor_shapes(config, Task.CAUSAL_LM)


def _draw(pool: Any, name: str, shape: tuple[int, ...]) -> bytes:
    """Numbers from the pool, from another place for each tensor: drawing billions takes minutes."""
    count = int(np.prod(shape))
    if name.endswith("weight") and len(shape) == 1:  # the scale of a norm
        return bytes(_bfloat16(np.full(count, 1 / _DEVIATION, np.float32)))
    start = sum(name.encode()) * 4099 % _POOL_NUMBERS
    return bytes(np.resize(np.roll(pool, -start), count))


def _bfloat16(values: Any) -> Any:
    """The upper half of float32, scaled to the deviation of initial weights."""
    return ((values * np.float32(_DEVIATION)).view(np.uint32) >> 16).astype(np.uint16)
