"""The recipes of both labelers: a small run learns, is killed, and goes on where it was."""

import json
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from gpt_bigcode.config import GPTBigCodeConfig
from training import trainer
from training.languages import shape as languages_shape
from training.languages import snippets
from training.languages import train as languages
from training.languages.labels import LABELS
from training.secret_tagger import shape as tagger_shape
from training.secret_tagger import train as tagger
from training.secret_tagger.tokens import TAGS
from training.train_tokenizer import train as train_tokenizer

VOCABULARY = 300
CODE = {
    "Python": "def width(item):\n    return item.width\n\n\n" * 30,
    "C": "int width(struct item *item) {\n  return item->width;\n}\n\n" * 30,
    "Shell": 'for item in "$@"; do\n  printf "%s\\n" "$item"\ndone\n\n' * 30,
}


@pytest.fixture(autouse=True)
def even_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of a second a step, however busy the machine is."""
    ticks = count(0.0, 0.2)
    clock = SimpleNamespace(monotonic=lambda: next(ticks), sleep=None)
    monkeypatch.setattr(trainer, "time", clock)


@pytest.fixture
def language_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    records = [{"label": name, "package": "p", "path": "q", "text": t} for name, t in CODE.items()]
    for split in ("train", "validation"):
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (tmp_path / f"{split}.jsonl").write_text(lines, "utf-8")
    tokenizer = train_tokenizer(list(CODE.values()), vocabulary=VOCABULARY)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for module in (languages, snippets):
        monkeypatch.setattr(module, "HOME", tmp_path)
    wide = replace(languages_shape.configuration(), vocab_size=VOCABULARY)
    small = replace(wide, n_embd=2 * len(LABELS), n_head=2, n_layer=1)
    monkeypatch.setattr(languages, "configuration", lambda: small)
    monkeypatch.setattr(languages, "SHAPES", ((6, 32), (3, 64)))
    return tmp_path


@pytest.fixture
def tagger_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stream in which every id is its own tag."""
    generator = np.random.default_rng(1)
    for split, size in (("train", 60_000), ("validation", 2_000)):
        ids = generator.integers(0, len(TAGS), size).astype(np.uint16)
        np.savez(tmp_path / f"{split}.npz", ids=ids, tags=ids.astype(np.uint8))
    (tmp_path / "tokenizer.json").write_text("{}", "utf-8")
    monkeypatch.setattr(tagger, "HOME", tmp_path)
    monkeypatch.setattr(tagger, "stream_path", lambda split: tmp_path / f"{split}.npz")
    monkeypatch.setattr(tagger, "begin", lambda *_args, **_named: None)
    monkeypatch.setattr(tagger, "load_tokenizer", lambda: SimpleNamespace(decode=lambda _ids: ""))

    def small(shape: tagger_shape.Shape) -> GPTBigCodeConfig:
        return replace(tagger_shape.configuration(shape), vocab_size=len(TAGS), n_positions=64)

    monkeypatch.setattr(tagger, "configuration", small)
    return tmp_path


def killed_and_resumed(
    main: Any, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> dict[str, Any]:
    """The report of a run that was stopped after a third of its budget."""
    monkeypatch.setattr(sys, "argv", ["train", *arguments, "--stop-after-minutes", "0.04"])
    main()
    first = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    main()
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert 0 < first["steps"] < report["steps"]
    assert report["validation"][: len(first["validation"])] == first["validation"]
    [machine] = report["machines"].values()
    assert machine["tokens"] == report["tokens"]
    return report


def test_the_classifier_learns_over_a_kill(
    language_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--minutes", "0.15", "--run", "a", "--cold"]
    report = killed_and_resumed(languages.main, arguments, monkeypatch, capsys)
    assert report["validation"][-1]["snippet_accuracy_averaged"] > 0.9
    assert json.loads((language_home / "runs" / "a" / "report.json").read_text()) == report
    warm = languages.LanguageRecipe(languages.parse(["--minutes", "1"]))
    warm.begin({})
    assert warm.measure()["snippet_accuracy"] > 0.9


def test_the_tagger_learns_over_a_kill(
    tagger_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = ["--width", "16", "--layers", "1", "--heads", "2", "--delay", "0"]
    arguments = ["--minutes", "0.4", "--run", "a", *shape]
    report = killed_and_resumed(tagger.main, arguments, monkeypatch, capsys)
    before, after = report["validation"][0]["loss"], report["validation"][-1]["loss_averaged"]
    assert after < 0.8 * before
    saved = torch.load(tagger_home / "runs" / "a" / "checkpoint.pt", weights_only=True)
    assert saved["reading"] == {"read": "once", "delay": 0}
    options = tagger.parse(["--minutes", "1", "--run", "b", "--begin-with", "a", *shape])
    other = tagger.TaggerRecipe(options)
    other.begin({})
    assert other.measure()["loss"] == pytest.approx(after, abs=1e-4)
    wider = tagger.TaggerRecipe(replace(options, width=32))
    with pytest.raises(SystemExit, match="another shape or way of reading"):
        wider.begin({})


@pytest.mark.parametrize("parse", [languages.parse, tagger.parse])
def test_a_labeler_needs_a_budget(parse: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([])
    assert "a budget is needed" in capsys.readouterr().err
