"""Scores and labels in NumPy.

Logits are computed for a few positions at a time, so that memory does not grow with vocabulary
times length, and only for positions that are scored.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gpt_bigcode.backends.interfaces import Logits, LogProbabilities, ScoredRow
from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.backends.numpy_tensors import Floats, unwarned
from gpt_bigcode.checkpoint.tensor_index import HEADS, Task
from gpt_bigcode.errors import (
    CheckpointMismatchError,
    ContextError,
    InputError,
    NonFiniteError,
)

Input = TypeVar("Input")
Result = TypeVar("Result")
# 16 MiB of float32, about the size of a last-level cache: 80 positions of StarCoder's head.
_LOGITS_AT_ONCE = 1 << 22
_ROWS_A_THREAD = 2  # of the longest rows; more of shorter ones, so that no thread waits


class _OnDecoder:
    """A model that runs a `NumpyDecoder` on several threads."""

    def __init__(self, decoder: NumpyDecoder, threads: int) -> None:
        self._decoder, self._threads = decoder, threads

    @property
    def context_length(self) -> int:
        """The most tokens that it takes at once."""
        return self._decoder.context_length

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return self._decoder.vocabulary_size


class NumpyScorer(_OnDecoder):
    """Scores with a `NumpyDecoder`, each row separately, on several threads.

    Windows are long enough for efficient matrix products, and a row that shares none with others
    gets exactly the same values alone and in a batch.
    """

    def __init__(self, decoder: NumpyDecoder, *, threads: int = 1) -> None:
        super().__init__(decoder, threads)

    @property
    def batch_tokens(self) -> int:
        """Enough for every thread; with one, waiting would only delay the first results."""
        return 1 if self._threads == 1 else _ROWS_A_THREAD * self._threads * self.context_length

    def log_probabilities(self, rows: Sequence[ScoredRow]) -> list[LogProbabilities]:
        """See `Scorer`."""
        if len(rows) == 1:  # nothing else to do for the other threads
            return [self._score(rows[0], self._threads)]
        return _compute_rows(self._score, rows, self._threads)

    def _score(self, row: ScoredRow, threads: int = 1) -> LogProbabilities:
        targets = np.asarray(row.ids[row.first :], np.int64)
        scored = np.empty(len(targets))

        def score(position: int, states: Floats) -> None:
            """A state predicts the id after it."""
            needed = states[max(row.first - 1 - position, 0) :]
            place = position + len(states) - len(needed) - (row.first - 1)
            for start, end in _pieces(len(needed), self.vocabulary_size):
                chosen = targets[place + start : place + end]
                logits = self._decoder.head(needed[start:end])
                scored[place + start : place + end] = _log_softmax(logits, chosen)

        self._decoder.map_states(row.ids[:-1], score, threads=threads)
        return _finite(scored)


def _pieces(length: int, vocabulary: int) -> list[tuple[int, int]]:
    """Ranges of positions whose logits are computed together."""
    size = max(_LOGITS_AT_ONCE // vocabulary, 1)
    return [(start, min(start + size, length)) for start in range(0, length, size)]


@unwarned
def _log_softmax(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> LogProbabilities:
    """[T, V] and [T] -> [T]; sums in float64, so that equal logits give exactly 1 / V.

    The logits are overwritten: a copy of them would not stay in the processor's cache.
    """
    logits -= logits.max(axis=-1, keepdims=True)
    chosen = logits[np.arange(len(targets)), targets]
    total = np.exp(logits, out=logits).sum(axis=-1, dtype=np.float64)
    return np.asarray(chosen - np.log(total), np.float64)


def _finite(scored: LogProbabilities) -> LogProbabilities:
    if not np.isfinite(scored).all():
        raise NonFiniteError.computed()
    return scored


# Enough at once that threads seldom wait for the last row of a batch.
_TOKENS_A_THREAD = 4096


class NumpyLabeler(_OnDecoder):
    """Labels with the trunk of a `NumpyDecoder`, each row separately, on several threads."""

    def __init__(self, decoder: NumpyDecoder, task: Task, *, threads: int = 1) -> None:
        super().__init__(decoder, threads)
        weight = decoder.weight(f"{HEADS[task]}.weight")
        if weight is None:
            raise CheckpointMismatchError(f"no {HEADS[task]}.weight")
        self._weight = weight
        bias = decoder.weight(f"{HEADS[task]}.bias")
        self._bias = np.zeros(len(weight), np.float32) if bias is None else bias

    @property
    def label_count(self) -> int:
        """C."""
        return len(self._weight)

    @property
    def batch_tokens(self) -> int:
        """Enough for every thread; with one, waiting would only delay the first results."""
        if self._threads == 1:
            return 1
        return self._threads * max(_TOKENS_A_THREAD, 2 * self.context_length)

    def sequence_logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        """See `Labeler`."""
        check_rows(rows, self.context_length)
        return _compute_rows(self._sequence, rows, self._threads)

    def token_logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        """See `Labeler`."""
        check_rows(rows, self.context_length)
        return _compute_rows(self._tokens, rows, self._threads)

    def _sequence(self, row: Sequence[int]) -> Logits:
        """[C]."""
        return finite(self._head(self._decoder.last_state(row))[0])

    def _tokens(self, row: Sequence[int]) -> Logits:
        """[T, C]."""
        parts = self._decoder.map_states(row, lambda _, states: self._head(states))
        return finite(np.concatenate(parts))

    @unwarned
    def _head(self, states: Floats) -> Logits:
        """[T, E] -> [T, C]."""
        return np.asarray(self._decoder.normalized(states) @ self._weight.T + self._bias)


def _compute_rows(
    compute: Callable[[Input], Result], rows: Sequence[Input], threads: int
) -> list[Result]:
    """See `numpy_threads.compute_rows`, which is imported only for several rows and threads."""
    if min(threads, len(rows)) <= 1:
        return [compute(row) for row in rows]
    from gpt_bigcode.backends.numpy_threads import compute_rows

    return compute_rows(compute, rows, threads)


def check_rows(rows: Sequence[Sequence[int]], context_length: int) -> None:
    """Refuse rows that no head can take.

    Raises:
        ContextError: a row that is longer than the context.
        InputError: an empty row.
    """
    if not all(len(row) for row in rows):
        raise InputError("a row without tokens has no label")
    if any(len(row) > context_length for row in rows):
        raise ContextError(f"more tokens than the model's {context_length} positions")


def finite(logits: Logits, *, float16: bool = False) -> Logits:
    """Return logits after checking that all are finite.

    Args:
        logits: of any shape.
        float16: whether they were computed in float16, for the message.

    Raises:
        NonFiniteError: NaN or infinity among them.
    """
    if not np.isfinite(logits).all():
        raise NonFiniteError.computed(float16=float16)
    return logits
