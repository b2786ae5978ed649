"""Batches in which a share of the rows is text of other languages than Python.

The texts are those of the language classifier's corpus
(`python -m training.languages.corpus`), split by package like the corpus of Python.
"""

from __future__ import annotations

import json
import random
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from training.paths import WORK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.documents import RowMaker, RowOptions

# Names of benchmarks, and of the first problems of theirs that were translated, in any spelling.
_BENCHMARKS = re.compile(
    r"human_?eval|\bmbpp\b|multipl-e\b|has_?close_?elements|separate_?paren_?groups"
    r"|truncate_?number|mean_?absolute_?deviation|parse_?nested_?parens|similar_?elements"
    r"|Write a function to find the shared elements from the given two lists",
    re.IGNORECASE,
)
LANGUAGES = ("C", "Go", "Java", "JavaScript", "Rust", "Shell", "TypeScript")


def other_texts(split: str) -> dict[str, list[str]]:
    """The texts of each of LANGUAGES in one split, without those that name a benchmark."""
    path = WORK / "languages" / f"{split}.jsonl"
    if not path.exists():
        raise SystemExit(f"mixture: {path} is not there: run `python -m training.languages.corpus`")
    found: dict[str, list[str]] = {language: [] for language in LANGUAGES}
    with path.open(encoding="utf-8") as stream:
        for record in map(json.loads, stream):
            if record["label"] in found and not _BENCHMARKS.search(record["text"]):
                found[record["label"]].append(record["text"])
    missing = [language for language, texts in found.items() if not texts]
    if missing:
        raise SystemExit(f"mixture: {path} has no text in {', '.join(missing)}")
    return found


class Mixture:
    """Rows of Python, but with a chance of `other_share` a row of one of the other languages.

    Every row has a generator of its own: with any share, the rows that stay Python are the same.
    """

    def __init__(self, python: RowMaker, others: Sequence[RowMaker], other_share: float) -> None:
        if not 0 <= other_share < 1:
            raise SystemExit(f"mixture: a share of {other_share} is not in [0, 1)")
        self.python, self.others, self.other_share = python, others, other_share

    @property
    def options(self) -> RowOptions:
        """How rows are filled."""
        return self.python.options

    @property
    def texts(self) -> list[str]:
        """The texts of Python."""
        return self.python.texts

    def batch(self, seed: int, step: int, shape: tuple[int, int]) -> Any:
        """int64 [rows, length], the same for the same seed, step and shape."""
        rows, length = shape
        made = []
        for row in range(rows):
            chooser = random.Random(f"{seed}/{step}/{row}/language")
            other = chooser.random() < self.other_share
            maker = chooser.choice(self.others) if other else self.python
            made.append(maker.row(length, random.Random(f"{seed}/{step}/{row}")))
        return np.array(made, dtype=np.int64)
