"""Rows on several threads give what each gives alone, in their order."""

from pathlib import Path

import numpy as np

from gpt_bigcode.reference import NumpyDecoder
from gpt_bigcode.scorers import NumpyScorer, Row


def test_scores_do_not_depend_on_the_threads(tiny_checkpoint: Path) -> None:
    decoder = NumpyDecoder.load(tiny_checkpoint)
    rows = [Row(list(range(19, 19 + size)), 1) for size in (60, 2, 33, 5, 90, 17)]
    alone = NumpyScorer(decoder).log_probabilities(rows)
    together = NumpyScorer(decoder, threads=3).log_probabilities(rows)
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
