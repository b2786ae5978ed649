"""Scores of the language classifier: temperature, calibration error, and where `unknown` begins."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gpt_bigcode.labeling.text_classifier import TextClassifier
from training.languages import calibration, cases, evaluate
from training.languages.calibration import (
    FOREIGN_UNKNOWN,
    best_temperature,
    calibration_error,
    tempered,
    threshold_for,
)

MODEL = Path(__file__).parents[2] / "model" / "pocket_languages"
PYTHON = "import os\n\n\ndef size(path):\n    return os.path.getsize(path)\n"
ELM = "module Main exposing (main)\n\nmain =\n    text (greet model)\n\nview x = div [] [x]\n"


def test_scores_that_say_how_often_they_are_right_have_no_error() -> None:
    right = [True] * 9 + [False]
    assert calibration_error([0.9] * 10, right) == pytest.approx(0)
    assert calibration_error([0.5] * 10, right) == pytest.approx(0.4)
    assert calibration_error([1.0], [False]) == 1


def test_a_temperature_makes_sure_answers_less_sure() -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(4000, 3))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([generator.choice(3, p=row) for row in shares])
    overconfident = tempered(shares, 0.5)
    found = best_temperature([(overconfident, labels)])
    assert found == pytest.approx(2.0, rel=0.1)
    assert np.allclose(tempered(overconfident, 2.0), shares, atol=1e-9)


def test_the_threshold_leaves_enough_foreign_texts_unknown() -> None:
    scores = np.linspace(0.3, 0.8, 101)
    foreign = np.stack([scores, 1 - scores, np.zeros(101)], axis=1)
    threshold = threshold_for(foreign, None)
    below = (foreign.max(axis=1) < threshold).mean()
    assert below == pytest.approx(FOREIGN_UNKNOWN, abs=0.02)
    # What the model itself calls unknown needs no threshold.
    assert threshold_for(foreign, 0) < threshold


def test_a_label_that_is_not_sure_is_said_to_be_unknown() -> None:
    assert evaluate.said([("C", 0.7), ("Go", 0.2)], 0.5) == ["C", "unknown"]


def test_both_are_compared_where_the_peer_has_a_label() -> None:
    asked = [cases.Case("C", "p", "1"), cases.Case("Nix", "p", "2")]
    told = evaluate.on_labels_of_peer(asked, ["C", "Nix"], ["C++", "unknown"])
    assert (told["ours"]["cases"], told["ours"]["share"], told["magika"]["share"]) == (1, 1.0, 0.0)


def test_a_checkpoint_is_calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers stay, its scores change, and config.json says from which on they count."""
    records = [
        {"label": label, "package": "p", "path": str(number), "text": text * (number + 1)}
        for label, text in (("Python", PYTHON), ("unknown/Elm", ELM))
        for number in range(3)
    ]
    monkeypatch.setattr(calibration, "read_records", lambda _: records)
    folder = tmp_path / "model"
    shutil.copytree(MODEL, folder)
    told = calibration.calibrate(folder, each=3, seed=1)
    before, after = (TextClassifier.load(path).classify(PYTHON) for path in (MODEL, folder))
    assert json.loads((folder / "config.json").read_text("utf-8"))["classification"] == {
        "threshold": told["threshold"]
    }
    assert TextClassifier.load(folder).threshold == told["threshold"]
    assert after.label == before.label == "Python"
    assert after.score is not None
    assert before.score is not None
    assert (after.score > before.score) == (told["temperature"] < 1)
    wanted = tempered(np.array([before.values]), told["temperature"])[0]
    assert np.allclose(after.values, wanted, atol=0.01)
