"""Damaged, foreign and hostile checkpoints are refused by name, and nothing in them runs."""

import json
import os
import pickle
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpt_bigcode.checkpoint.loading import load_model, save_model
from gpt_bigcode.errors import (
    CheckpointError,
    CheckpointMismatchError,
    CheckpointMissingError,
    ConfigError,
    UnsafeCheckpointError,
)
from reference_models import make_ours, make_reference, tiny_fields

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ATTENTION = "transformer.h.1.attn.c_attn.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound checkpoint of the multi-query language model."""
    save_model(make_ours(seed=1), tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_the_sound_one_loads(folder: Path) -> None:
    load_model(folder)


def file_of(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A safetensors file; a header of bytes is taken as it is."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def tensor(start: int, end: int, *, dtype: str = "F32", shape: Any = (4,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


SIXTEEN = bytes(16)
DUPLICATE = (
    b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'
    b'"a":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}}'
)
DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "one byte": b"\x00",
    "seven bytes": bytes(7),
    "header of no bytes": bytes(8),
    "header longer than the file": file_of({"a": tensor(0, 16)}, SIXTEEN, length=10_000),
    "header of 2^63 bytes": file_of({"a": tensor(0, 16)}, SIXTEEN, length=2**63),
    "header of 100,000,001 bytes": file_of({"a": tensor(0, 16)}, SIXTEEN, length=100_000_001),
    "header not UTF-8": file_of(b'{"\xff": 1}'),
    "header no JSON": file_of(b"{nothing}"),
    "header an array": file_of([1, 2]),
    "header nested 100,000 deep": file_of(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "tensors that overlap": file_of({f"t{i}": tensor(0, 16) for i in range(1000)}, SIXTEEN),
    "a hole": file_of({"a": tensor(0, 16), "b": tensor(20, 36)}, bytes(36)),
    "bytes after the end": file_of({"a": tensor(0, 16)}, bytes(20)),
    "bytes missing": file_of({"a": tensor(0, 16)}, bytes(12)),
    "offsets backwards": file_of({"a": tensor(16, 0)}, SIXTEEN),
    "offsets negative": file_of({"a": tensor(-16, 0)}, SIXTEEN),
    "shape larger than its bytes": file_of({"a": tensor(0, 16, shape=(5,))}, SIXTEEN),
    "shape beyond 64 bits": file_of({"a": tensor(0, 16, shape=(2**33, 2**33))}, SIXTEEN),
    "unknown type": file_of({"a": tensor(0, 16, dtype="F31")}, SIXTEEN),
    "shape of fractions": file_of({"a": tensor(0, 16, shape=(4.0,))}, SIXTEEN),
    "name twice": file_of(DUPLICATE, bytes(32)),
}


@pytest.mark.timing
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files(name: str, folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(DAMAGED[name])
    start = time.perf_counter()
    with pytest.raises(CheckpointError, match=r"^model.safetensors: ") as caught:
        load_model(folder)
    assert caught.value.slug == "model-corrupt"
    assert len(str(caught.value)) < 300
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, -1])
def test_files_cut_short(size: int, folder: Path) -> None:
    raw = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(raw[:size])
    with pytest.raises(CheckpointError, match=r"model.safetensors"):
        load_model(folder)


class Canary:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


FOREIGN = {
    "git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
    "HTML": b"<!DOCTYPE html>\n<html><body>Log in</body></html>",
    "an HTML page": b"  <html lang='en'><head></head></html>" + b" " * 100,
    "an XML page": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "GGUF": b"GGUF" + b"\3\0\0\0" * 20,
    "HDF5": b"\x89HDF\r\n\x1a\n" + b"\0" * 80,
    "gzip": b"\x1f\x8b\x08" + b"\0" * 80,
    "is a text": b'{"error":"Repository not found"}\n',
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_that_are_something_else(name: str, folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(FOREIGN[name])
    with pytest.raises(CheckpointError, match=name):
        load_model(folder)


@pytest.mark.parametrize("form", ["zip", "old", "raw 0", "raw 2", "raw 3", "raw 4", "raw 5"])
@pytest.mark.parametrize("name", [WEIGHTS, "pytorch_model.bin"])
def test_pickles_are_named_and_not_opened(name: str, form: str, folder: Path) -> None:
    canary = folder.parent / "canary"
    (folder / WEIGHTS).unlink()
    if form.startswith("raw"):
        raw = pickle.dumps(Canary(canary), protocol=int(form[-1]))
        (folder / name).write_bytes(raw)
    else:
        torch.save(Canary(canary), folder / name, _use_new_zipfile_serialization=form == "zip")
    protocol_0_has_no_mark = form == "raw 0" and name == WEIGHTS
    expected = CheckpointError if protocol_0_has_no_mark else UnsafeCheckpointError
    with pytest.raises(expected, match=name) as caught:
        load_model(folder)
    assert protocol_0_has_no_mark or "pickle" in str(caught.value)
    assert not canary.exists()


def test_the_canary_would_have_sung(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Canary(tmp_path / "canary")))  # noqa: S301 - made here
    assert (tmp_path / "canary").exists()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (Path.mkdir, CheckpointError),
        (make_fifo, CheckpointError),
        (lambda path: path.symlink_to("/dev/zero"), CheckpointError),
        (lambda path: path.symlink_to("nowhere"), CheckpointMissingError),
        (make_loop, CheckpointError),
        (lambda _path: None, CheckpointMissingError),
    ],
    ids=["folder", "pipe", "device", "dangling link", "link to itself", "nothing"],
)
@pytest.mark.parametrize("name", [WEIGHTS, INDEX])
def test_what_is_no_regular_file(
    name: str, make: Callable[[Path], None], expected: type[CheckpointError], folder: Path
) -> None:
    (folder / WEIGHTS).unlink()
    make(folder / name)
    with pytest.raises(expected, match="safetensors"):
        load_model(folder)


def test_there_is_no_folder_or_configuration(folder: Path) -> None:
    with pytest.raises(CheckpointMissingError):
        load_model(folder / "other")
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointMissingError, match=r"config.json"):
        load_model(folder)


def drop(state: dict[str, Tensor]) -> None:
    del state[ATTENTION]


def rename(state: dict[str, Tensor]) -> None:
    state["transformer.h.1.attn.c_atn.weight"] = state.pop(ATTENTION)


def turn(state: dict[str, Tensor]) -> None:
    state[ATTENTION] = state[ATTENTION].T.contiguous()


def cut(state: dict[str, Tensor]) -> None:
    state[ATTENTION] = state[ATTENTION][:-1].contiguous()


def add(state: dict[str, Tensor]) -> None:
    state["transformer.h.2.attn.c_attn.weight"] = state[ATTENTION].clone()


def add_bias(state: dict[str, Tensor]) -> None:
    state["lm_head.bias"] = torch.zeros(53)


def empty(state: dict[str, Tensor]) -> None:
    state.clear()


def twice(state: dict[str, Tensor]) -> None:
    state[ATTENTION.removeprefix("transformer.")] = state[ATTENTION].clone()


def whole_numbers(state: dict[str, Tensor]) -> None:
    state[ATTENTION] = state[ATTENTION].long()


def small_head(state: dict[str, Tensor]) -> None:
    state["lm_head.weight"] = state["transformer.wte.weight"][:50].clone()


MISMATCHES: dict[str, tuple[Callable[[dict[str, Tensor]], None], str]] = {
    "dropped": (drop, r"1 tensors missing \(transformer\.h\.1\.attn\.c_attn\.weight\), 0 unexp"),
    "renamed": (rename, r"1 tensors missing.*c_attn.*1 unexpected.*c_atn\.weight"),
    "transposed": (turn, r"h\.1\.attn\.c_attn\.weight: shape \[24, 40\], .* says \[40, 24\]"),
    "cut": (cut, r"h\.1\.attn\.c_attn\.weight: shape \[39, 24\]"),
    "a layer more": (add, r"0 tensors missing, 1 unexpected \(transformer\.h\.2\.attn"),
    "a bias of the head": (add_bias, r"1 unexpected \(lm_head\.bias\)"),
    "no tensors": (empty, r"28 tensors missing \(.*\.\.\.\), 0 unexpected"),
    "with and without prefix": (twice, r"h\.1\.attn\.c_attn\.weight: stored twice"),
    "integers": (whole_numbers, r"h\.1\.attn\.c_attn\.weight: .*int64"),
    "a smaller head": (small_head, r"lm_head\.weight: differs"),
}


@pytest.mark.parametrize("case", MISMATCHES)
def test_tensors_that_do_not_fit(case: str, folder: Path) -> None:
    change, message = MISMATCHES[case]
    state = load_file(folder / WEIGHTS)
    change(state)
    save_file(state, folder / WEIGHTS)
    with pytest.raises(CheckpointMismatchError, match=message):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_layer": 3}, "12 tensors missing"),
        ({"n_layer": 1}, "12 unexpected"),
        ({"multi_query": False}, "c_attn"),
        ({"vocab_size": 54}, "wte"),
        ({"n_positions": 63}, "wpe"),
        ({"n_inner": None}, "c_fc"),
        ({"tie_word_embeddings": False}, "lm_head"),
        ({"n_layer": 512, "n_embd": 65536, "n_head": 1, "vocab_size": 2**20}, "missing"),
    ],
    ids=str,
)
def test_a_configuration_of_another_model(
    changes: dict[str, Any], message: str, folder: Path
) -> None:
    (folder / "config.json").write_text(json.dumps(tiny_fields(**changes)), encoding="utf-8")
    with pytest.raises(CheckpointMismatchError, match=message):
        load_model(folder)


@pytest.mark.parametrize(
    ("task", "message"),
    [("sequence-classification", "score.weight"), ("token-classification", "classifier.weight")],
)
def test_a_head_that_is_not_there(task: str, message: str, folder: Path) -> None:
    with pytest.raises(CheckpointMismatchError, match=message):
        load_model(folder, task=task)


def test_code_beside_the_weights_is_not_run(folder: Path) -> None:
    canary = folder.parent / "canary"
    code = f"import pathlib\npathlib.Path({str(canary)!r}).touch()\nclass EvilModel: pass\n"
    (folder / "modeling_evil.py").write_text(code, encoding="utf-8")
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    named = {**values, "auto_map": {"AutoModelForCausalLM": "modeling_evil.EvilModel"}}
    (folder / "config.json").write_text(json.dumps(named), encoding="utf-8")
    load_model(folder)
    named["architectures"] = ["EvilModel"]
    (folder / "config.json").write_text(json.dumps(named), encoding="utf-8")
    with pytest.raises(ConfigError, match="EvilModel"):
        load_model(folder)
    assert not canary.exists()


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """The same model in several files, as the reference writes them."""
    make_reference(tiny_fields()).save_pretrained(tmp_path / "shards", max_shard_size="8KB")
    return tmp_path / "shards"


@pytest.mark.parametrize(
    "name",
    [
        "../model.safetensors",
        "/etc/passwd",
        "/etc/hosts.safetensors",
        "..",
        ".",
        "",
        "sub/model.safetensors",
        "model.safetensors/",
        "pytorch_model.bin",
        None,
        7,
        ["model.safetensors"],
        {"a": 1},
    ],
    ids=repr,
)
def test_shard_names_that_lead_elsewhere(name: Any, sharded: Path) -> None:
    name_shard(sharded, name)
    with pytest.raises(CheckpointError, match=r"index\.json: .* is not a \.safetensors file"):
        load_model(sharded)


@pytest.mark.parametrize("name", ["a\x00.safetensors", "x" * 300 + ".safetensors", "é" * 200])
def test_shard_names_that_no_file_can_have(name: str, sharded: Path) -> None:
    name_shard(sharded, name.removesuffix(".safetensors") + ".safetensors")
    with pytest.raises(CheckpointMissingError) as caught:
        load_model(sharded)
    assert len(str(caught.value)) < 500


def test_a_shard_outside_the_folder_is_not_read(sharded: Path) -> None:
    shard = name_shard(sharded, "../outside.safetensors")
    (sharded / shard).rename(sharded.parent / "outside.safetensors")
    index = (sharded / INDEX).read_text(encoding="utf-8")
    (sharded / INDEX).write_text(index.replace(shard, "../outside.safetensors"), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"outside\.safetensors' is not a \.safetensors file"):
        load_model(sharded)


def name_shard(sharded: Path, name: Any) -> str:
    """Let the index say that one tensor lies in another file; returns the name that it had."""
    index = json.loads((sharded / INDEX).read_text(encoding="utf-8"))
    before = index["weight_map"][ATTENTION]
    index["weight_map"][ATTENTION] = name
    (sharded / INDEX).write_text(json.dumps(index), encoding="utf-8")
    return str(before)


INDICES: dict[str, bytes] = {
    "empty": b"",
    "an array": b"[]",
    "no map": b"{}",
    "an empty map": b'{"weight_map": {}}',
    "a map of the wrong kind": b'{"weight_map": ["a"]}',
    "deep": b"[" * 100_000,
    "too large": b'{"weight_map": {"a": "' + b"x" * (17 << 20) + b'"}}',
}


@pytest.mark.parametrize("name", INDICES)
def test_damaged_indices(name: str, sharded: Path) -> None:
    (sharded / INDEX).write_bytes(INDICES[name])
    with pytest.raises(CheckpointError, match=r"index\.json") as caught:
        load_model(sharded)
    assert caught.value.slug == "model-corrupt"


def test_a_shard_is_missing_or_forgotten(sharded: Path) -> None:
    index = json.loads((sharded / INDEX).read_text(encoding="utf-8"))
    shard = index["weight_map"][ATTENTION]
    kept = {key: name for key, name in index["weight_map"].items() if name != shard}
    (sharded / INDEX).write_text(json.dumps({"weight_map": kept}), encoding="utf-8")
    with pytest.raises(CheckpointMismatchError, match=r"missing.*h\.1\.attn\.c_attn\.weight"):
        load_model(sharded)
    (sharded / INDEX).write_text(json.dumps(index), encoding="utf-8")
    load_model(sharded)
    (sharded / shard).unlink()
    with pytest.raises(CheckpointMissingError, match=shard):
        load_model(sharded)


def test_a_tensor_in_two_shards(sharded: Path) -> None:
    first = min(sharded.glob("model-*.safetensors"))
    save_file({**load_file(first), ATTENTION: torch.zeros(40, 24)}, first)
    with pytest.raises(CheckpointMismatchError, match=r"c_attn\.weight: stored twice"):
        load_model(sharded)
