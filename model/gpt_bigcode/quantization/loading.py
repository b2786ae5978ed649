"""Loads a checkpoint with int8 or int4 matrices.

Matrices are read, quantized and packed one by one, so that peak memory is close to what the model
keeps. With a cache folder they are kept on disk and mapped at the next start.
"""

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor, nn

from gpt_bigcode.checkpoint.loading import (
    as_float,
    build_empty,
    fill,
    pieces_of,
    read_tensor,
    same_numbers,
)
from gpt_bigcode.checkpoint.tensor_index import (
    CONFIG_FILE,
    HEAD,
    PREFIX,
    TOKENS,
    StoredTensor,
    Task,
    find_tensors,
    weights_id,
)
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import NonFiniteError, UnreadableFileError
from gpt_bigcode.hardware import MATRIX_FLAGS, LoadingPolicy, Precision, cpu_flags
from gpt_bigcode.modeling.transformer import GPTBigCodeModel
from gpt_bigcode.quantization.cache_folder import quantized_cache
from gpt_bigcode.quantization.disk_cache import QuantizedTensors, TensorPlan
from gpt_bigcode.quantization.linear import (
    GROUP,
    INT4_ROWS,
    Int4Linear,
    Int8Forms,
    Int8Linear,
    StoredEmbedding,
    fits_int4,
    packing_of_int4,
    quantize_int4,
    quantize_int8,
)
from gpt_bigcode.quantization.packed_matrix import (
    PackedMatrix,
    can_map,
    packed_bytes,
    packing_of_int8,
)
from gpt_bigcode.storage.disk_cache import DiskCache

# Quantizing needs about six times a piece, which still fits into the cache.
_PIECE_BYTES = 1 << 20
_HEADS_OF_LABELS = frozenset({"score", "classifier"})


@dataclass(frozen=True)
class _Matrix:
    """A linear layer: its full name, where it is stored, and whether it gets 4 or 8 bits."""

    name: str
    weight: StoredTensor
    bias: StoredTensor | None
    four_bits: bool

    @property
    def plans(self) -> Mapping[str, TensorPlan]:
        """The tensors that it is quantized to, by what they are."""
        outputs, inputs = self.weight.shape
        if self.four_bits:
            return {
                "packed": self._plan("packed", torch.uint8, outputs, inputs // 2),
                "scales": self._plan("scales", torch.bfloat16, inputs // GROUP, outputs, 2),
            }
        return {
            "weight": self._plan("weight", torch.int8, outputs, inputs),
            "scale": self._plan("scale", torch.float32, outputs),
            "sums": self._plan("sums", torch.float32, outputs),
        }

    @property
    def kept_plans(self) -> Mapping[str, TensorPlan]:
        """Likewise, those that are kept on disk."""
        plans = dict(self.plans)
        outputs, inputs = self.weight.shape
        forms = Int8Forms.of(outputs, inputs)
        if self.four_bits or not forms.onednn or not can_map():
            return plans
        size = packed_bytes(outputs, inputs)
        kept = {"packed": self._plan("packed", torch.uint8, size), **plans}
        if not forms.fbgemm:
            del kept["weight"]
        return kept

    def _plan(self, part: str, dtype: torch.dtype, *shape: int) -> TensorPlan:
        return TensorPlan(f"{self.name}.{part}", dtype, shape)


def load_quantized(
    directory: Path,
    precision: Precision,
    *,
    task: Task = Task.CAUSAL_LM,
    policy: LoadingPolicy | None = None,
) -> nn.Module:
    """Load a checkpoint with int8 or int4 matrices, on the processor; all else is float32.

    With int4, the head of a language model gets 8 bits, as do matrices whose shape the operators
    do not accept. Classification heads stay float32. Embeddings stay as stored, mapped.

    Args:
        directory: as for `checkpoint.load_model`.
        precision: int8 or int4.
        task: the model class.
        policy: where quantized weights are cached.

    Returns:
        The model, in evaluation mode; it cannot be trained or saved.

    Raises:
        ConfigError, CheckpointError: as for `checkpoint.load_model`.
        NonFiniteError: NaN or infinity among the weights.
    """
    folder = Path(directory)
    config = GPTBigCodeConfig.from_json_file(folder / CONFIG_FILE)
    stored = find_tensors(folder, config, task, same_numbers)
    model = build_empty(config, task)
    prefix = PREFIX if isinstance(model, GPTBigCodeModel) else ""
    matrices = list(_matrices(model, prefix, stored, precision))
    source = _Quantized(matrices, policy or LoadingPolicy(), folder)
    with closing(source):
        for matrix, layer in source.layers():
            _put(model, matrix.name.removeprefix(prefix), layer)
    tables = [PREFIX + "wte", PREFIX + "wpe"]
    for table in tables:
        rows = StoredEmbedding(read_tensor(stored[f"{table}.weight"]))
        _put(model, table.removeprefix(prefix), rows)
    done = {*tables, *(matrix.name for matrix in matrices)}
    rest = {name: value for name, value in stored.items() if name.rpartition(".")[0] not in done}
    fill(model, rest, dtype=torch.float32, device=torch.device("cpu"))
    return model.eval()


def _matrices(
    model: nn.Module, prefix: str, stored: Mapping[str, StoredTensor], precision: Precision
) -> Iterator[_Matrix]:
    """The linear layers except classification heads; a tied head comes from the token table."""
    for place, module in model.named_modules():
        if not isinstance(module, nn.Linear) or place in _HEADS_OF_LABELS:
            continue
        name = prefix + place
        weight = stored.get(f"{name}.weight") or stored[TOKENS]
        is_head = f"{name}.weight" == HEAD
        four_bits = precision is Precision.INT4 and not is_head and fits_int4(*weight.shape)
        yield _Matrix(name, weight, stored.get(f"{name}.bias"), four_bits)


class _Quantized:
    """The quantized matrices of a checkpoint, from the cache or else quantized now."""

    def __init__(self, matrices: Sequence[_Matrix], policy: LoadingPolicy, folder: Path) -> None:
        self._matrices = matrices
        self._detail = policy.detail
        self._matrix_units = bool(MATRIX_FLAGS & cpu_flags())
        self._kept: QuantizedTensors | None = None
        if policy.cache_folder is not None:
            self._kept = self._open(quantized_cache(policy.cache_folder), folder)

    def _open(self, cache: DiskCache, folder: Path) -> QuantizedTensors | None:
        """All matrices in the cache; None where they cannot be stored."""
        plans = [plan for matrix in self._matrices for plan in matrix.kept_plans.values()]
        try:
            name = f"{weights_id(folder)}-{self._format_digest(plans)}"
        except UnreadableFileError:
            return None
        kept = QuantizedTensors.open(cache, name, plans)
        if kept is not None:
            self._detail(f"quantized weights from {cache.file(name)}")
            return kept
        values = (value for matrix in self._matrices for value in _quantize_and_pack(matrix))
        kept = QuantizedTensors.write(cache, name, plans, values)
        if kept is not None:
            self._detail(f"quantized weights are kept in {cache.file(name)}")
        else:
            self._detail(f"quantized weights cannot be kept in {cache.path}")
        return kept

    def _format_digest(self, plans: Sequence[TensorPlan]) -> str:
        """A digest of what else the bytes depend on: the tensors, and this processor's packing."""
        digest = blake2b(digest_size=12)
        digest.update(repr([(plan.name, str(plan.dtype), plan.shape) for plan in plans]).encode())
        if any(matrix.four_bits for matrix in self._matrices):
            digest.update(packing_of_int4())
        if any(not matrix.four_bits and "packed" in matrix.kept_plans for matrix in self._matrices):
            digest.update(packing_of_int8())
        return digest.hexdigest()

    def layers(self) -> Iterator[tuple[_Matrix, nn.Module]]:
        """All layers, the largest first: its second copy is made while little else is loaded.

        Packing 8 bits is one long loop per matrix, so cached matrices are packed in threads.
        """
        ordered = sorted(self._matrices, key=lambda matrix: -matrix.weight.shape[0])
        largest, others = ordered[:1], ordered[1:]
        yield from ((matrix, self._layer(matrix)) for matrix in largest)
        with ThreadPoolExecutor(1 if self._kept is None else torch.get_num_threads()) as pool:
            yield from zip(others, pool.map(self._layer, others), strict=True)

    def close(self) -> None:
        """Close the cache's file."""
        if self._kept is not None:
            self._kept.close()

    def _layer(self, matrix: _Matrix) -> nn.Module:
        bias = None if matrix.bias is None else read_tensor(matrix.bias).float()
        parts = _quantize(matrix) if self._kept is None else self._kept.map(matrix.kept_plans)
        if matrix.four_bits:
            return Int4Linear(
                parts["packed"], parts["scales"], bias=bias, matrix_units=self._matrix_units
            )
        packed = None
        if "packed" in parts:
            packed = PackedMatrix.of_bytes(parts["packed"], *matrix.weight.shape)
        layer = Int8Linear(
            *(parts.get("weight"), parts["scale"], parts["sums"]),
            bias=bias,
            matrix_units=self._matrix_units,
            packed=packed,
        )
        del parts
        _return_freed_memory()
        return layer


def _quantize_and_pack(matrix: _Matrix) -> Iterator[Tensor]:
    """The tensors of `kept_plans`."""
    made, plans = _quantize(matrix), matrix.kept_plans
    if not plans.keys() <= made.keys():
        made["packed"] = PackedMatrix.pack(made["weight"]).to_bytes()
    return (made[part] for part in plans)


def _quantize(matrix: _Matrix) -> dict[str, Tensor]:
    """The tensors of a matrix's plans, made from one piece at a time."""
    plans = matrix.plans
    made = {part: torch.empty(plan.shape, dtype=plan.dtype) for part, plan in plans.items()}
    quantize = quantize_int4 if matrix.four_bits else quantize_int8
    for start, piece in pieces_of(matrix.weight, multiple=INT4_ROWS, piece_bytes=_PIECE_BYTES):
        rows = slice(start, start + len(piece))
        try:
            values = quantize(as_float(matrix.name, piece))
        except NonFiniteError as error:
            raise NonFiniteError(f"{matrix.name}: {error}") from None
        for whole, part in zip(made.values(), values, strict=True):
            if whole.dim() == 3:
                whole[:, rows] = part
            else:
                whole[rows] = part
    return made


def _return_freed_memory() -> None:
    """Return freed memory: the C library would keep about a second copy of the weights."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU library only
    if trim is not None:
        trim(0)


def _put(model: nn.Module, place: str, module: nn.Module) -> None:
    parent, _, leaf = place.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)
