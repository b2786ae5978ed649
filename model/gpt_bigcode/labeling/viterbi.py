"""The likeliest sequence of labels in which none contradicts the one before.

Viterbi's algorithm over the probabilities of tokens, where the likeliest labels contradict each
other. Which label may follow which is given.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_CERTAIN = 1 - 1e-6
"""A token that is surely outside ends every path: its two sides are independent."""
_FLOOR = 1e-30


class BestPath:
    """The labels of one text, window after window."""

    def __init__(self, follows: NDArray[np.bool_], outside: int) -> None:
        """Begin a text.

        Args:
            follows: whether label j may follow label i, [C, C].
            outside: the label that any other may precede, and that precedes the text.
        """
        self._cost = np.where(follows, 0.0, -np.inf)
        self._outside = outside
        self._last = outside

    def choose(self, shares: NDArray[np.float64]) -> NDArray[np.intp]:
        """The labels [T] of the next tokens from their probabilities [T, C].

        What was chosen before stays; the first label follows it.
        """
        if not len(shares):
            return np.zeros(0, dtype=np.intp)
        certain = shares[:, self._outside] >= _CERTAIN
        likeliest = np.where(certain, self._outside, shares.argmax(axis=1))
        labels = likeliest.astype(np.intp)
        if len(broken := np.flatnonzero(self._cost[self._before(labels), labels] < 0)):
            logs = np.log(np.maximum(shares, _FLOOR))
            logs[certain] = np.where(np.arange(logs.shape[1]) == self._outside, 0.0, -np.inf)
            for start, stop in self._doubtful(logs, labels, broken):
                before = self._last if start == 0 else int(labels[start - 1])
                labels[start:stop] = self._path(logs[start:stop], before)
        self._last = int(labels[-1])
        return labels

    def _before(self, labels: NDArray[np.intp]) -> NDArray[np.intp]:
        return np.concatenate([[self._last], labels[:-1]])

    def _doubtful(
        self, logs: NDArray[np.float64], labels: NDArray[np.intp], broken: NDArray[np.intp]
    ) -> Iterator[tuple[int, int]]:
        """Ranges of tokens outside of which the best path has the likeliest labels.

        Some path without contradictions loses `bound` against these labels, so the best one loses
        no more; where the second label is worse than the first by more than that, it has the first.
        """
        bound = self._loss(logs, labels, broken)
        second, first = np.partition(logs, -2, axis=1)[:, -2:].T
        sure = np.flatnonzero(first - second > bound)
        done = 0
        for place in broken.tolist():
            if place >= done:
                left, right = np.searchsorted(sure, [place, place])
                start = int(sure[left - 1]) + 1 if left else 0
                done = int(sure[right]) + 1 if right < len(sure) else len(logs)
                yield start, done

    def _loss(
        self, logs: NDArray[np.float64], labels: NDArray[np.intp], broken: NDArray[np.intp]
    ) -> float:
        """What the path loses that takes, token by token, the likeliest label that may follow."""
        loss, place = 0.0, 0
        for first in broken.tolist():
            if first < place:
                continue
            place, label = first, int(self._before(labels)[first])
            while place < len(logs):
                label = int((self._cost[label] + logs[place]).argmax())
                loss += float(logs[place, labels[place]] - logs[place, label])
                place += 1
                if label == labels[place - 1]:
                    break
        return loss

    def _path(self, logs: NDArray[np.float64], before: int) -> NDArray[np.intp]:
        """The best path through some tokens, after a label."""
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
