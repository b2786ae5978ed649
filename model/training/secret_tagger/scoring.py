"""Compares findings with what is known to be there; knows no model and no files."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from training.secret_tagger import keys
from training.secret_tagger.planting import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from training.secret_tagger.planting import Finding, Planted

DRAWS = 2000
_FIELD = re.compile(r"\\\{(\w+):(\d+)(?:(?:\\-|-)(\d+))?\\\}")


def unseen_shapes() -> re.Pattern[str]:
    """Matches the keys of providers that were never trained on."""

    def field_pattern(match: re.Match[str]) -> str:
        letters = re.escape(keys.CLASSES[match[1]])
        return f"[{letters}]{{{match[2]},{match[3] or match[2]}}}"

    shapes = [shape for group in keys.HELD_OUT.values() for shape in group]
    return re.compile("|".join(_FIELD.sub(field_pattern, re.escape(shape)) for shape in shapes))


def overlaps(first: Finding, second: Finding) -> bool:
    """Whether two findings share a character."""
    return first.start < second.end and second.start < first.end


@dataclass
class Tally:
    """Counts over many texts, by label."""

    known: Counter[str] = field(default_factory=Counter)
    given: Counter[str] = field(default_factory=Counter)
    exact: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)

    def add(self, planted: Planted, given: Sequence[Finding]) -> None:
        """One text: exact spans, and spans of the same label that overlap."""
        counted = [one for one in given if not ignorable(one, planted)]
        known = set(planted.findings)
        for finding in planted.findings:
            self.known[finding.label] += 1
            self.found[finding.label] += any(
                one.label == finding.label and overlaps(one, finding) for one in counted
            )
        for one in counted:
            self.given[one.label] += 1
            self.exact[one.label] += one in known
            self.right[one.label] += any(
                one.label == finding.label and overlaps(one, finding) for finding in known
            )

    def report(self) -> dict[str, Any]:
        """Precision, recall and F1 by label and in all."""
        rows = {label: self._row([label]) for label in LABELS if self.known[label]}
        return {**rows, "all": self._row(LABELS)}

    def _row(self, labels: Iterable[str]) -> dict[str, Any]:
        known, given, exact, found, right = (
            sum(counter[label] for label in labels)
            for counter in (self.known, self.given, self.exact, self.found, self.right)
        )
        return {
            "known": known,
            "given": given,
            "exact": _measures(exact, given, exact, known),
            "overlap": _measures(right, given, found, known),
        }


def f1_interval(tallies: Sequence[Tally], kind: str, labels: Sequence[str]) -> list[float]:
    """95 % of the F1 of as many files drawn with replacement; `kind` is exact or overlap.

    Without files it can be anything: 0 to 1.
    """
    if not tallies:
        return [0.0, 1.0]
    counts = np.array([_f1_counts(tally, kind, labels) for tally in tallies])
    draws = np.random.default_rng(1).integers(len(tallies), size=(DRAWS, len(tallies)))
    right, given, found, known = counts[draws].sum(axis=1).T
    precision, recall = right / np.maximum(1, given), found / np.maximum(1, known)
    f1 = 2 * precision * recall / np.maximum(1e-9, precision + recall)
    return [round(float(value), 4) for value in np.quantile(f1, [0.025, 0.975])]


def _f1_counts(tally: Tally, kind: str, labels: Iterable[str]) -> list[int]:
    exact = kind == "exact"
    counters = (
        *(tally.exact if exact else tally.right, tally.given),
        *(tally.exact if exact else tally.found, tally.known),
    )
    return [sum(counter[label] for label in labels) for counter in counters]


def rate_interval(count: int, lines: int) -> list[float]:
    """95 % (Garwood) of the true spans in 1,000 lines where `count` were seen."""

    def at_most(mean: float, number: int) -> float:
        return sum(math.exp(-mean) * mean**k / math.factorial(k) for k in range(number + 1))

    def where(target: float, number: int) -> float:
        low, high = 0.0, 20.0 + 4.0 * count
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if at_most(middle, number) > target else (low, middle)
        return low

    bounds = [0.0 if count == 0 else where(0.975, count - 1), where(0.025, count)]
    return [round(1000 * bound / max(1, lines), 3) for bound in bounds]


def _measures(right: int, given: int, found: int, known: int) -> dict[str, float]:
    precision, recall = right / max(1, given), found / max(1, known)
    f1 = 2 * precision * recall / max(1e-9, precision + recall)
    return {"precision": round(precision, 4), "recall": round(recall, 4), "f1": round(f1, 4)}


def ignorable(one: Finding, planted: Planted) -> bool:
    """Whether a finding touches no planted value and lies where nobody knows the truth."""
    if any(overlaps(one, finding) for finding in planted.findings):
        return False
    return any(one.start < high and one.end > low for low, high in planted.doubtful)


def lines_of(finding: Finding, text: str) -> set[int]:
    """The numbers of the lines of a finding, from 1."""
    first = text.count("\n", 0, finding.start) + 1
    return set(range(first, first + text.count("\n", finding.start, finding.end) + 1))
