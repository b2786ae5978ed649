"""Measures the classifier on the packages of the test split, next to magika on the same texts.

Knows nothing of training. Run as `python -m training.languages.evaluate DIR`; prints a JSON report.
The library's own path is used, as in the tool.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_bigcode.classification import TextClassifier
from training.evaluate import interval
from training.languages import cases as held_out
from training.languages.snippets import read_records
from training.languages.sources import HOME
from training.train import file_hash, note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.languages.cases import Case

SHOWN_CONFUSIONS = 15


def share_of(right: int, asked: int) -> dict[str, Any]:
    """Cases, share and interval."""
    share = round(right / max(1, asked), 4)
    return {"cases": asked, "share": share, "interval_95": interval(right, asked)}


def summary(cases: Sequence[Case], answers: Sequence[str]) -> dict[str, Any]:
    """Accuracy in all and per language, and what is taken for what most often."""
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    wrong: Counter[tuple[str, str]] = Counter()
    for case, answer in zip(cases, answers, strict=True):
        asked[case.label] += 1
        right[case.label] += answer == case.label
        if answer != case.label:
            wrong[case.label, answer] += 1
    shares = [right[label] / asked[label] for label in asked]
    return {
        **share_of(sum(right.values()), len(cases)),
        "mean_of_languages": round(sum(shares) / max(1, len(shares)), 4),
        "packages": len({case.package for case in cases}),
        "languages": {label: share_of(right[label], asked[label]) for label in sorted(asked)},
        "confusions": [
            {"is": pair[0], "said": pair[1], "cases": count}
            for pair, count in wrong.most_common(SHOWN_CONFUSIONS)
        ],
    }


class Answers:
    """What a model said of each text, kept on disk so that a killed evaluation goes on."""

    def __init__(self, model: TextClassifier, weights: str) -> None:
        self.model = model
        self.path = HOME / "answers" / f"{weights[:16]}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.known: dict[str, str] = {}
        if self.path.exists():
            lines = self.path.read_text("utf-8").splitlines()
            self.known = dict(json.loads(line) for line in lines if line.endswith("]"))

    def of(self, cases: Sequence[Case], name: str) -> list[str]:
        """The label of each text, in order."""
        keys = [hashlib.sha256(case.text.encode()).hexdigest() for case in cases]
        texts = {key: case.text for key, case in zip(keys, cases, strict=True)}
        new = [key for key in texts if key not in self.known]
        outcomes = self.model.classify_many([texts[key]] for key in new)
        with self.path.open("a", encoding="utf-8") as stream:
            for number, (key, outcome) in enumerate(zip(new, outcomes, strict=True), 1):
                if isinstance(outcome, Exception):
                    raise outcome
                self.known[key] = str(outcome.label)
                stream.write(json.dumps([key, self.known[key]]) + "\n")
                if number % 200 == 0:
                    note(f"{name}: {number}/{len(new)}")
        return [self.known[key] for key in keys]


def ask_peer(python: str, cases: Sequence[Case]) -> list[list[str]]:
    """What magika says of each text: after its thresholds, and before."""
    told = "".join(json.dumps(case.text) + "\n" for case in cases)
    script = Path(__file__).with_name("peer.py")
    done = subprocess.run(
        [python, str(script)], input=told, capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def beside_peer(python: str, cases: Sequence[Case]) -> dict[str, Any]:
    """The same measures of magika: with its thresholds, and its best guess without them."""
    answers = ask_peer(python, cases)
    best = summary(cases, [before for _, before in answers])
    kept = ("cases", "share", "interval_95", "mean_of_languages")
    return {
        "magika": summary(cases, [after for after, _ in answers]),
        "magika_best_guess": {key: best[key] for key in kept},
    }


def main() -> None:
    """Reads the options, measures, prints the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--files", type=int, default=40, help="whole files of a language")
    parser.add_argument("--snippets", type=int, default=100, help="snippets of a language")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--peer-python", help="a Python that has magika")
    options = parser.parse_args()
    started = time.monotonic()
    model = TextClassifier.load(options.directory, threads=1)
    records = read_records(options.split)
    weights = file_hash(options.directory / "model.safetensors")
    answers = Answers(model, weights)
    asked = {
        "snippets_of_3_lines": held_out.snippets(records, options.snippets, options.seed, lines=3),
        "snippets_of_10_lines": held_out.snippets(
            records, options.snippets, options.seed, lines=10
        ),
        "files": held_out.files(records, options.files, options.seed),
    }
    report: dict[str, Any] = {
        "model": options.directory.resolve().name,
        "weights_sha256": weights,
        "split": options.split,
        "seed": options.seed,
    }
    for name, cases in asked.items():
        report[name] = summary(cases, answers.of(cases, name))
        if options.peer_python:
            report[name] |= beside_peer(options.peer_python, cases)
    report["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
