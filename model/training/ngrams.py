"""A token n-gram model with back-off: the first baseline that the model is measured against.

Interpolated Witten-Bell smoothing (Chen and Goodman 1999, section
2.4): p(w | c) = (count(c, w) + types(c) p(w | shorter c)) / (count(c) + types(c)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Codes = NDArray[np.uint64]
ORDER = 5


@dataclass(frozen=True)
class Level:
    """Everything seen after contexts of one length; a context is known by its place in `contexts`.

    Attributes:
        contexts: sorted, one number for the tokens of each context.
        grams: sorted, place of the context x vocabulary + the token after it.
        counts: how often each of `grams` was seen.
    """

    contexts: Codes
    grams: Codes
    counts: NDArray[np.int64]

    def places(self, contexts: Codes) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Where contexts stand, and whether they were seen."""
        places = np.searchsorted(self.contexts, contexts)
        places = np.minimum(places, len(self.contexts) - 1)
        return places.astype(np.int64), self.contexts[places] == contexts


class BackOffModel:
    """Counts of all n-grams up to ORDER in one row of ids."""

    def __init__(self, ids: Sequence[int], vocabulary: int, order: int = ORDER) -> None:
        if vocabulary ** (order - 1) > 2**64:
            raise ValueError(f"{order - 1} tokens of {vocabulary} do not fit 64 bits")
        self.vocabulary, self.order = vocabulary, order
        row = np.asarray(ids, np.uint64)
        self.levels = [self._level(row, length) for length in range(order)]

    def probabilities(self, ids: Sequence[int]) -> NDArray[np.float64]:
        """p(ids[i] | ids before i) for every i from 1 on; [T - 1]."""
        row = np.asarray(ids, np.uint64)
        chances = np.full(len(row), 1 / self.vocabulary)
        for length, level in enumerate(self.levels[: len(row)]):
            codes = self._codes(row, length)[:-1]
            following = row[length:]
            places, seen = level.places(codes)
            grams = places.astype(np.uint64) * np.uint64(self.vocabulary) + following
            spots = np.minimum(np.searchsorted(level.grams, grams), len(level.grams) - 1)
            counts = np.where(level.grams[spots] == grams, level.counts[spots], 0)
            totals, types = self._sizes(level, places)
            mixed = (counts + types * chances[length:]) / (totals + types)
            chances[length:] = np.where(seen, mixed, chances[length:])
        return chances[1:]

    def likeliest(
        self, row: Sequence[int], fits: Callable[[int], bool] | None = None
    ) -> int | None:
        """The most frequent id after the longest context seen; of those that fit, None if none."""
        for length in reversed(range(min(self.order, len(row) + 1))):
            level = self.levels[length]
            tail = np.asarray(row[len(row) - length :], np.uint64)
            places, seen = level.places(self._codes(tail, length))
            if not seen[0]:
                continue
            first, last = self._range(level, places)
            within = slice(int(first[0]), int(last[0]))
            ids = level.grams[within] % np.uint64(self.vocabulary)
            for place in np.argsort(-level.counts[within], kind="stable"):
                if fits is None or fits(int(ids[place])):
                    return int(ids[place])
        return None

    def _level(self, row: Codes, length: int) -> Level:
        codes = self._codes(row, length)[:-1]
        contexts = np.unique(codes)
        places = np.searchsorted(contexts, codes).astype(np.uint64)
        grams, counts = np.unique(
            places * np.uint64(self.vocabulary) + row[length:], return_counts=True
        )
        return Level(contexts, grams, counts.astype(np.int64))

    def _codes(self, row: Codes, length: int) -> Codes:
        """One number for each run of `length` ids, [T - length + 1]; the last ends the row."""
        codes = np.zeros(len(row) - length + 1, np.uint64)
        for place in range(length):
            codes = codes * np.uint64(self.vocabulary) + row[place : place + len(codes)]
        return codes

    def _range(
        self, level: Level, places: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the grams of contexts begin and end."""
        starts = places.astype(np.uint64) * np.uint64(self.vocabulary)
        first = np.searchsorted(level.grams, starts)
        last = np.searchsorted(level.grams, starts + np.uint64(self.vocabulary))
        return first.astype(np.int64), last.astype(np.int64)

    def _sizes(
        self, level: Level, places: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """count(c) and types(c)."""
        first, last = self._range(level, places)
        sums = np.concatenate([[0], np.cumsum(level.counts)])
        return sums[last] - sums[first], last - first
