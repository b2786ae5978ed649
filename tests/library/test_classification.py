"""Texts of any length get one label, pooled over windows; a batch gives what each text gives."""

import json
import math
import random
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from gpt_bigcode.backends.numpy_heads import NumpyLabeler
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import (
    CheckpointMismatchError,
    ConfigError,
    InputError,
    NonFiniteError,
    TokenizerError,
)
from gpt_bigcode.labeling.description import threshold_of
from gpt_bigcode.labeling.results import Classification, Problem
from gpt_bigcode.labeling.text_classifier import TextClassifier
from gpt_bigcode.windowing.classify_windows import ClassifyWindows
from reference_models import make_reference, tiny_fields
from windows_of import grown, windows_of

CONTEXT = 64
NAMES = ("Python", "C", "Ruby", "größer")
SAMPLE = 'def area(w, h):\n    return w * h  # "größer 😀 日本語"\n\n'
TEXTS = ("x", "\n", "a b\r\n", "é中😀", SAMPLE, SAMPLE * 3, SAMPLE * 9, "word " * 300)
Make = Callable[..., Path]


@pytest.fixture(scope="module")
def make(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """`make(num_labels=1)`: a classifier saved by the reference, with our tiny tokenizer."""

    def save(task: str = "sequence-classification", **changes: Any) -> Path:
        folder = tmp_path_factory.mktemp("models") / "classifier"
        values = json.loads((tiny_checkpoint / "config.json").read_text("utf-8"))
        sizes = {"vocab_size": values["vocab_size"], "n_positions": CONTEXT, "pad_token_id": 0}
        labels = {
            "id2label": dict(enumerate(NAMES)),
            "label2id": {n: i for i, n in enumerate(NAMES)},
        }
        model = make_reference(tiny_fields(**{**sizes, **labels, **changes}), task, seed=5, std=0.3)
        model.save_pretrained(folder)
        shutil.copy(tiny_checkpoint / "tokenizer.json", folder)
        return folder

    return save


@pytest.fixture(scope="module")
def folder(make: Make) -> Path:
    return make()


@pytest.fixture(params=["numpy", "torch"])
def model(
    request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> TextClassifier:
    if request.param == "torch":
        monkeypatch.setattr("gpt_bigcode.loading.MAX_INSTANT_BYTES", 0)
    loaded = TextClassifier.load(folder)
    assert isinstance(loaded.labeler, NumpyLabeler) is (request.param == "numpy")
    return loaded


def naive(folder: Path, text: str) -> tuple[list[float], int]:
    """Probabilities and windows by the reference, one window after the other."""
    model = TextClassifier.load(folder)
    peer: Any = transformers.GPTBigCodeForSequenceClassification.from_pretrained(
        folder, attn_implementation="eager"
    )
    peer.eval().config.pad_token_id = None
    ids = model.tokenizer.encode(text)
    sizes = []
    left = len(ids)
    while left > 2 * CONTEXT:
        sizes.append(CONTEXT)
        left -= CONTEXT
    sizes += [left] if left <= CONTEXT else [left - left // 2, left // 2]
    total, start = torch.zeros(len(NAMES), dtype=torch.float64), 0
    for size in sizes:
        with torch.no_grad():
            logits = peer(torch.tensor([ids[start : start + size]])).logits[0].double()
        total += size * logits.log_softmax(-1)
        start += size
    pooled: list[float] = (total / len(ids)).softmax(-1).tolist()
    return pooled, len(sizes)


def test_g2_every_window_of_a_long_file_counts(model: TextClassifier, folder: Path) -> None:
    for text in TEXTS:
        got = model.classify(text)
        expected, windows = naive(folder, text)
        assert got.names == NAMES
        assert got.values == pytest.approx(expected, abs=1e-5)
        assert got.windows == windows
        assert got.bytes == len(text.encode())
        assert got.tokens == len(model.tokenizer.encode(text))
        assert sum(got.values) == pytest.approx(1, abs=1e-12)
        best = max(range(len(NAMES)), key=lambda place: expected[place])
        assert got.label == NAMES[best]
        assert got.score == pytest.approx(expected[best], abs=1e-5)


def test_g1_a_batch_is_its_texts_alone_in_any_order(model: TextClassifier) -> None:
    alone = [model.classify(text) for text in TEXTS]
    order = list(range(len(TEXTS))) * 2
    random.Random(4).shuffle(order)
    together = list(model.classify_many([TEXTS[place]] for place in order))
    for place, got in zip(order, together, strict=True):
        assert isinstance(got, Classification)
        assert got.values == pytest.approx(alone[place].values, abs=1e-5)
        assert (got.label, got.windows) == (alone[place].label, alone[place].windows)
    assert len({result.label for result in alone}) > 1


def test_both_engines_say_the_same_of_many_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(9)
    texts = ["".join(draw.sample(SAMPLE * 12, draw.randint(1, 400))) for _ in range(80)]
    first = list(TextClassifier.load(folder, threads=2).classify_many([text] for text in texts))
    monkeypatch.setattr("gpt_bigcode.loading.MAX_INSTANT_BYTES", 0)
    other = TextClassifier.load(folder)
    assert not isinstance(other.labeler, NumpyLabeler)
    second = list(other.classify_many([text] for text in texts))
    assert len(first) == len(second) == 80
    for text, one, two in zip(texts, first, second, strict=True):
        assert isinstance(one, Classification)
        assert isinstance(two, Classification)
        assert one.bytes == two.bytes == len(text.encode())
        assert one.values == pytest.approx(two.values, abs=1e-5)
    assert len({one.values for one in first if isinstance(one, Classification)}) == 80


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_pieces_may_end_anywhere(size: int, folder: Path) -> None:
    model = TextClassifier.load(folder)
    text = "\ufeff" + SAMPLE * 9
    cut = (text[start : start + size] for start in range(0, len(text), size))
    whole = model.classify(text, windows=True)
    assert list(model.classify_many([cut], windows=True)) == [whole]
    assert whole.values == model.classify(text[1:]).values


def test_g2_windows_tile_the_file(model: TextClassifier) -> None:
    text = "\ufeff" + SAMPLE * 9
    got = model.classify(text, windows=True)
    parts = got.window_labels
    assert len(parts) == got.windows > 4
    assert parts[0].start == 3  # after the byte order mark
    assert parts[-1].end == len(text.encode())
    for before, after in pairwise(parts):
        assert before.end == after.start
    assert sum(part.tokens for part in parts) == got.tokens
    assert all(CONTEXT // 2 <= part.tokens <= CONTEXT for part in parts)
    pooled = sum(np.log(part.values) * part.tokens for part in parts) / got.tokens
    expected = np.exp(pooled) / np.exp(pooled).sum()
    assert got.values == pytest.approx(expected, abs=1e-6)
    assert model.classify(text).window_labels == ()


def test_d1_windows_never_exceed_the_context() -> None:
    for context in (1, 2, 3, 64):
        for length in (0, 1, context - 1, context, context + 1, 2 * context, 10 * context + 1):
            windows = windows_of(ClassifyWindows(context), length)
            sizes = [window.stop - window.start for window in windows]
            assert sum(sizes) == length
            assert all(1 <= size <= context for size in sizes)
            assert length <= context or min(sizes) >= context // 2
            assert len(sizes) == math.ceil(length / context) or length == 0
            assert grown(ClassifyWindows(context), length, 1) == windows


@pytest.mark.parametrize(
    ("field", "threshold"),
    [(None, 0.5), ({}, 0.5), ({"threshold": 0.7}, 0.7), ({"threshold": 1}, 1.0)],
)
def test_a_checkpoint_says_from_which_score_on_its_labels_count(
    field: object, threshold: float
) -> None:
    extra = {} if field is None else {"classification": field}
    assert (
        threshold_of(GPTBigCodeConfig.from_dict({"n_embd": 8, "n_head": 2, **extra})) == threshold
    )


@pytest.mark.parametrize(
    "field",
    [[], {"treshold": 0.5}, {"threshold": "0.5"}, {"threshold": 2}, {"threshold": True}],
)
def test_a_threshold_that_is_none_is_refused(field: object) -> None:
    config = GPTBigCodeConfig.from_dict({"n_embd": 8, "n_head": 2, "classification": field})
    with pytest.raises(ConfigError, match="classification"):
        threshold_of(config)


def test_nothing_has_no_label(model: TextClassifier) -> None:
    for text in ("", "\ufeff"):
        got = model.classify(text, windows=True)
        assert (got.label, got.score, got.values, got.windows) == (None, None, (), 0)
        assert (got.ranked, got.labels, got.window_labels) == ([], [], ())


def test_several_labels(make: Make) -> None:
    folder = make(problem_type="multi_label_classification")
    model = TextClassifier.load(folder)
    assert model.problem is Problem.MULTI_LABEL
    got = model.classify(SAMPLE * 9, windows=True)
    logits = [np.log(part.values) - np.log1p(-np.array(part.values)) for part in got.window_labels]
    weights = [part.tokens / got.tokens for part in got.window_labels]
    mean = sum(weight * values for weight, values in zip(weights, logits, strict=True))
    assert got.values == pytest.approx(1 / (1 + np.exp(-mean)), abs=1e-5)
    holding = {name for name, value in zip(NAMES, got.values, strict=True) if value >= 0.5}
    assert {name for name, _ in got.labels} == holding
    assert got.labels == sorted(got.labels, key=lambda pair: -pair[1])
    assert 0 < len(holding) < len(NAMES)


@pytest.mark.parametrize("changes", [{}, {"problem_type": "regression"}])
def test_a_regression_is_a_number(changes: dict[str, Any], make: Make) -> None:
    folder = make(id2label={0: "quality"}, label2id={"quality": 0}, **changes)
    model = TextClassifier.load(folder)
    assert model.problem is Problem.REGRESSION
    got = model.classify(SAMPLE * 9, windows=True)
    expected = sum(part.values[0] * part.tokens for part in got.window_labels) / got.tokens
    assert got.number == pytest.approx(expected)
    assert (got.label, got.score, got.labels) == (None, None, [])
    assert got.ranked == [("quality", got.number)]
    ids = model.tokenizer.encode(SAMPLE)
    assert model.classify(SAMPLE).number == pytest.approx(
        float(model.labeler.sequence_logits([ids])[0][0])
    )


def test_names_of_labels(make: Make) -> None:
    plain = make(id2label=None, label2id=None, num_labels=3)
    assert TextClassifier.load(plain).names == ("LABEL_0", "LABEL_1", "LABEL_2")
    twins = make(id2label={0: "a", 1: "a"}, label2id={"a": 0})
    with pytest.raises(ConfigError, match="two labels are called 'a'"):
        TextClassifier.load(twins)


def test_one_bad_text_does_not_stop_the_others(model: TextClassifier) -> None:
    def broken() -> Iterator[str]:
        yield SAMPLE
        raise InputError("gone")

    first, second, third, last = model.classify_many([["x"], broken(), ["\ud800"], ["x"]])
    assert isinstance(first, Classification)
    assert isinstance(second, InputError)
    assert isinstance(third, InputError)
    assert isinstance(last, Classification)
    assert first.values == pytest.approx(last.values, abs=1e-5)
    with pytest.raises(InputError, match="lone surrogate"):
        model.classify("\ud800")


def test_a_result_does_not_wait_for_a_long_text_behind_it(model: TextClassifier) -> None:
    read: list[int] = []

    def endless() -> Iterator[str]:
        while len(read) < 10_000:
            read.append(1)
            yield "word " * 100

    outcomes = model.classify_many([["x"], endless()])
    assert isinstance(next(outcomes), Classification)
    assert len(read) < 1000


def test_special_tokens_of_a_text_are_text(model: TextClassifier) -> None:
    ids = model.tokenizer.encode("<|endoftext|>")
    assert 0 not in ids
    assert model.classify("<|endoftext|>").tokens == len(ids)


def test_other_checkpoints_are_refused(make: Make, tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointMismatchError, match="is a language model"):
        TextClassifier.load(tiny_checkpoint)
    with pytest.raises(CheckpointMismatchError, match="is a classifier of single tokens"):
        TextClassifier.load(make("token-classification"))
    small = make(vocab_size=100)
    with pytest.raises(TokenizerError, match="the model's vocabulary has 100 tokens"):
        TextClassifier.load(small)


def test_nan_ends_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = TextClassifier.load(folder)
    monkeypatch.setattr(model.labeler, "_weight", np.full((4, 24), np.nan, np.float32))
    with pytest.raises(NonFiniteError):
        model.classify("x")


def test_rows_are_read_in_batches_of_similar_length(
    model: TextClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many texts there are, no batch is larger than the engine likes."""
    batches: list[list[int]] = []
    compute = model.labeler.sequence_logits

    def spy(rows: Any) -> Any:
        batches.append([len(row) for row in rows])
        return compute(rows)

    monkeypatch.setattr(type(model.labeler), "batch_tokens", 128)
    monkeypatch.setattr(model.labeler, "sequence_logits", spy)
    texts = [SAMPLE[: 3 + number % 40] for number in range(200)]
    got = list(model.classify_many([text] for text in texts))
    assert len(got) == 200
    assert all(len(lengths) * max(lengths) <= 128 or len(lengths) == 1 for lengths in batches)
    assert sum(map(len, batches)) == 200
    assert max(map(len, batches)) > 3
