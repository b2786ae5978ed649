"""Converts pickles and the original layout of bigcode/santacoder to safetensors.

It opens pickles: call it in a sandboxed process.
"""

import errno
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpt_bigcode.checkpoint.pickle_reader import read_pickle
from gpt_bigcode.checkpoint.santacoder_config import convert_config, is_santacoder
from gpt_bigcode.checkpoint.tensor_index import (
    CONFIG_FILE,
    HEAD,
    INDEX_FILE,
    MASK_BUFFER,
    TOKENS,
    WEIGHTS_FILE,
)
from gpt_bigcode.config import MAX_CONFIG_BYTES, GPTBigCodeConfig, read_json_object
from gpt_bigcode.errors import CheckpointError, CheckpointMismatchError

MAX_SHARD_BYTES = 4 << 30
_LAYER = re.compile(r"(?:^|\.)h\.(\d+)\.")


@dataclass(frozen=True)
class _Shard:
    """The names of the tensors in one file, and their total bytes."""

    names: tuple[str, ...]
    bytes: int


def read_config(folder: Path) -> tuple[dict[str, Any], GPTBigCodeConfig]:
    """Read a configuration of either layout.

    Returns:
        The fields of the config.json to write, and the parsed configuration.

    Raises:
        ConfigError: not a model of this family.
    """
    values = read_json_object(folder / CONFIG_FILE, MAX_CONFIG_BYTES)
    ours = convert_config(values) if is_santacoder(values) else values
    return ours, GPTBigCodeConfig.from_dict(ours)


def convert_weights(
    source: Path,
    files: list[str],
    target: Path,
    *,
    advance: Callable[[int], None] = lambda _: None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write the weights of a checkpoint as safetensors, with unchanged numbers and types.

    The files are mapped, so that little memory is used; layers are transposed one at a time.

    Args:
        source: the folder of the checkpoint, with its config.json.
        files: the names of its files of weights, `.bin` or `.safetensors`.
        target: an empty folder.
        advance: called with the number of bytes after each file.
        max_shard_bytes: the largest size of a file, unless a single layer is larger.

    Raises:
        ConfigError: not a model of this family.
        CheckpointError: a file is damaged, unsafe, or does not fit.
        MemoryLimitError: a file asks for too much memory.
    """
    values = read_json_object(source / CONFIG_FILE, MAX_CONFIG_BYTES)
    _, config = read_config(source)
    tensors = _without_copies(dict(_stored(source, files)), config)
    shards = list(_shards(tensors, max_shard_bytes))
    total = len(shards)
    place: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = WEIGHTS_FILE if total == 1 else f"model-{number:05}-of-{total:05}.safetensors"
        part = {key: tensors[key] for key in shard.names}
        part = convert_tensors(part, values) if is_santacoder(values) else part
        _write(_unshared(part), target / name)
        place |= dict.fromkeys(part, name)
        advance(shard.bytes)
    if total > 1:
        index = {"metadata": {"total_size": sum(s.bytes for s in shards)}, "weight_map": place}
        text = json.dumps(index, indent=2, sort_keys=True) + "\n"
        (target / INDEX_FILE).write_text(text, encoding="utf-8")


def _stored(source: Path, files: list[str]) -> Iterator[tuple[str, Tensor]]:
    """The tensors of all files, without the mask buffers."""
    seen: set[str] = set()
    for file in files:
        for name, value in _read(source / file).items():
            if MASK_BUFFER.search(name):
                continue
            if name in seen:
                raise CheckpointMismatchError(f"{name[:80]}: stored twice")
            if not value.is_floating_point():
                raise CheckpointMismatchError(f"{name[:80]}: {value.dtype} is not one of weights")
            seen.add(name)
            yield name, value


def _read(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".bin":
        return read_pickle(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path.name}: {str(error)[:200]}") from None


def _write(tensors: dict[str, Tensor], path: Path) -> None:
    """Write one file.

    Raises:
        OSError: writing failed, which safetensors reports as its own kind of error.
    """
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(errno.EIO, str(error)[:200], str(path)) from None


def _without_copies(tensors: dict[str, Tensor], config: GPTBigCodeConfig) -> dict[str, Tensor]:
    """Leave out a head that repeats the token table.

    Raises:
        CheckpointMismatchError: they differ, although the configuration ties them.
    """
    tokens = next((t for t in (TOKENS, TOKENS.partition(".")[2]) if t in tensors), None)
    if not config.tie_word_embeddings or HEAD not in tensors or tokens is None:
        return tensors
    if not torch.equal(tensors[HEAD], tensors[tokens]):
        message = f"{HEAD}: differs from {tokens}, but the configuration ties them"
        hint = "set tie_word_embeddings to false in config.json to use both"
        raise CheckpointMismatchError(message, hint=hint)
    return {name: value for name, value in tensors.items() if name != HEAD}


def _shards(tensors: Mapping[str, Tensor], most: int) -> Iterator[_Shard]:
    """Pack whole layers into a file until it is full."""

    def layer(name: str) -> int:
        found = _LAYER.search(name)
        return int(found[1]) if found else -1

    names: list[str] = []
    size = 0
    for _, group in groupby(sorted(tensors, key=lambda name: (layer(name), name)), key=layer):
        together = list(group)
        added = sum(tensors[name].numel() * tensors[name].element_size() for name in together)
        if names and size + added > most:
            yield _Shard(tuple(names), size)
            names, size = [], 0
        names += together
        size += added
    yield _Shard(tuple(names), size)


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors that share memory, which the format cannot express."""
    seen: set[int] = set()
    result = {}
    for name, value in tensors.items():
        own = value.contiguous()
        if own.data_ptr() in seen:
            own = own.clone()
        seen.add(own.data_ptr())
        result[name] = own
    return result


_PROJECTION = re.compile(r"\.(attn\.(c_attn|q_attn|kv_attn|c_proj)|mlp\.(c_fc|c_proj))\.weight$")


def convert_tensors(
    tensors: "Mapping[str, Tensor]", config: Mapping[str, Any]
) -> "dict[str, Tensor]":
    """Tensors of the original layout -> GPTBigCode's names and orientation.

    Args:
        tensors: as stored; `q_attn` and `kv_attn`, or both as `c_attn`, all [in, out].
        config: the original config.json, whose `attention_head_type` decides: shapes cannot tell.

    Raises:
        CheckpointMismatchError: `q_attn` without `kv_attn`, or vice versa.
    """
    heads = int(config["n_head"])
    transposed = {
        name: value.t() if _PROJECTION.search(name) else value
        for name, value in tensors.items()
        if not MASK_BUFFER.search(name)
    }
    if config["attention_head_type"] == "multihead":
        transposed = {name: _interleave(name, value, heads) for name, value in transposed.items()}
    joined: dict[str, Tensor] = {}
    for name, value in transposed.items():
        if ".kv_attn." in name:
            if name.replace(".kv_attn.", ".q_attn.") not in transposed:
                raise CheckpointMismatchError(f"{name}: no q_attn beside it")
        elif ".q_attn." in name:
            other = name.replace(".q_attn.", ".kv_attn.")
            if other not in transposed:
                raise CheckpointMismatchError(f"{name}: no kv_attn beside it")
            joined[name.replace(".q_attn.", ".c_attn.")] = torch.cat([value, transposed[other]])
        else:
            joined[name] = value
    return {name: value.contiguous() for name, value in joined.items()}


def _interleave(name: str, value: "Tensor", heads: int) -> "Tensor":
    """GPT-2's [q | k | v] for all heads -> GPTBigCode's [q | k | v] head by head."""
    if ".attn.c_attn." not in name:
        return value
    split = value.reshape(3, heads, -1, *value.shape[1:])
    return split.transpose(0, 1).flatten(0, 2)
