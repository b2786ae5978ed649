"""Classification heads behind one interface: the reference's logits, whatever stands in a batch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gpt_bigcode.backends.interfaces import Labeler, Logits
from gpt_bigcode.backends.numpy_heads import NumpyLabeler
from gpt_bigcode.backends.torch_heads import TorchLabeler
from gpt_bigcode.checkpoint.tensor_index import Task
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import (
    CheckpointMismatchError,
    CheckpointMissingError,
    ContextError,
    DeviceError,
    InputError,
    NonFiniteError,
    OptionError,
)
from gpt_bigcode.loading import MAX_INSTANT_BYTES, open_labeler
from reference_models import make_reference, tiny_fields, token_ids

SEQUENCE, TOKEN = Task.SEQUENCE_CLASSIFICATION, Task.TOKEN_CLASSIFICATION
PAD, CONTEXT, LABELS = 7, 300, 5
LIMIT = 1e-5
LENGTHS = (9, 1, 2, 300, 17, 257, 9)


def save(folder: Path, task: str, *, multi_query: bool = True, **fields: Any) -> Any:
    """A random model of the reference, saved by the reference."""
    sizes = {"n_positions": CONTEXT, "num_labels": LABELS, "pad_token_id": PAD}
    chosen = tiny_fields(**{**sizes, "multi_query": multi_query, **fields})
    model = make_reference(chosen, task, seed=3, std=0.3)
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module", params=[True, False], ids=["multi-query", "multi-head"])
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("classifiers")
    for task in (SEQUENCE, TOKEN):
        save(place / task, task, multi_query=request.param)
    return place


@pytest.fixture(params=["numpy", "torch"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    """Which engine the next labeler must be made of."""
    if request.param == "numpy":
        return NumpyLabeler
    monkeypatch.setattr("gpt_bigcode.loading.MAX_INSTANT_BYTES", 0)
    return TorchLabeler


def load(folder: Path, task: Task, engine: type[Any] | None = None, **options: Any) -> Labeler:
    config = GPTBigCodeConfig.from_json_file(folder / "config.json")
    labeler = open_labeler(folder, config, task=task, **options)
    assert engine is None or type(labeler) is engine
    return labeler


def rows_of(lengths: Sequence[int]) -> list[list[int]]:
    ids = token_ids(len(lengths), max(lengths))
    rows = [row[:length] for row, length in zip(ids.tolist(), lengths, strict=True)]
    rows[0][-1] = PAD  # the end of the text, and no padding
    rows[-1][4] = PAD
    return rows


def logits(labeler: Labeler, task: Task, rows: Sequence[Sequence[int]]) -> list[Logits]:
    if task is SEQUENCE:
        return labeler.sequence_logits(rows)
    return labeler.token_logits(rows)


def reference_logits(folder: Path, task: Task, row: Sequence[int]) -> Logits:
    """The reference's own class, one row at a time, told that every token is real."""
    import transformers

    classes: dict[Task, Any] = {
        SEQUENCE: transformers.GPTBigCodeForSequenceClassification,
        TOKEN: transformers.GPTBigCodeForTokenClassification,
    }
    model = classes[task].from_pretrained(folder, attn_implementation="eager").eval()
    model.config.pad_token_id = None  # it would pool before the last token that looks like it
    ids = torch.tensor([list(row)])
    with torch.no_grad():
        values: Logits = model(ids, attention_mask=torch.ones_like(ids)).logits[0].numpy()
    return values


@pytest.mark.parametrize("task", [SEQUENCE, TOKEN])
def test_g1_logits_are_the_references(folders: Path, task: Task, engine: type[Any]) -> None:
    labeler = load(folders / task, task, engine)
    assert (labeler.label_count, labeler.context_length, labeler.vocabulary_size) == (
        *(LABELS, CONTEXT, 53),
    )
    rows = rows_of(LENGTHS)
    for row, got in zip(rows, logits(labeler, task, rows), strict=True):
        expected = reference_logits(folders / task, task, row)
        assert got.dtype == np.float32
        assert (
            got.shape == expected.shape == ((LABELS,) if task is SEQUENCE else (len(row), LABELS))
        )
        assert np.abs(got - expected).max() < LIMIT * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("task", [SEQUENCE, TOKEN])
def test_g1_a_batch_is_its_rows_alone_in_any_order(
    folders: Path, task: Task, engine: type[Any]
) -> None:
    labeler = load(folders / task, task, engine)
    rows = rows_of(LENGTHS)
    alone = [logits(labeler, task, [row])[0] for row in rows]
    for order in ([0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0], [3, 1], [2, 2, 0]):
        together = logits(labeler, task, [rows[place] for place in order])
        for place, got in zip(order, together, strict=True):
            assert np.abs(got - alone[place]).max() < LIMIT
    assert np.abs(alone[0] - alone[6][: len(alone[0])]).max() > 0.01  # rows do differ
    assert logits(labeler, task, []) == []


def test_g1_the_last_token_counts_even_if_it_is_the_padding_id(
    folders: Path, engine: type[Any]
) -> None:
    labeler = load(folders / SEQUENCE, SEQUENCE, engine)
    text = [11, 12, 13]
    whole, shorter = labeler.sequence_logits([[*text, PAD], text])
    assert np.abs(whole - shorter).max() > 0.01


@pytest.mark.parametrize("task", [SEQUENCE, TOKEN])
def test_rows_that_cannot_be_read(folders: Path, task: Task, engine: type[Any]) -> None:
    labeler = load(folders / task, task, engine)
    with pytest.raises(InputError, match="without tokens"):
        logits(labeler, task, [[1], []])
    with pytest.raises(ContextError, match="300 positions"):
        logits(labeler, task, [[1] * (CONTEXT + 1)])
    with pytest.raises(InputError, match=r"0\.\.52"):
        logits(labeler, task, [[53]])


@pytest.mark.parametrize(
    ("stored", "wanted", "message"),
    [
        ("causal-lm", SEQUENCE, "is a language model, not a classifier of whole texts"),
        ("causal-lm", TOKEN, "is a language model, not a classifier of single tokens"),
        (TOKEN, SEQUENCE, "is a classifier of single tokens, .* it has no score.weight"),
        (SEQUENCE, TOKEN, "is a classifier of whole texts, .* it has no classifier.weight"),
    ],
)
def test_another_kind_of_checkpoint_is_refused_by_name(
    stored: str, wanted: Task, message: str, tmp_path: Path
) -> None:
    save(tmp_path / "model", stored)
    with pytest.raises(CheckpointMismatchError, match=message):
        load(tmp_path / "model", wanted)


def test_faults_of_a_checkpoint_and_of_options(tmp_path: Path, engine: type[Any]) -> None:
    folder = tmp_path / "model"
    save(folder, SEQUENCE)
    with pytest.raises(OptionError, match="threads"):
        load(folder, SEQUENCE, threads=0)
    with pytest.raises(DeviceError, match="precision"):
        load(folder, SEQUENCE, precision="float12")
    tensors = load_file(folder / "model.safetensors")
    tensors["score.weight"][2, 3] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(NonFiniteError):
        load(folder, SEQUENCE, engine).sequence_logits([[1, 2]])
    tensors["score.weight"] = torch.zeros(LABELS + 1, 24)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointMismatchError, match=r"score\.weight: shape \[6, 24\]"):
        load(folder, SEQUENCE, engine)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointMissingError):
        load(folder, SEQUENCE, engine)


def test_dropout_is_off_and_precision_is_chosen(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save(folder, TOKEN, classifier_dropout=0.9)
    exact = load(folder, TOKEN).token_logits([[1, 2, 3]])[0]
    rough = load(folder, TOKEN, TorchLabeler, precision="bfloat16").token_logits([[1, 2, 3]])[0]
    assert 0 < np.abs(rough - exact).max() < 0.1 * np.abs(exact).max()


def test_small_checkpoints_are_computed_without_torch(folders: Path) -> None:
    assert (folders / SEQUENCE / "model.safetensors").stat().st_size < MAX_INSTANT_BYTES
    load(folders / SEQUENCE, SEQUENCE, NumpyLabeler)
