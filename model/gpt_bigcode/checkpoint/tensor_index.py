"""Which tensors a checkpoint must hold, and where they are in its files.

Strict: every tensor that the configuration asks for must be there with its shape, and no other,
except for the redundant ones in published files (mask buffers, a second copy of a tied head).
"""

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from gpt_bigcode.config import MAX_CONFIG_BYTES, GPTBigCodeConfig, read_json_object
from gpt_bigcode.errors import (
    CheckpointError,
    CheckpointMismatchError,
    CheckpointMissingError,
    ConfigError,
    UnreadableFileError,
    UnsafeCheckpointError,
)
from gpt_bigcode.reading import open_checked, parse_json, read_checked

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
PREFIX = "transformer."
HEAD = "lm_head.weight"
TOKENS = "transformer.wte.weight"
_MAX_INDEX_BYTES = 16 << 20
_HEADS = ("lm_head.", "score.", "classifier.")
# Early conversions stored the causal mask and its fill value; both follow from the configuration.
MASK_BUFFER = re.compile(r"(^|\.)h\.\d+\.(cross)?attn\.(bias|masked_bias)$|^(transformer\.)?bias$")
_FIRST_NAMES = 5
_ID_BYTES = 16
_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100 << 20
_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Task(StrEnum):
    """What a checkpoint is loaded for: one of the reference's model classes."""

    TRUNK = "trunk"
    CAUSAL_LM = "causal-lm"
    SEQUENCE_CLASSIFICATION = "sequence-classification"
    TOKEN_CLASSIFICATION = "token-classification"  # noqa: S105 - a name, no password


HEADS = {
    Task.SEQUENCE_CLASSIFICATION: "score",
    Task.TOKEN_CLASSIFICATION: "classifier",
}
"""What the reference calls the head of each task."""
_KINDS = {
    "lm_head": "a language model",
    HEADS[Task.SEQUENCE_CLASSIFICATION]: "a classifier of whole texts",
    HEADS[Task.TOKEN_CLASSIFICATION]: "a classifier of single tokens",
}


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor is stored: a file, and its name and shape there."""

    path: Path
    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class RawTensor:
    """One tensor as stored in a file: the format's name of its type, its shape, its bytes."""

    kind: str
    shape: tuple[int, ...]
    data: memoryview


@contextmanager
def mapped_tensors(path: Path) -> Iterator[dict[str, RawTensor]]:
    """Map a safetensors file that `find_tensors` has checked; the bytes are unmapped on exit.

    The package safetensors copies every byte before NumPy converts it, which takes as long as
    reading the file.
    """
    with open_checked(path) as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as mapped:
        start = _LENGTH_BYTES + int.from_bytes(mapped[:_LENGTH_BYTES], "little")
        header = json.loads(mapped[_LENGTH_BYTES:start])
        header.pop("__metadata__", None)
        with memoryview(mapped) as whole:
            views = {
                name: RawTensor(
                    entry["dtype"], tuple(entry["shape"]), whole[start + first : start + last]
                )
                for name, entry in header.items()
                for first, last in [entry["data_offsets"]]
            }
            try:
                yield views
            finally:
                for view in views.values():
                    view.data.release()


def find_tensors(
    folder: Path,
    config: GPTBigCodeConfig,
    task: Task,
    same: Callable[[StoredTensor, StoredTensor], bool],
) -> dict[str, StoredTensor]:
    """Find every tensor that the model needs under the reference's full names.

    A tied head is left out: the model shares the token table with it.

    Args:
        folder: the checkpoint.
        config: its configuration.
        task: determines the head.
        same: whether two stored tensors hold the same numbers; called only for a tied head.

    Raises:
        CheckpointMissingError: no such directory or weights.
        UnsafeCheckpointError: only pickled weights are there.
        CheckpointError: a damaged file.
        CheckpointMismatchError: tensors missing, unexpected or misshapen; they are named.
    """
    stored = dict(_stored_tensors(folder, _checked_shapes))
    wanted = tensor_shapes(config, task)
    if task is Task.TRUNK:
        for name in [name for name in stored if name.startswith(_HEADS)]:
            del stored[name]
    if task is Task.CAUSAL_LM and config.tie_word_embeddings:
        _settle_tied_head(stored, same)
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
    return stored


def stored_names(folder: Path) -> frozenset[str]:
    """The full names of a checkpoint's tensors; only headers are read.

    Raises:
        CheckpointMissingError, UnsafeCheckpointError, CheckpointError: see `find_tensors`.
    """
    return frozenset(name for name, _ in _stored_tensors(folder, _claimed_shapes))


def stored_formats(folder: Path) -> frozenset[str]:
    """The number formats of a checkpoint's tensors, as the files name them: F32, BF16.

    Raises:
        CheckpointMissingError, UnsafeCheckpointError, CheckpointError: see `find_tensors`.
    """
    return frozenset(kind for path in weight_files(folder) for _, kind in _checked(path).values())


def tensor_shapes(config: GPTBigCodeConfig, task: Task) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a model's parameters, without a tied head."""
    width, labels = config.n_embd, config.label_count
    shapes: dict[str, tuple[int, ...]] = {
        "wte.weight": (config.vocab_size, width),
        "wpe.weight": (config.n_positions, width),
        **_norm("ln_f", width),
    }
    for layer in range(config.n_layer):
        shapes |= {f"h.{layer}.{name}": shape for name, shape in _block_shapes(config).items()}
    full = {PREFIX + name: shape for name, shape in shapes.items()}
    if task is Task.CAUSAL_LM and not config.tie_word_embeddings:
        full[HEAD] = (config.vocab_size, width)
    elif task is Task.SEQUENCE_CLASSIFICATION:
        full["score.weight"] = (labels, width)
    elif task is Task.TOKEN_CLASSIFICATION:
        full |= _linear("classifier", width, labels)
    return full


def _block_shapes(config: GPTBigCodeConfig) -> dict[str, tuple[int, ...]]:
    width, inner = config.n_embd, config.inner_dim
    key_value = 2 * config.kv_heads * config.head_dim
    shapes = {
        **_norm("ln_1", width),
        **_linear("attn.c_attn", width, width + key_value),
        **_linear("attn.c_proj", width, width),
        **_norm("ln_2", width),
        **_linear("mlp.c_fc", width, inner),
        **_linear("mlp.c_proj", inner, width),
    }
    if config.add_cross_attention:
        shapes |= {
            **_norm("ln_cross_attn", width),
            **_linear("crossattention.q_attn", width, width),
            **_linear("crossattention.c_attn", width, key_value),
            **_linear("crossattention.c_proj", width, width),
        }
    return shapes


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint: one, or the shards that its index names.

    Raises:
        CheckpointMissingError: there are none, or a shard is missing.
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
            raise CheckpointError(f"{index.name}: {name[:80]!r} is not a .safetensors file here")
    return sorted(names)


def _regular(path: Path) -> Path:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no such file"
        raise CheckpointMissingError(f"{path.parent / path.name[:80]}: {reason}") from None
    if not stat.S_ISREG(mode):
        raise CheckpointError(f"{path.name}: not a regular file")
    return path


def _stored_tensors(
    folder: Path, read: Callable[[Path], dict[str, tuple[int, ...]]]
) -> Iterator[tuple[str, StoredTensor]]:
    """The tensors of all files under full names, without the mask buffers.

    Args:
        folder: the checkpoint.
        read: gives the names and shapes of one file.
    """
    if not folder.is_dir():
        raise CheckpointMissingError(f"{folder}: no such directory")
    seen: dict[str, Path] = {}
    for path in weight_files(folder):
        for name, shape in read(path).items():
            if MASK_BUFFER.search(name):
                continue
            full = name if name.startswith((PREFIX, *_HEADS)) else PREFIX + name
            if full in seen:
                raise CheckpointMismatchError(
                    f"{full}: stored twice, in {seen[full].name} and {path.name}"
                )
            seen[full] = path
            yield full, StoredTensor(path, name, shape)


def _claimed_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes by the header alone; what is wrong with it, safetensors explains.

    That a process with no other use for NumPy does without: `safe_open` imports it.
    """
    try:
        with open_checked(path) as stream:
            length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
            entries = parse_json(stream.read(min(length, _MAX_HEADER_BYTES)))
        entries.pop("__metadata__", None)
        return {name: tuple(entry["shape"]) for name, entry in entries.items()}
    except (ValueError, TypeError, LookupError, AttributeError, UnreadableFileError):
        return _checked_shapes(path)


def _checked_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of one file, whose every offset is in order."""
    return {name: shape for name, (shape, _) in _checked(path).items()}


def _checked(path: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Name -> shape and number format."""
    try:
        with open_checked(path), safe_open(path, framework="np") as stream:
            parts = [(name, stream.get_slice(name)) for name in stream.keys()]  # noqa: SIM118
            return {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in parts}
    except (SafetensorError, OSError, UnreadableFileError) as error:
        from gpt_bigcode.checkpoint.not_weights import explained

        raise explained(path, error) from None


def _settle_tied_head(
    stored: dict[str, StoredTensor], same: Callable[[StoredTensor, StoredTensor], bool]
) -> None:
    """A tied head may be absent, stored instead of the token table, or equal to it."""
    head = stored.pop(HEAD, None)
    if head is None:
        return
    tokens = stored.setdefault(TOKENS, head)
    if tokens is not head and (tokens.shape != head.shape or not same(tokens, head)):
        raise CheckpointMismatchError(
            f"{HEAD}: differs from {TOKENS}, but the configuration ties them",
            hint="set tie_word_embeddings to false in config.json to use both",
        )


def _first(names: list[str]) -> str:
    if not names:
        return ""
    more = ", ..." if len(names) > _FIRST_NAMES else ""
    return f" ({', '.join(name[:80] for name in names[:_FIRST_NAMES])}{more})"


def require_head(directory: Path, task: Task) -> None:
    """Refuse a checkpoint of another kind, and say which kind it is.

    Raises:
        CheckpointMismatchError: it is a language model, or another classifier.
        CheckpointError: see `find_tensors`.
    """
    names = stored_names(directory)
    if f"{HEADS[task]}.weight" in names:
        return
    found = next((kind for head, kind in _KINDS.items() if f"{head}.weight" in names), None)
    kind = found or _KINDS["lm_head"]  # a tied head is not stored
    raise CheckpointMismatchError(
        f"is {kind}, not {_KINDS[HEADS[task]]}: it has no {HEADS[task]}.weight"
    )


def weights_id(folder: Path) -> str:
    """Identify the weights of a checkpoint by 32 hexadecimal digits.

    The id covers config.json and the weight files. A file of the Hugging Face cache is stored under
    the hash of its content, which is trusted. Any other file is identified by its device, inode,
    size and times in nanoseconds, of which the change time cannot be set back, and by its header
    with names and shapes: reading the whole file would take longer than quantizing it.

    Raises:
        CheckpointError: there are no weights.
        UnreadableFileError: they, or config.json, cannot be read.
    """
    config = read_checked(folder / CONFIG_FILE, max_bytes=MAX_CONFIG_BYTES)
    found = blake2b(config, digest_size=_ID_BYTES)
    for path in weight_files(folder):
        found.update(json.dumps(_identity(path.resolve())).encode())
    return found.hexdigest()


def _identity(path: Path) -> list[Any]:
    with open_checked(path) as stream:
        status = os.fstat(stream.fileno())
        if path.parent.name == "blobs" and _BLOB.fullmatch(path.name):
            return [path.name, status.st_size]
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        header = blake2b(stream.read(min(length, _MAX_HEADER_BYTES))).hexdigest()
    times = [status.st_mtime_ns, status.st_ctime_ns]
    return [status.st_dev, status.st_ino, status.st_size, *times, header]
