"""Rows on several threads give what each gives alone, in their order."""

from pathlib import Path
from threading import Event

import numpy as np
import pytest

from gpt_bigcode.backends.interfaces import ScoredRow
from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.backends.numpy_heads import NumpyScorer
from gpt_bigcode.backends.numpy_threads import compute_rows


def test_scores_do_not_depend_on_the_threads(tiny_checkpoint: Path) -> None:
    decoder = NumpyDecoder.load(tiny_checkpoint)
    rows = [ScoredRow(list(range(19, 19 + size)), 1) for size in (60, 2, 33, 5, 90, 17)]
    alone = NumpyScorer(decoder).log_probabilities(rows)
    together = NumpyScorer(decoder, threads=3).log_probabilities(rows)
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_results_are_in_the_order_of_rows_whichever_is_done_first() -> None:
    last_is_done = Event()

    def compute(row: int) -> int:
        if row == 0:
            assert last_is_done.wait(60)
        if row == 5:
            last_is_done.set()
        return row * row

    assert compute_rows(compute, range(6), 2) == [0, 1, 4, 9, 16, 25]


def test_an_error_does_not_wait_for_rows_that_are_being_computed() -> None:
    begun, release = Event(), Event()
    computed: list[str] = []

    def compute(row: str) -> str:
        if row == "bad":
            assert begun.wait(60)
            raise ValueError(row)
        begun.set()
        assert release.wait(60)
        computed.append(row)
        return row

    try:
        with pytest.raises(ValueError, match="bad"):
            compute_rows(compute, ["bad", "slow", *["later"] * 10], 2)
        assert computed == []
    finally:
        release.set()
