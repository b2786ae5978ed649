"""Writes the tagger's checkpoint directory, with the thresholds of its labels in the head's bias.

Run as `python -m training.secret_tagger.export --target DIR`. Knows the validation cases, never the
test. Raising O's bias, or lowering a label's, trades recall for precision; no reader needs to know.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gpt_bigcode.checkpoint.loading import save_model
from gpt_bigcode.modeling.heads import GPTBigCodeForTokenClassification
from gpt_bigcode.windowing.tag_windows import SpanMode
from training.export import write_tokenizer
from training.output import note
from training.secret_tagger import cases, tokens
from training.secret_tagger.build import load_tokenizer
from training.secret_tagger.planting import LABELS
from training.secret_tagger.reading import Reading, ReadMode
from training.secret_tagger.scoring import Tally, ignorable
from training.secret_tagger.shape import Shape, configuration
from training.secret_tagger.sources import HOME
from training.secret_tagger.spotting import findings_of_logits, token_logits

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from training.secret_tagger.planting import Planted

OFFSETS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
# Every fifth case is enough to tune six numbers; planted Python and other files alternate.
EVERY = 5
# One false span more in 1,000 clean lines costs as much as this much F1.
FALSE_SPAN_COST = 0.1


def restore(
    path: Path, *, averaged: bool = True
) -> tuple[GPTBigCodeForTokenClassification, Reading]:
    """The model in a training checkpoint and how it is read."""
    saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    model = GPTBigCodeForTokenClassification(configuration(Shape(**saved["shape"])))
    model.load_state_dict(saved["model"])
    if averaged and saved["average"]:
        model.load_state_dict(saved["average"], strict=False)
    reading = Reading(ReadMode(saved["reading"]["read"]), saved["reading"]["delay"])
    return model.eval(), reading


class Tuner:
    """Logits of the validation cases, and what an offset on each label's logits makes of them."""

    def __init__(
        self, model: GPTBigCodeForTokenClassification, reading: Reading, tokenizer: Tokenizer
    ) -> None:
        self.offsets = np.zeros(len(tokens.TAGS), dtype=np.float32)
        self._planted: list[tuple[Planted, list[tuple[int, int]], np.ndarray]] = []
        self._clean = list(self._planted)
        self._lines = 0
        for case in cases.load("validation")[::EVERY]:
            encoding = tokenizer.encode(case.planted.text)
            logits = token_logits(model, reading, encoding.ids)
            entry = (case.planted, encoding.offsets, logits)
            if case.kind.startswith("clean"):
                self._clean.append(entry)
                self._lines += case.planted.text.count("\n")
            else:
                self._planted.append(entry)

    def tune(self) -> dict[str, float]:
        """The best subtraction from each label's logits, one label after the other, twice."""
        chosen = dict.fromkeys(LABELS, 0.0)
        for label in LABELS * 2:
            chosen[label] = max(
                OFFSETS, key=lambda value: self.worth(chosen | {label: value}, label)
            )
            note(f"{label}: {chosen[label]}")
        return chosen

    def worth(self, offsets: dict[str, float], label: str) -> float:
        """F1 of a label on the planted cases less the cost of false spans on clean ones."""
        shift = shift_of(offsets)
        tally = Tally()
        for planted, places, logits in self._planted:
            tally.add(planted, findings_of_logits(planted.text, places, logits - shift))
        false = 0
        for planted, places, logits in self._clean:
            given = findings_of_logits(planted.text, places, logits - shift)
            false += sum(f.label == label and not ignorable(f, planted) for f in given)
        f1: float = tally.report()[label]["exact"]["f1"]
        return f1 - FALSE_SPAN_COST * false * 1000 / max(1, self._lines)


def shift_of(offsets: dict[str, float]) -> np.ndarray:
    """What is subtracted from the logits of the tags."""
    return np.array([0.0, *(offsets[label] for label in LABELS for _ in "BI")], dtype=np.float32)


def main() -> None:
    """Reads the options, tunes, exports, prints what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--run", default="pocket-secrets")
    parser.add_argument("--last", action="store_true", help="the last weights, not the average")
    parser.add_argument("--plain", action="store_true", help="without tuned thresholds")
    options = parser.parse_args()
    path = HOME / "runs" / options.run / "checkpoint.pt"
    model, reading = restore(path, averaged=not options.last)
    offsets = dict.fromkeys(LABELS, 0.0)
    if not options.plain:
        offsets = Tuner(model, reading, load_tokenizer()).tune()
        with torch.no_grad():
            model.classifier.bias.sub_(torch.from_numpy(shift_of(offsets)))
    tagging: dict[str, Any] = {"read": reading.mode.value, "spans": SpanMode.BEST_PATH.value}
    if reading.mode is ReadMode.ONCE:
        tagging["delay"] = reading.delay
    save_model(model.to(torch.bfloat16), options.target, tagging=tagging)
    write_tokenizer(HOME / "tokenizer.json", options.target, model.config.n_positions)
    (path.parent / "offsets.json").write_text(json.dumps(offsets) + "\n", encoding="utf-8")
    for written in sorted(options.target.iterdir()):
        print(f"{written.stat().st_size:>12,} {written.name}")


if __name__ == "__main__":
    main()
