"""Pickles and other layouts become safetensors: values, types, files; and what is refused."""

import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from gpt_bigcode.checkpoint.conversion import convert_weights, read_config
from gpt_bigcode.checkpoint.loading import load_model
from gpt_bigcode.checkpoint.pickle_reader import read_pickle
from gpt_bigcode.errors import CheckpointError, CheckpointMismatchError, UnsafeCheckpointError
from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM
from reference_models import deviation, token_ids
from test_santacoder import ORIGINAL, original_logits, original_tensors

PICKLE = "pytorch_model.bin"


def converted(source: Path, files: list[str], target: Path, **options: Any) -> torch.nn.Module:
    """Convert a folder and load the result."""
    target.mkdir()
    fields, _ = read_config(source)
    convert_weights(source, files, target, **options)
    (target / "config.json").write_text(json.dumps(fields), "utf-8")
    return load_model(target, dtype=torch.float32)


def write_config(folder: Path, fields: dict[str, Any]) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(fields), "utf-8")


@pytest.mark.parametrize("apart", [True, False], ids=["q_attn and kv_attn", "c_attn"])
@pytest.mark.parametrize("files", ["one", "shards"])
def test_the_original_santacoder(apart: bool, files: str, tmp_path: Path) -> None:  # noqa: FBT001
    source = tmp_path / "source"
    write_config(source, ORIGINAL)
    state = original_tensors(apart=apart)
    names = sorted(state)
    parts = [names] if files == "one" else [names[::2], names[1::2]]
    for number, part in enumerate(parts):
        torch.save({name: state[name] for name in part}, source / f"{number}.bin")
    model = converted(source, [f"{n}.bin" for n in range(len(parts))], tmp_path / "target")
    assert isinstance(model, GPTBigCodeForCausalLM)
    ids = token_ids(2, 9)
    assert deviation(model(ids).logits, original_logits(state, ids)) < 1e-5
    assert [path.name for path in (tmp_path / "target").glob("*.safetensors")] == [
        "model.safetensors"
    ]


def test_the_multi_head_branch_is_gpt2(tmp_path: Path) -> None:
    """Its numbers come from transformers' GPT-2, which stores projections as that branch does."""
    source = tmp_path / "source"
    keep = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner")
    sizes = {name: ORIGINAL[name] for name in keep}
    torch.manual_seed(2)
    config = transformers.GPT2Config(**sizes, activation_function="gelu_new")
    peer = transformers.GPT2LMHeadModel(config)
    peer.eval()  # type: ignore[no-untyped-call]
    for value in peer.parameters():
        torch.nn.init.normal_(value, std=0.3)
    write_config(source, {**ORIGINAL, "attention_head_type": "multihead"})
    torch.save(peer.state_dict(), source / PICKLE)
    model = converted(source, [PICKLE], tmp_path / "target")
    ids = token_ids(2, 9)
    with torch.no_grad():
        assert deviation(model(ids).logits, peer(ids).logits) < 1e-5


def test_large_weights_become_shards(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_config(source, ORIGINAL)
    state = original_tensors(apart=True)
    torch.save(state, source / PICKLE)
    written: list[int] = []
    whole = converted(source, [PICKLE], tmp_path / "whole")
    split = converted(
        source, [PICKLE], tmp_path / "split", max_shard_bytes=8000, advance=written.append
    )
    names = sorted(path.name for path in (tmp_path / "split").glob("*.safetensors"))
    assert names == [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    expected = whole.state_dict()
    assert sum(written) == sum(
        value.numel() * 4 for name, value in expected.items() if name != "lm_head.weight"
    )
    for name, value in split.state_dict().items():
        assert torch.equal(value, expected[name])


def test_a_head_that_differs_although_it_is_tied(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_config(source, ORIGINAL)
    state = original_tensors(apart=True)
    state["lm_head.weight"][0, 0] += 1
    torch.save(state, source / PICKLE)
    (tmp_path / "target").mkdir()
    with pytest.raises(CheckpointMismatchError, match=r"lm_head\.weight: differs"):
        convert_weights(source, [PICKLE], tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []


class Payload:
    """Runs a command when it is unpickled carelessly."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self._canary}",)


@pytest.mark.parametrize("form", ["archive", "archive in a list", "legacy", "raw"])
def test_13_code_is_not_run(form: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / PICKLE
    content = {"a": torch.zeros(2), "b": Payload(canary)}
    if form == "raw":
        path.write_bytes(pickle.dumps(content))
    elif form == "legacy":
        torch.save(content, path, _use_new_zipfile_serialization=False)
    else:
        torch.save([content] if "list" in form else content, path)
    with pytest.raises(UnsafeCheckpointError) as caught:
        read_pickle(path)
    assert "weights_only" not in str(caught.value) + str(caught.value.hint)
    assert not canary.exists()
    if form == "archive":  # the canary would have sung
        torch.load(path, weights_only=False)
        assert canary.exists()


def test_15_what_unpacks_to_more_than_it_is(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "plain")
    with (
        zipfile.ZipFile(tmp_path / "plain") as old,
        zipfile.ZipFile(tmp_path / PICKLE, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    with pytest.raises(UnsafeCheckpointError, match="unpacks to 4,0"):
        read_pickle(tmp_path / PICKLE)


@pytest.mark.parametrize(
    "content",
    [
        [torch.zeros(2)],
        {"a": 1},
        {1: torch.zeros(2)},
        {"a": torch.zeros(1).expand(1000)},
        {"a": torch.zeros(2, 2).to_sparse()},
        {"a": torch.zeros(2, device="meta")},
    ],
    ids=["list", "number", "name", "expanded", "sparse", "meta"],
)
def test_what_is_no_plain_tensor(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / PICKLE)
    with pytest.raises(CheckpointError):
        read_pickle(tmp_path / PICKLE)


@pytest.mark.parametrize("cut", [0, 10, 500, -200])
def test_a_damaged_archive(cut: int, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(100)}, tmp_path / PICKLE)
    data = (tmp_path / PICKLE).read_bytes()
    (tmp_path / PICKLE).write_bytes(data[:cut])
    with pytest.raises(CheckpointError):
        read_pickle(tmp_path / PICKLE)
