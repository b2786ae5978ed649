"""Loads a model from safetensors, and saves it."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from secrets import token_hex
from types import MappingProxyType
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gpt_bigcode.checkpoint.tensor_index import (
    CONFIG_FILE,
    HEAD,
    PREFIX,
    TOKENS,
    WEIGHTS_FILE,
    StoredTensor,
    Task,
    find_tensors,
)
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import CheckpointMismatchError
from gpt_bigcode.modeling.heads import (
    GPTBigCodeForCausalLM,
    GPTBigCodeForSequenceClassification,
    GPTBigCodeForTokenClassification,
)
from gpt_bigcode.modeling.transformer import GPTBigCodeModel

_PIECE_BYTES = 8 << 20
_FLOATS = frozenset({torch.float32, torch.float64, torch.float16, torch.bfloat16})
_MODELS: Mapping[Task, Callable[[GPTBigCodeConfig], nn.Module]] = MappingProxyType(
    {
        Task.TRUNK: GPTBigCodeModel,
        Task.CAUSAL_LM: GPTBigCodeForCausalLM,
        Task.SEQUENCE_CLASSIFICATION: GPTBigCodeForSequenceClassification,
        Task.TOKEN_CLASSIFICATION: GPTBigCodeForTokenClassification,
    }
)


def load_model(
    directory: Path | str,
    *,
    task: Task | str = Task.CAUSAL_LM,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Load a checkpoint directory in the reference's layout.

    The model is built without memory and receives its tensors one by one, so that peak memory stays
    close to the size of the weights.

    Args:
        directory: holds config.json and model.safetensors, or its shards and their index.
        task: the model class.
        dtype: of the parameters; default: that of the stored token table.
        device: where the parameters go.

    Returns:
        The model, in evaluation mode.

    Raises:
        ConfigError: see `GPTBigCodeConfig.from_dict`.
        CheckpointError: see `gpt_bigcode.checkpoint.tensor_index.find_tensors`.
    """
    folder = Path(directory)
    config = GPTBigCodeConfig.from_json_file(folder / CONFIG_FILE)
    stored = find_tensors(folder, config, Task(task), same_numbers)
    target = dtype or read_tensor(stored[TOKENS]).dtype
    model = build_empty(config, Task(task))
    fill(model, stored, dtype=target, device=torch.device(device))
    if isinstance(model, GPTBigCodeForCausalLM):
        model.tie_weights()
    return model.eval()


def build_empty(config: GPTBigCodeConfig, task: Task) -> nn.Module:
    """The model of a task, without memory for its parameters."""
    with torch.device("meta"), _NoInitialValues():
        return _MODELS[task](config)


class _NoInitialValues(TorchFunctionMode):
    """Skips torch.nn.init: on the meta device it computes nothing, but imports half of torch."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the tensor as it is."""
        named = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def fill(
    model: nn.Module,
    stored: Mapping[str, StoredTensor],
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Assign stored tensors, named as in `find_tensors`; other parameters stay as they are."""
    prefix = PREFIX if isinstance(model, GPTBigCodeModel) else ""
    for path in {tensor.path for tensor in stored.values()}:
        with safe_open(path, framework="pt") as stream:
            for full, tensor in stored.items():
                if tensor.path != path:
                    continue
                value = as_float(full, stream.get_tensor(tensor.name))
                if value.dtype != dtype:
                    value = _converted(tensor, dtype)
                parent, _, leaf = full.removeprefix(prefix).rpartition(".")
                setattr(model.get_submodule(parent), leaf, nn.Parameter(value.to(device)))


def _converted(tensor: StoredTensor, dtype: torch.dtype) -> Tensor:
    """A stored tensor in another type, converted piece by piece to save memory."""
    result = torch.empty(tensor.shape, dtype=dtype)
    for start, piece in pieces_of(tensor):
        result[start : start + len(piece)] = piece
    return result


def pieces_of(
    tensor: StoredTensor, *, multiple: int = 1, piece_bytes: int = _PIECE_BYTES
) -> Iterator[tuple[int, Tensor]]:
    """The rows of a stored tensor, piece by piece, each with the number of its first row.

    Args:
        tensor: the tensor to read.
        multiple: the number of rows in every piece but the last is a multiple of this.
        piece_bytes: the approximate size of a piece in float32.
    """
    row_bytes = 4 * max(1, prod(tensor.shape[1:]))
    rows = max(1, piece_bytes // row_bytes // multiple) * multiple
    for start in range(0, tensor.shape[0], rows):
        # Pages read through a mapping stay resident until it is closed.
        with safe_open(tensor.path, framework="pt") as stream:
            yield start, stream.get_slice(tensor.name)[start : start + rows]


def as_float(name: str, value: Tensor) -> Tensor:
    """Return a tensor after checking that its type is one of weights.

    Raises:
        CheckpointMismatchError: it holds integers.
    """
    if value.dtype not in _FLOATS:
        raise CheckpointMismatchError(f"{name}: {value.dtype} is not a type of weights")
    return value


def read_tensor(tensor: StoredTensor) -> Tensor:
    """A stored tensor as it is, mapped."""
    with safe_open(tensor.path, framework="pt") as stream:
        return as_float(tensor.name, stream.get_tensor(tensor.name))


def same_numbers(first: StoredTensor, second: StoredTensor) -> bool:
    """Whether two stored tensors are equal."""
    return torch.equal(read_tensor(first), read_tensor(second))


def save_model(model: nn.Module, directory: Path | str, **extra: Any) -> None:
    """Write config.json and model.safetensors, so that the reference loads them unchanged.

    Args:
        model: one of the four model classes.
        directory: created if missing; files of the same name are replaced atomically.
        extra: additional fields of config.json.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    config: GPTBigCodeConfig = model.config  # type: ignore[assignment]
    state = model.state_dict()
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    if config.tie_word_embeddings:
        tensors.pop(HEAD, None)
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
    """Yield a temporary file beside `path`, which replaces it on success."""
    temporary = path.with_name(f".{path.name}.{token_hex(8)}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # safetensors makes its files readable by their owner alone
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
