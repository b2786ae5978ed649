"""The likeliest sequence of labels in which none contradicts the one before; knows no text.

Viterbi's algorithm over the probabilities of tokens. Which label may follow which is given.
"""

import numpy as np
from numpy.typing import NDArray

_CERTAIN = 1 - 1e-6
"""A token that is surely outside ends every path: what stands on its two sides is independent."""
_FLOOR = 1e-30


class BestPath:
    """The labels of one text, window after window."""

    def __init__(self, follows: NDArray[np.bool_], outside: int) -> None:
        """Begin a text.

        Args:
            follows: whether label j may follow label i, [C, C].
            outside: the label that any other may precede, and that stands before the text.
        """
        self._cost = np.where(follows, 0.0, -np.inf)
        self._outside = outside
        self._last = outside

    def choose(self, shares: NDArray[np.float64]) -> NDArray[np.intp]:
        """The labels [T] of the next tokens from their probabilities [T, C].

        What was chosen before stays; the first label follows it.
        """
        labels = np.full(len(shares), self._outside, dtype=np.intp)
        open_places = np.flatnonzero(shares[:, self._outside] < _CERTAIN)
        if len(open_places):
            logs = np.log(np.maximum(shares, _FLOOR))
            breaks = np.flatnonzero(np.diff(open_places) > 1) + 1
            for places in np.split(open_places, breaks):
                before = self._last if places[0] == 0 else self._outside
                labels[places] = self._path(logs[places], before)
        if len(labels):
            self._last = int(labels[-1])
        return labels

    def _path(self, logs: NDArray[np.float64], before: int) -> NDArray[np.intp]:
        """The best path through some tokens, behind a label."""
        score = self._cost[before] + logs[0]
        steps = []
        everything = np.arange(len(score))
        for row in logs[1:]:
            reached = score[:, None] + self._cost
            origin = reached.argmax(axis=0)
            steps.append(origin)
            score = reached[origin, everything] + row
        path = [int(score.argmax())]
        for origin in reversed(steps):
            path.append(int(origin[path[-1]]))
        return np.asarray(path[::-1], dtype=np.intp)
