"""A directory of safetensors <-> a model, strictly; knows no network and never opens a pickle.

Every parameter is filled exactly once and every tensor of the files is used, except the few that
published files carry without need (mask buffers, a second copy of a tied head).
"""

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gpt_bigcode.config import GPTBigCodeConfig, read_json_object
from gpt_bigcode.errors import (
    CheckpointError,
    CheckpointMismatchError,
    CheckpointMissingError,
    ConfigError,
    UnsafeCheckpointError,
)
from gpt_bigcode.heads import (
    GPTBigCodeForCausalLM,
    GPTBigCodeForSequenceClassification,
    GPTBigCodeForTokenClassification,
)
from gpt_bigcode.transformer import GPTBigCodeModel

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_MAX_INDEX_BYTES = 16 << 20
_PREFIX = "transformer."
_HEAD = "lm_head.weight"
_TOKENS = "transformer.wte.weight"
_HEADS = ("lm_head.", "score.", "classifier.")
# Early conversions stored the causal mask and its fill value; both follow from the configuration.
_MASK_BUFFER = re.compile(r"(^|\.)h\.\d+\.(cross)?attn\.(bias|masked_bias)$|^(transformer\.)?bias$")
_FLOATS = frozenset({torch.float32, torch.float64, torch.float16, torch.bfloat16})
_FIRST_NAMES = 5


class Task(StrEnum):
    """What a checkpoint is loaded for: one of the reference's model classes."""

    TRUNK = "trunk"
    CAUSAL_LM = "causal-lm"
    SEQUENCE_CLASSIFICATION = "sequence-classification"
    TOKEN_CLASSIFICATION = "token-classification"  # noqa: S105 - a name, no password


_MODELS: Mapping[Task, Callable[[GPTBigCodeConfig], nn.Module]] = MappingProxyType(
    {
        Task.TRUNK: GPTBigCodeModel,
        Task.CAUSAL_LM: GPTBigCodeForCausalLM,
        Task.SEQUENCE_CLASSIFICATION: GPTBigCodeForSequenceClassification,
        Task.TOKEN_CLASSIFICATION: GPTBigCodeForTokenClassification,
    }
)


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor lies: a file and the name that it has there."""

    path: Path
    name: str
    shape: tuple[int, ...]


def load_model(
    directory: Path | str,
    *,
    task: Task | str = Task.CAUSAL_LM,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Load a checkpoint directory in the reference's layout.

    The model is built without memory and takes the tensors one by one, so that the peak stays close
    to the size of the weights.

    Args:
        directory: holds config.json and model.safetensors, or its shards and their index.
        task: the model class.
        dtype: of the parameters; default: that of the file's token table.
        device: where the parameters go.

    Returns:
        The model, in evaluation mode.

    Raises:
        CheckpointMissingError: no such directory, configuration or weights.
        ConfigError: see `GPTBigCodeConfig.from_dict`.
        UnsafeCheckpointError: only pickled weights are there.
        CheckpointError: a damaged file.
        CheckpointMismatchError: tensors missing, unexpected or misshapen; they are named.
    """
    folder = Path(directory)
    config = GPTBigCodeConfig.from_json_file(folder / CONFIG_FILE)
    stored = dict(_stored_tensors(folder))
    with torch.device("meta"):
        model = _MODELS[Task(task)](config)
    _match(model, stored, config, Task(task))
    target = dtype or _read(stored[_TOKENS]).dtype
    _fill(model, stored, dtype=target, device=torch.device(device))
    return model.eval()


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint: one, or the shards that its index names.

    Raises:
        CheckpointMissingError: none, or a shard is not there.
        UnsafeCheckpointError: only pickled weights are there.
        CheckpointError: an index that names anything but plain files beside it.
    """
    single, index = folder / WEIGHTS_FILE, folder / INDEX_FILE
    if single.exists() or single.is_symlink():
        return [_regular(single)]
    if index.exists():
        return [_regular(folder / name) for name in _shard_names(index)]
    pickles = sorted(path.name for path in folder.glob("*.bin"))
    if pickles:
        raise UnsafeCheckpointError(
            f"{folder}: only a pickle file ({pickles[0]}), which can run code when it is loaded",
            hint="convert it to safetensors first",
        )
    raise CheckpointMissingError(f"{folder}: no {WEIGHTS_FILE}")


def _shard_names(index: Path) -> list[str]:
    try:
        listed = read_json_object(index, _MAX_INDEX_BYTES).get("weight_map")
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    if not isinstance(listed, dict) or not listed:
        raise CheckpointError(f"{index.name}: no weight_map")
    names = {str(name) for name in listed.values()}
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise CheckpointError(f"{index.name}: {name[:80]!r} is not a file beside it")
    return sorted(names)


def _regular(path: Path) -> Path:
    if not path.exists():
        raise CheckpointMissingError(f"{path}: no such file")
    if not path.is_file():
        raise CheckpointError(f"{path.name}: not a regular file")
    return path


def _stored_tensors(folder: Path) -> Iterator[tuple[str, StoredTensor]]:
    """The tensors of all files under the reference's full names, without the mask buffers."""
    if not folder.is_dir():
        raise CheckpointMissingError(f"{folder}: no such directory")
    seen: dict[str, Path] = {}
    for path in weight_files(folder):
        for name, shape in _header(path).items():
            if _MASK_BUFFER.search(name):
                continue
            full = name if name.startswith((_PREFIX, *_HEADS)) else _PREFIX + name
            if full in seen:
                raise CheckpointMismatchError(
                    f"{full}: stored twice, in {seen[full].name} and {path.name}"
                )
            seen[full] = path
            yield full, StoredTensor(path, name, shape)


def _header(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of one file."""
    _sniff(path)
    try:
        with safe_open(path, framework="pt") as stream:
            names = stream.keys()
            return {name: tuple(stream.get_slice(name).get_shape()) for name in names}
    except (SafetensorError, OSError) as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise CheckpointError(f"{path.name}: {reason[:200]}") from None


def _sniff(path: Path) -> None:
    """Name the usual files that are not weights, before the parser calls them a large header."""
    with path.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path.name}: is a git-lfs pointer", hint="run: git lfs pull")
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(f"{path.name}: is an HTML page, not weights")
    if start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04")):
        raise UnsafeCheckpointError(f"{path.name}: is a pickle, not safetensors")


def _match(
    model: nn.Module, stored: dict[str, StoredTensor], config: GPTBigCodeConfig, task: Task
) -> None:
    """Compare the stored names and shapes with the model's; settle which head is used."""
    prefix = _PREFIX if task is Task.TRUNK else ""
    wanted = {prefix + name: tuple(value.shape) for name, value in model.state_dict().items()}
    if task is Task.TRUNK:
        for name in [name for name in stored if name.startswith(_HEADS)]:
            del stored[name]
    if task is Task.CAUSAL_LM and config.tie_word_embeddings:
        _settle_tied_head(stored)
        wanted.pop(_HEAD)
    missing, extra = sorted(wanted.keys() - stored), sorted(stored.keys() - wanted.keys())
    if missing or extra:
        raise CheckpointMismatchError(
            f"{len(missing)} tensors missing{_first(missing)}, "
            f"{len(extra)} unexpected{_first(extra)}"
        )
    for name, shape in wanted.items():
        if stored[name].shape != shape:
            raise CheckpointMismatchError(
                f"{name}: shape {list(stored[name].shape)}, the configuration says {list(shape)}"
            )


def _settle_tied_head(stored: dict[str, StoredTensor]) -> None:
    """A tied head may be absent, alone, or stored a second time with the same numbers."""
    head = stored.get(_HEAD)
    if head is None:
        return
    tokens = stored.setdefault(_TOKENS, head)
    if tokens is not head and (
        tokens.shape != head.shape or not torch.equal(_read(tokens), _read(head))
    ):
        raise CheckpointMismatchError(
            f"{_HEAD}: differs from {_TOKENS}, but the configuration ties them",
            hint="set tie_word_embeddings to false in config.json to use both",
        )
    del stored[_HEAD]


def _fill(
    model: nn.Module,
    stored: Mapping[str, StoredTensor],
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Give every parameter its tensor; the head follows the token table if they are tied."""
    prefix = _PREFIX if isinstance(model, GPTBigCodeModel) else ""
    for path in {tensor.path for tensor in stored.values()}:
        with safe_open(path, framework="pt") as stream:
            for full, tensor in stored.items():
                if tensor.path != path:
                    continue
                value = _as_float(full, stream.get_tensor(tensor.name))
                parent, _, leaf = full.removeprefix(prefix).rpartition(".")
                parameter = nn.Parameter(value.to(device, dtype), requires_grad=True)
                setattr(model.get_submodule(parent), leaf, parameter)
    if isinstance(model, GPTBigCodeForCausalLM):
        model.tie_weights()


def _as_float(name: str, value: Tensor) -> Tensor:
    if value.dtype not in _FLOATS:
        raise CheckpointMismatchError(f"{name}: {value.dtype} is not a type of weights")
    return value


def _read(tensor: StoredTensor) -> Tensor:
    with safe_open(tensor.path, framework="pt") as stream:
        return _as_float(tensor.name, stream.get_tensor(tensor.name))


def _first(names: list[str]) -> str:
    if not names:
        return ""
    more = ", ..." if len(names) > _FIRST_NAMES else ""
    return f" ({', '.join(name[:80] for name in names[:_FIRST_NAMES])}{more})"


def save_model(model: nn.Module, directory: Path | str, **extra: Any) -> None:
    """Write config.json and model.safetensors, so that the reference loads them unchanged.

    Args:
        model: one of the four model classes.
        directory: made if it is not there; files of the same name are replaced whole.
        extra: further fields of config.json.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    config: GPTBigCodeConfig = model.config  # type: ignore[assignment]
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    if config.tie_word_embeddings:
        tensors.pop(_HEAD, None)
    values = config.to_dict() | {
        "architectures": [type(model).__name__],
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        **extra,
    }
    text = json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    with _replacing(folder / WEIGHTS_FILE) as path:
        save_file(tensors, path, metadata={"format": "pt"})
    with _replacing(folder / CONFIG_FILE) as path:
        path.write_text(text, encoding="utf-8")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when it is complete."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
