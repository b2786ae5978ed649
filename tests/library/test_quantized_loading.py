"""Whole models of 8 and 4 bits: near the float model, kept on disk, damaged, shared, removed."""

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gpt_bigcode.backends.interfaces import ScoredRow
from gpt_bigcode.backends.torch_heads import TorchScorer
from gpt_bigcode.checkpoint.loading import load_model
from gpt_bigcode.checkpoint.tensor_index import Task
from gpt_bigcode.errors import CheckpointError, NonFiniteError
from gpt_bigcode.hardware import LoadingPolicy, Precision
from gpt_bigcode.quantization import linear, loading, packed_matrix
from gpt_bigcode.quantization.linear import Int4Linear, Int8Linear
from gpt_bigcode.quantization.loading import load_quantized
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

BUILT_IN = Path(__file__).parents[2] / "model" / "pocket_coder"
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module", params=["multi-query", "multi-head", "untied"])
def folder(request: pytest.FixtureRequest, make_checkpoint: Callable[..., Path]) -> Path:
    fields: dict[str, Any] = {"n_embd": 64, "initializer_range": 0.2}
    fields["multi_query"] = request.param != "multi-head"
    fields["tie_word_embeddings"] = request.param != "untied"
    return make_checkpoint(f"quantized-{request.param}", **fields)


@pytest.fixture(scope="module")
def plain_folder(make_checkpoint: Callable[..., Path]) -> Path:
    return make_checkpoint("quantized", n_embd=64, initializer_range=0.2)


@pytest.fixture
def checkpoint(plain_folder: Path, tmp_path: Path) -> Path:
    """A copy whose weights a test may change."""
    copy = tmp_path / "checkpoint"
    copy.mkdir()
    for path in plain_folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        ids = torch.arange(40, 100).view(2, 30)
        result: torch.Tensor = model(ids).logits
        return result


def error(folder: Path, precision: Precision) -> float:
    wanted = logits(load_model(folder, dtype=torch.float32))
    found = logits(load_quantized(folder, precision))
    return float((found - wanted).norm() / wanted.norm())


def test_logits_are_near_those_of_the_float_model(folder: Path) -> None:
    assert error(folder, Precision.INT8) < 0.06
    assert error(folder, Precision.INT4) < 0.4


def test_what_gets_how_many_bits(folder: Path) -> None:
    model: Any = load_quantized(folder, Precision.INT4)
    assert isinstance(model.lm_head, Int8Linear)
    assert isinstance(model.transformer.h[0].mlp.c_fc, Int4Linear)
    assert not any(isinstance(module, torch.nn.Linear) for module in model.modules())
    table = model.transformer.wte
    assert table.weight.dtype == torch.float32  # as it is stored
    assert not any(value.is_meta for value in model.parameters())


@pytest.mark.parametrize(
    ("task", "head"),
    [(Task.SEQUENCE_CLASSIFICATION, "score"), (Task.TOKEN_CLASSIFICATION, "classifier")],
)
def test_heads_for_labels_stay_float(checkpoint: Path, task: Task, head: str) -> None:
    tensors = load_file(checkpoint / WEIGHTS)
    tensors.pop("lm_head.weight", None)
    tensors[f"{head}.weight"] = torch.ones(2, 64)
    if task is Task.TOKEN_CLASSIFICATION:
        tensors[f"{head}.bias"] = torch.ones(2)
    save_file(tensors, checkpoint / WEIGHTS)
    model: Any = load_quantized(checkpoint, Precision.INT8, task=task)
    assert isinstance(model.get_submodule(head), torch.nn.Linear)
    assert isinstance(model.transformer.h[0].attn.c_attn, Int8Linear)
    trunk: Any = load_quantized(checkpoint, Precision.INT8, task=Task.TRUNK)
    assert isinstance(trunk.h[0].attn.c_attn, Int8Linear)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
def test_half_precision_files(checkpoint: Path, stored: torch.dtype) -> None:
    tensors = load_file(checkpoint / WEIGHTS)
    save_file({name: value.to(stored) for name, value in tensors.items()}, checkpoint / WEIGHTS)
    assert error(checkpoint, Precision.INT8) < 0.06
    model: Any = load_quantized(checkpoint, Precision.INT8)
    assert model.transformer.wte.weight.dtype == stored
    assert model.transformer.ln_f.weight.dtype == torch.float32


def test_weights_that_are_not_finite_are_named(checkpoint: Path, tmp_path: Path) -> None:
    tensors = load_file(checkpoint / WEIGHTS)
    tensors["transformer.h.1.mlp.c_fc.weight"][3, 3] = float("nan")
    save_file(tensors, checkpoint / WEIGHTS)
    for cache in (None, tmp_path / "cache"):
        with pytest.raises(NonFiniteError, match=r"h\.1\.mlp\.c_fc"):
            load_quantized(checkpoint, Precision.INT8, policy=LoadingPolicy(cache_folder=cache))
    assert not list((tmp_path / "cache").glob("*.safetensors"))
    assert not list((tmp_path / "cache").glob(".*"))


class Kept:
    """A folder of quantized weights, and what was said about it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []

    def load(self, checkpoint: Path, precision: Precision = Precision.INT8) -> torch.Tensor:
        self.said.clear()
        policy = LoadingPolicy(cache_folder=self.folder, detail=self.said.append)
        return logits(load_quantized(checkpoint, precision, policy=policy))

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.safetensors"))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "cache" / "weights")


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT4])
def test_kept_weights_compute_the_same(precision: Precision, checkpoint: Path, kept: Kept) -> None:
    anew = logits(load_quantized(checkpoint, precision))
    assert torch.equal(kept.load(checkpoint, precision), anew)
    assert kept.said[-1].startswith("quantized weights are kept in ")
    made = kept.files[0].stat().st_ino
    assert torch.equal(kept.load(checkpoint, precision), anew)
    assert kept.said == [f"quantized weights from {kept.files[0]}"]
    assert kept.files[0].stat().st_ino == made
    assert stat.S_IMODE(kept.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(kept.files[0].stat().st_mode) == 0o600


@pytest.mark.parametrize("small", [0, 1 << 30])
@pytest.mark.parametrize("maps", [True, False])
def test_the_form_that_is_kept_changes_no_number(
    small: int,
    maps: bool,  # noqa: FBT001
    checkpoint: Path,
    kept: Kept,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Matrices for oneDNN alone or for FBGEMM too; packed in the file or at each start."""
    monkeypatch.setattr(linear, "_SMALL_MATRIX", small)
    monkeypatch.setattr(loading, "can_map", lambda: maps and packed_matrix.can_map())
    ids = torch.arange(40, 190).view(2, 75)  # many rows, and few
    for wanted in (ids, ids[:, :3]):
        found = []
        for folder in (None, kept.folder, kept.folder):
            policy = LoadingPolicy(cache_folder=folder)
            model: Any = load_quantized(checkpoint, Precision.INT8, policy=policy)
            with torch.inference_mode():
                found.append(model(wanted).logits)
        assert torch.equal(found[0], found[1])
        assert torch.equal(found[0], found[2])


def test_each_precision_has_its_own_file(checkpoint: Path, kept: Kept) -> None:
    kept.load(checkpoint, Precision.INT8)
    kept.load(checkpoint, Precision.INT4)
    assert len(kept.files) == 2


def test_changed_weights_are_never_taken_from_the_disk(checkpoint: Path, kept: Kept) -> None:
    before = kept.load(checkpoint)
    path = checkpoint / WEIGHTS
    status = path.stat()
    data = path.read_bytes()
    # Same size, header, times and inode: only the change time tells.
    with path.open("r+b") as stream:
        stream.seek(-4096, os.SEEK_END)
        stream.write(data[-8192:-4096])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    after = kept.load(checkpoint)
    assert not torch.equal(after, before)
    assert torch.equal(after, logits(load_quantized(checkpoint, Precision.INT8)))


def test_a_file_of_the_hubs_cache_is_known_by_its_content(checkpoint: Path, kept: Kept) -> None:
    blobs = checkpoint.parent / "blobs"
    blobs.mkdir()
    first, second = blobs / ("a" * 64), blobs / ("b" * 64)
    first.write_bytes((checkpoint / WEIGHTS).read_bytes())
    second.write_bytes((checkpoint / WEIGHTS).read_bytes())
    (checkpoint / WEIGHTS).unlink()
    (checkpoint / WEIGHTS).symlink_to(first)
    kept.load(checkpoint)
    os.utime(first, ns=(1, 1))
    kept.load(checkpoint)
    assert len(kept.files) == 1
    (checkpoint / WEIGHTS).unlink()
    (checkpoint / WEIGHTS).symlink_to(second)
    kept.load(checkpoint)
    assert len(kept.files) == 2


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip_in_the_middle(data: bytes) -> bytes:
    """One bit of the largest tensor, far from its ends."""
    place = data.index(b"}}") + (len(data) - data.index(b"}}")) // 2
    return data[:place] + bytes([data[place] ^ 0x80]) + data[place + 1 :]


@pytest.mark.parametrize("damage", [cut, flip_in_the_middle, lambda _: b"", lambda _: b"\xff" * 99])
def test_a_damaged_file_is_made_anew(
    damage: Callable[[bytes], bytes], checkpoint: Path, kept: Kept
) -> None:
    whole = kept.load(checkpoint)
    path = kept.files[0]
    path.write_bytes(damage(path.read_bytes()))
    assert torch.equal(kept.load(checkpoint), whole)
    assert kept.said[-1].startswith("quantized weights are kept in ")
    assert torch.equal(kept.load(checkpoint), whole)
    assert kept.said == [f"quantized weights from {path}"]


def test_a_file_that_others_may_write_to_is_not_read(checkpoint: Path, kept: Kept) -> None:
    whole = kept.load(checkpoint)
    kept.files[0].chmod(0o666)
    assert torch.equal(kept.load(checkpoint), whole)
    assert not kept.said[-1].startswith("quantized weights from ")


def test_without_a_place_it_works_all_the_same(checkpoint: Path, tmp_path: Path) -> None:
    anew = logits(load_quantized(checkpoint, Precision.INT8))
    blocked = Kept(tmp_path / "file" / "weights")
    (tmp_path / "file").write_text("in the way", "utf-8")
    assert torch.equal(blocked.load(checkpoint), anew)
    assert blocked.said == [f"quantized weights cannot be kept in {blocked.folder}"]


def test_a_full_disk_leaves_nothing_behind(
    checkpoint: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    anew = logits(load_quantized(checkpoint, Precision.INT8))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert torch.equal(kept.load(checkpoint), anew)
    assert [path.name for path in kept.folder.iterdir()] == ["key"]


def test_the_oldest_files_make_room(
    checkpoint: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.load(checkpoint)
    old = kept.files[0]
    os.utime(old, (1, 1))
    orphan = kept.folder / f".{old.name}.partial"
    orphan.write_bytes(b"left by a killed process")
    os.utime(orphan, (1, 1))
    monkeypatch.setattr(
        "gpt_bigcode.quantization.cache_folder._LIMIT_BYTES", old.stat().st_size + 1000
    )
    kept.load(checkpoint, Precision.INT4)
    assert len(kept.files) == 1
    assert old not in kept.files
    assert not orphan.exists()


def test_many_at_once_read_whole_files_only(checkpoint: Path, kept: Kept) -> None:
    anew = logits(load_quantized(checkpoint, Precision.INT8))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: Kept(kept.folder).load(checkpoint), range(8)))
    assert all(torch.equal(value, anew) for value in found)
    assert len(kept.files) == 1
    assert not list(kept.folder.glob(".*"))


def test_a_damaged_checkpoint_is_still_an_error(checkpoint: Path, kept: Kept) -> None:
    kept.load(checkpoint)
    (checkpoint / WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        kept.load(checkpoint)


def test_bits_per_byte_of_the_built_in_model_in_int8() -> None:
    tokenizer = CodeTokenizer.from_file(BUILT_IN / "tokenizer.json")
    text = Path(__file__).read_text("utf-8")[:1500]
    ids = [tokenizer.end_of_text_id, *tokenizer.encode(text)]

    def bits(model: Any) -> float:
        scored = TorchScorer(model).log_probabilities([ScoredRow(ids, 1)])[0]
        return float(-scored.sum())

    wanted = bits(load_model(BUILT_IN, dtype=torch.float32))
    assert bits(load_quantized(BUILT_IN, Precision.INT8)) == pytest.approx(wanted, rel=0.005)
    assert bits(load_quantized(BUILT_IN, Precision.INT4)) == pytest.approx(wanted, rel=0.05)
