"""Measures the classifier on the packages of the test split, next to magika on the same texts.

Run as `python -m training.languages.evaluate DIR`; prints a JSON report.
The library's own path is used, as in the tool.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_bigcode.labeling.languages import UNKNOWN
from gpt_bigcode.labeling.text_classifier import TextClassifier
from training.intervals import interval
from training.languages import cases as held_out
from training.languages.calibration import calibration_error
from training.languages.peer import SAME
from training.languages.snippets import read_records
from training.languages.sources import HOME
from training.output import file_hash, note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
    """What was said of each text, kept on disk so that a killed evaluation goes on."""

    def __init__(self, name: str, ask: Callable[[list[str]], Iterator[Any]]) -> None:
        """`ask` answers texts in order, with what JSON can hold."""
        self.ask = ask
        self.path = HOME / "answers" / f"{name}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.known: dict[str, Any] = {}
        if self.path.exists():
            lines = self.path.read_text("utf-8").splitlines()
            self.known = dict(json.loads(line) for line in lines if line.endswith("]"))

    def of(self, cases: Sequence[Case]) -> list[Any]:
        """The answer to each text, in order."""
        keys = [hashlib.sha256(case.text.encode()).hexdigest() for case in cases]
        texts = {key: case.text for key, case in zip(keys, cases, strict=True)}
        new = [key for key in texts if key not in self.known]
        answers = self.ask([texts[key] for key in new])
        with self.path.open("a", encoding="utf-8") as stream:
            for number, (key, answer) in enumerate(zip(new, answers, strict=True), 1):
                self.known[key] = answer
                stream.write(json.dumps([key, answer]) + "\n")
                if number % 200 == 0:
                    note(f"{self.path.stem}: {number}/{len(new)}")
        return [self.known[key] for key in keys]


def labels_by(model: TextClassifier, texts: list[str]) -> Iterator[tuple[str, float]]:
    """Our model's best label of each text, and its score."""
    for outcome in model.classify_many([text] for text in texts):
        if isinstance(outcome, Exception):
            raise outcome
        yield str(outcome.label), float(outcome.score or 0.0)


def said(answers: Sequence[tuple[str, float]], threshold: float) -> list[str]:
    """What the tool says: a label of which the model is not sure enough is `unknown`."""
    return [label if score >= threshold else UNKNOWN for label, score in answers]


def labels_by_peer(python: str, texts: list[str]) -> Iterator[list[str]]:
    """What magika says of each text: after its thresholds, and before."""
    told = "".join(json.dumps(text) + "\n" for text in texts)
    script = Path(__file__).with_name("peer.py")
    done = subprocess.run(
        [python, str(script)], input=told, capture_output=True, text=True, check=True
    )
    yield from (json.loads(line) for line in done.stdout.splitlines())


def beside_older(
    directory: Path, asked: dict[str, list[Case]], ours: dict[str, list[str]]
) -> dict[str, Any]:
    """The shares of another checkpoint, and `ours` beside it, on the cases in its languages."""
    weights = file_hash(directory / "model.safetensors")
    model = TextClassifier.load(directory, threads=1)
    answers = Answers(weights[:16], partial(labels_by, model))
    report: dict[str, Any] = {"weights_sha256": weights, "labels": len(model.names)}
    for name, cases in asked.items():
        places = [place for place, case in enumerate(cases) if case.label in model.names]
        chosen = [cases[place] for place in places]
        theirs = said(answers.of(chosen), model.threshold)
        report[name] = {
            **short(summary(chosen, theirs)),
            "ours": short(summary(chosen, [ours[name][place] for place in places])),
        }
    return report


def short(measured: dict[str, Any]) -> dict[str, Any]:
    """A summary without its languages."""
    return {key: measured[key] for key in ("cases", "share", "interval_95", "mean_of_languages")}


def beside_peer(peer: Answers, cases: Sequence[Case]) -> dict[str, Any]:
    """The same measures of magika: with its thresholds, and its best guess without them."""
    answers = peer.of(cases)
    return {
        "magika": summary(cases, [after for after, _ in answers]),
        "magika_best_guess": short(summary(cases, [before for _, before in answers])),
    }


def on_labels_of_peer(
    cases: Sequence[Case], ours: Sequence[str], peers: Sequence[str]
) -> dict[str, Any]:
    """Both, on the cases in languages for which magika has a label."""
    known = set(SAME.values())
    places = [place for place, case in enumerate(cases) if case.label in known]
    chosen = [cases[place] for place in places]
    return {
        "ours": short(summary(chosen, [ours[place] for place in places])),
        "magika": short(summary(chosen, [peers[place] for place in places])),
    }


def certainty(
    answers: Answers, known: Sequence[Case], foreign: dict[str, list[Case]], threshold: float
) -> dict[str, Any]:
    """How far scores are from shares of right answers, and what becomes of foreign languages."""
    told = answers.of(known)
    right = [label == case.label for (label, _), case in zip(told, known, strict=True)]
    error = calibration_error([score for _, score in told], right)
    report: dict[str, Any] = {
        "cases": len(known),
        "calibration_error": round(error, 4),
        "threshold": threshold,
    }
    for name, cases in foreign.items():
        report[f"foreign_{name}"] = refusals(cases, said(answers.of(cases), threshold))
    return report


def refusals(cases: Sequence[Case], answers: Sequence[str]) -> dict[str, Any]:
    """How many texts in foreign languages are `unknown`; what else the others are taken for."""
    asked, right = Counter(case.label for case in cases), Counter[str]()
    wrong: Counter[tuple[str, str]] = Counter()
    for case, answer in zip(cases, answers, strict=True):
        right[case.label] += answer == UNKNOWN
        if answer != UNKNOWN:
            wrong[case.label, answer] += 1
    shares = {label: right[label] / asked[label] for label in asked}
    return {
        **share_of(right.total(), len(cases)),
        "mean_of_languages": round(sum(shares.values()) / max(1, len(shares)), 4),
        "packages": len({case.package for case in cases}),
        "languages": {
            label.partition("/")[2]: share_of(right[label], asked[label]) for label in sorted(asked)
        },
        "confusions": [
            {"is": pair[0].partition("/")[2], "said": pair[1], "cases": count}
            for pair, count in wrong.most_common(SHOWN_CONFUSIONS)
        ],
    }


def cases_of(records: list[dict[str, str]], options: argparse.Namespace) -> dict[str, list[Case]]:
    """The kinds of cases that are asked of each language."""
    each, seed = options.snippets, options.seed
    return {
        "snippets_of_3_lines": held_out.snippets(records, each, seed, lines=3),
        "snippets_of_10_lines": held_out.snippets(records, each, seed, lines=10),
        "files": held_out.files(records, options.files, seed),
    }


def main() -> None:
    """Reads the options, measures, prints the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--files", type=int, default=20, help="whole files of a language")
    parser.add_argument("--snippets", type=int, default=60, help="snippets of a language")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--older", type=Path, help="another checkpoint to ask the same")
    parser.add_argument("--peer-python", help="a Python that has magika")
    options = parser.parse_args()
    started = time.monotonic()
    model = TextClassifier.load(options.directory, threads=1)
    records, others = held_out.known_and_foreign(read_records(options.split), model.names)
    weights = file_hash(options.directory / "model.safetensors")
    answers = Answers(weights[:16], partial(labels_by, model))
    peer = Answers("magika", partial(labels_by_peer, options.peer_python))
    asked = cases_of(records, options)
    report: dict[str, Any] = {
        "model": options.directory.resolve().name,
        "weights_sha256": weights,
        "split": options.split,
        "seed": options.seed,
    }
    told: dict[str, list[str]] = {}
    for name, cases in asked.items():
        best = answers.of(cases)
        told[name] = ours = said(best, model.threshold)
        report[name] = summary(cases, ours)
        report[name]["best_guess"] = short(summary(cases, [label for label, _ in best]))
        if options.peer_python:
            report[name] |= beside_peer(peer, cases)
            peers = [after for after, _ in peer.of(cases)]
            report[name]["labels_of_magika"] = on_labels_of_peer(cases, ours, peers)
    everything = [case for cases in asked.values() for case in cases]
    foreign = cases_of(others, options)
    report["certainty"] = certainty(answers, everything, foreign, model.threshold)
    if options.older:
        report["older"] = beside_older(options.older, asked, told)
    report["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
