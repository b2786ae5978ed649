"""Makes a checkpoint's scores say how often it is right, and finds from which one on to believe it.

Run as `python -m training.languages.calibration DIR` on an exported
checkpoint: the head is scaled and config.json gets the threshold, by the validation split alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.torch import load_file, save_file

from gpt_bigcode.labeling.description import FIELD
from gpt_bigcode.labeling.languages import UNKNOWN
from gpt_bigcode.labeling.text_classifier import TextClassifier
from training.languages import cases as held_out
from training.languages.snippets import read_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.languages.cases import Case

    Scores = NDArray[np.float64]

BINS = 15
# Of the texts in languages that were never trained on, how many shall be `unknown`.
FOREIGN_UNKNOWN = 0.85
# Of the whole files, the most that it tells rightly and may not name for that.
FILES_LOST = 0.02
LOWEST, HIGHEST = 0.2, 0.9
_TEMPERATURES = np.geomspace(0.5, 2.5, 81)
_HEAD = "score.weight"
_LEAST = 1e-30


def scores_of(model: TextClassifier, cases: Sequence[Case]) -> Scores:
    """What the model says of each text, [N, L]."""
    outcomes = list(model.classify_many([case.text] for case in cases))
    failed = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    if failed:
        raise failed[0]
    return np.array([o.values for o in outcomes if not isinstance(o, Exception)])


def tempered(scores: Scores, temperature: float) -> Scores:
    """The scores [N, L] of the same model with its head divided by a temperature."""
    logits = np.log(np.maximum(scores, _LEAST)) / temperature
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def best_temperature(groups: Sequence[tuple[Scores, NDArray[np.int64]]]) -> float:
    """With the lowest cross-entropy; each group of scores [N, L] and labels [N] counts alike."""

    def loss(temperature: float) -> float:
        means = [
            -np.log(tempered(scores, temperature)[np.arange(len(labels)), labels] + _LEAST).mean()
            for scores, labels in groups
        ]
        return float(np.mean(means))

    return float(min(_TEMPERATURES, key=loss))


def calibration_error(confidence: Sequence[float], right: Sequence[bool]) -> float:
    """How far scores and shares of right answers are apart: the mean over equally wide bins."""
    sure, hits = np.asarray(confidence), np.asarray(right, dtype=float)
    places = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = [abs(sure[places == place].sum() - hits[places == place].sum()) for place in range(BINS)]
    return float(sum(gaps) / max(1, len(sure)))


def threshold_for(foreign: Scores, unknown: int | None) -> float:
    """From which score on a label is named, so that enough of the foreign texts have none."""
    best = foreign.max(axis=1)
    if unknown is not None:
        best = np.where(foreign.argmax(axis=1) == unknown, 0.0, best)
    return round(float(np.clip(np.quantile(best, FOREIGN_UNKNOWN), LOWEST, HIGHEST)), 2)


def affordable(scores: Scores, labels: NDArray[np.int64]) -> float:
    """The threshold that takes FILES_LOST of the texts [N, L], [N] that are told rightly."""
    right = np.sort(scores.max(axis=1)[scores.argmax(axis=1) == labels])
    place = min(int(FILES_LOST * len(labels)), len(right) - 1)
    return round(float(np.clip(right[place], LOWEST, HIGHEST)), 2)


def calibrate(directory: Path, *, each: int, seed: int) -> dict[str, Any]:
    """Scale the head and write the threshold; returns what was found."""
    model = TextClassifier.load(directory, threads=1)
    known, foreign = held_out.known_and_foreign(read_records("validation"), model.names)
    places = {name: place for place, name in enumerate(model.names)}
    kinds = (
        held_out.files(known, each, seed),
        held_out.snippets(known, each, seed, lines=10),
        held_out.snippets(known, each, seed, lines=3),
    )
    groups = [
        (scores_of(model, cases), np.array([places[case.label] for case in cases]))
        for cases in kinds
        if cases
    ]
    temperature = best_temperature(groups)
    others = held_out.files(foreign, each, seed) + held_out.snippets(foreign, each, seed, lines=10)
    scores = tempered(scores_of(model, others), temperature)
    wanted = threshold_for(scores, places.get(UNKNOWN))
    threshold = min(wanted, affordable(tempered(groups[0][0], temperature), groups[0][1]))
    weights = load_file(directory / "model.safetensors")
    weights[_HEAD] = (weights[_HEAD].float() / temperature).to(weights[_HEAD].dtype).contiguous()
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    path = directory / "config.json"
    values = json.loads(path.read_text("utf-8")) | {FIELD: {"threshold": threshold}}
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")
    return {
        "temperature": round(temperature, 3),
        "threshold": threshold,
        "wanted": wanted,
        "foreign": len(others),
    }


def main() -> None:
    """Reads the options, calibrates, prints the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--each", type=int, default=12, help="texts of a language and kind")
    parser.add_argument("--seed", type=int, default=4)
    options = parser.parse_args()
    print(json.dumps(calibrate(options.directory, each=options.each, seed=options.seed), indent=1))


if __name__ == "__main__":
    main()
