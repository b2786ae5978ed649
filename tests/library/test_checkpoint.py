"""Checkpoints go to the reference and back without a changed number, in every published layout."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpt_bigcode.checkpoint.loading import load_model, save_model
from gpt_bigcode.checkpoint.tensor_index import Task, tensor_shapes
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import CheckpointMismatchError
from gpt_bigcode.modeling.transformer import GPTBigCodeModel
from reference_models import (
    OUR_CLASSES,
    REFERENCE_CLASSES,
    deviation,
    make_ours,
    make_reference,
    tiny_fields,
    token_ids,
)

LIMIT = 1e-5
TASKS = sorted(OUR_CLASSES)
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
FIELDS = tiny_fields(num_labels=3, pad_token_id=7)
IDS = token_ids(1, 9)


@torch.no_grad()
def logits(model: Any) -> Tensor:
    return model(IDS).logits  # type: ignore[no-any-return]


def same_weights(one: Any, two: Any) -> bool:
    first, second = one.state_dict(), two.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("multi_query", [True, False])
@pytest.mark.parametrize("task", TASKS)
def test_from_us_to_the_reference(
    *, task: str, multi_query: bool, dtype: torch.dtype, tmp_path: Path
) -> None:
    ours = make_ours({**FIELDS, "multi_query": multi_query}, task, seed=1).to(dtype)
    save_model(ours, tmp_path)
    theirs, report = REFERENCE_CLASSES[task].from_pretrained(
        tmp_path, attn_implementation="eager", output_loading_info=True
    )
    assert not any(report.values()), report
    assert same_weights(ours, theirs)
    assert theirs.dtype == dtype
    assert deviation(logits(ours.float()), logits(theirs.float())) <= LIMIT


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("multi_query", [True, False])
@pytest.mark.parametrize("task", TASKS)
def test_from_the_reference_to_us(
    *, task: str, multi_query: bool, dtype: torch.dtype, tmp_path: Path
) -> None:
    theirs = make_reference({**FIELDS, "multi_query": multi_query}, task).to(dtype)
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path, task=task)
    assert same_weights(ours, theirs)
    assert not ours.training
    assert {value.dtype for value in ours.parameters()} == {dtype}
    assert deviation(logits(ours.float()), logits(theirs.float())) <= LIMIT


@pytest.mark.parametrize("task", TASKS)
def test_there_and_back(task: str, tmp_path: Path) -> None:
    ours = make_ours(FIELDS, task, seed=1)
    save_model(ours, tmp_path / "one")
    again: Any = load_model(tmp_path / "one", task=task)
    assert torch.equal(logits(again), logits(ours))
    assert again.config.to_dict().items() >= ours.config.to_dict().items()
    save_model(again, tmp_path / "two")
    for name in (WEIGHTS, "config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_trunk_alone(tmp_path: Path) -> None:
    theirs = make_reference(FIELDS)
    theirs.transformer.save_pretrained(tmp_path)
    trunk, whole = load_model(tmp_path, task="trunk"), load_model(tmp_path)
    assert isinstance(trunk, GPTBigCodeModel)
    with torch.no_grad():
        assert deviation(trunk(IDS).last_hidden_state, theirs.transformer(IDS)[0]) <= LIMIT
    assert deviation(logits(whole), logits(theirs)) <= LIMIT
    save_model(trunk, tmp_path / "again")
    assert same_weights(load_model(tmp_path / "again", task="trunk"), trunk)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_the_caller_chooses_the_type(dtype: torch.dtype, tmp_path: Path) -> None:
    ours = make_ours(FIELDS, seed=1)
    save_model(ours, tmp_path)
    loaded = load_model(tmp_path, dtype=dtype)
    assert {value.dtype for value in loaded.parameters()} == {dtype}
    assert same_weights(loaded, ours.to(dtype))


def test_the_tied_head_stays_one_tensor(tmp_path: Path) -> None:
    save_model(make_ours(FIELDS, seed=1), tmp_path)
    loaded: Any = load_model(tmp_path, dtype=torch.bfloat16)
    assert loaded.lm_head.weight is loaded.transformer.wte.weight
    assert "lm_head.weight" not in load_file(tmp_path / WEIGHTS)


def test_an_untied_head_goes_to_the_reference_and_back(tmp_path: Path) -> None:
    fields = {**FIELDS, "tie_word_embeddings": False}
    ours = make_ours(fields, seed=1)
    save_model(ours, tmp_path)
    theirs = REFERENCE_CLASSES["causal-lm"].from_pretrained(tmp_path, attn_implementation="eager")
    assert same_weights(ours, theirs)
    theirs.save_pretrained(tmp_path / "again")
    again: Any = load_model(tmp_path / "again")
    assert again.lm_head.weight is not again.transformer.wte.weight
    assert deviation(logits(again), logits(theirs)) <= LIMIT


def test_a_loaded_model_can_be_trained(tmp_path: Path) -> None:
    save_model(make_ours(FIELDS, seed=1), tmp_path)
    before = (tmp_path / WEIGHTS).read_bytes()
    model: Any = load_model(tmp_path)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        loss = model(IDS, labels=IDS, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert model.lm_head.weight is model.transformer.wte.weight
    assert (tmp_path / WEIGHTS).read_bytes() == before


def test_shards(tmp_path: Path) -> None:
    theirs = make_reference(FIELDS)
    theirs.save_pretrained(tmp_path, max_shard_size="8KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 3
    assert not (tmp_path / WEIGHTS).exists()
    assert same_weights(load_model(tmp_path), theirs)


def without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("transformer."): value for name, value in state.items()}


def with_mask_buffers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for layer in range(2):
        state[f"transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 64, 64, dtype=torch.bool)
        state[f"transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    return state | {"transformer.bias": torch.ones(64, 64, dtype=torch.bool).tril()}


def with_equal_head(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"lm_head.weight": state["transformer.wte.weight"].clone()}


def with_head_alone(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"lm_head.weight": state.pop("transformer.wte.weight")}


LAYOUTS: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    "no prefix": without_prefix,
    "mask buffers": with_mask_buffers,
    "mask buffers without prefix": lambda state: without_prefix(with_mask_buffers(state)),
    "head equal to the token table": with_equal_head,
    "head instead of the token table": with_head_alone,
    "head equal, no prefix": lambda state: without_prefix(with_equal_head(state)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_that_occur(layout: str, tmp_path: Path) -> None:
    ours = make_ours(FIELDS, seed=1)
    save_model(ours, tmp_path)
    state = LAYOUTS[layout](load_file(tmp_path / WEIGHTS))
    save_file(state, tmp_path / WEIGHTS)
    loaded: Any = load_model(tmp_path)
    assert same_weights(loaded, ours)
    assert loaded.lm_head.weight is loaded.transformer.wte.weight


def test_a_head_that_differs_although_it_is_tied(tmp_path: Path) -> None:
    save_model(make_ours(FIELDS, seed=1), tmp_path)
    state = with_equal_head(load_file(tmp_path / WEIGHTS))
    state["lm_head.weight"][52, 23] += 1e-3
    save_file(state, tmp_path / WEIGHTS)
    with pytest.raises(CheckpointMismatchError, match=r"lm_head.weight: differs") as caught:
        load_model(tmp_path)
    assert caught.value.hint is not None
    assert "tie_word_embeddings" in caught.value.hint
    change_config(tmp_path, tie_word_embeddings=False)
    assert torch.equal(load_model(tmp_path).state_dict()["lm_head.weight"], state["lm_head.weight"])


def test_a_head_that_the_index_lists_and_no_shard_has(tmp_path: Path) -> None:
    theirs = make_reference(FIELDS)
    theirs.save_pretrained(tmp_path, max_shard_size="8KB")
    index = json.loads((tmp_path / INDEX).read_text(encoding="utf-8"))
    index["weight_map"]["lm_head.weight"] = max(index["weight_map"].values())
    (tmp_path / INDEX).write_text(json.dumps(index), encoding="utf-8")
    assert same_weights(load_model(tmp_path), theirs)


def test_the_pickle_beside_safetensors_is_not_looked_at(tmp_path: Path) -> None:
    save_model(make_ours(FIELDS, seed=1), tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n")
    assert torch.equal(logits(load_model(tmp_path)), logits(make_ours(FIELDS, seed=1)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"multi_query": False},
        {"multi_query": False, "add_cross_attention": True, "num_labels": 5},
        {"tie_word_embeddings": False, "n_inner": None},
    ],
    ids=str,
)
def test_the_expected_tensors_are_those_of_the_models(changes: dict[str, Any]) -> None:
    config = GPTBigCodeConfig.from_dict(tiny_fields(**changes))
    for task, make in OUR_CLASSES.items():
        state = {name: tuple(value.shape) for name, value in make(config).state_dict().items()}
        if task == "causal-lm" and config.tie_word_embeddings:
            del state["lm_head.weight"]
        assert tensor_shapes(config, Task(task)) == state


@pytest.mark.parametrize("size", [0x10280, 0x10380, 0x10480])
def test_any_length_of_header(size: int, tmp_path: Path) -> None:
    """Files of these header sizes start like a pickle."""
    ours = make_ours(FIELDS, seed=1)
    save_model(ours, tmp_path)
    raw = (tmp_path / WEIGHTS).read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    stretched = size.to_bytes(8, "little") + raw[8:end].ljust(size) + raw[end:]
    assert stretched.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04"))
    (tmp_path / WEIGHTS).write_bytes(stretched)
    assert same_weights(load_model(tmp_path), ours)


def test_saving_replaces_files_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder"
    for seed in (1, 2):
        save_model(make_ours(FIELDS, seed=seed), target, license="apache-2.0")
    assert sorted(path.name for path in target.iterdir()) == ["config.json", WEIGHTS]
    assert same_weights(load_model(target), make_ours(FIELDS, seed=2))
    written = json.loads((target / "config.json").read_text(encoding="utf-8"))
    assert written["architectures"] == ["GPTBigCodeForCausalLM"]
    assert (written["dtype"], written["license"]) == ("float32", "apache-2.0")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((target / WEIGHTS).stat().st_mode) == 0o666 & ~umask


def test_a_failed_save_keeps_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(make_ours(FIELDS, seed=1), tmp_path)

    def fail(*_arguments: Any, **_settings: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gpt_bigcode.checkpoint.loading.save_file", fail)
    with pytest.raises(OSError, match="No space"):
        save_model(make_ours(FIELDS, seed=2), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", WEIGHTS]
    assert same_weights(load_model(tmp_path), make_ours(FIELDS, seed=1))


def test_loading_does_not_start_the_compiler(tmp_path: Path) -> None:
    """Initial values on the meta device would import torch._dynamo: two seconds for nothing."""
    save_model(make_ours(FIELDS, seed=1), tmp_path)
    script = (
        "import sys; from gpt_bigcode.checkpoint.loading import load_model\n"
        "load_model(sys.argv[1]); "
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def change_config(folder: Path, **changes: Any) -> None:
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**values, **changes}), encoding="utf-8")
