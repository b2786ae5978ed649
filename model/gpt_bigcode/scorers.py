"""The log-probabilities of given tokens, by NumPy or by PyTorch; knows rows of ids, no text.

Logits are made for a few positions at a time, so that memory does not grow with vocabulary times
length, and only for positions that are scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.engines import open_decoder
from gpt_bigcode.errors import NonFiniteError
from gpt_bigcode.parallel_rows import compute_rows, row_threads
from gpt_bigcode.precision import Job, LoadingPolicy
from gpt_bigcode.reference import Floats, NumpyDecoder

LogProbabilities = NDArray[np.float64]
# 16 MiB of float32: about what a processor's last cache holds, 80 positions of StarCoder's head.
_LOGITS_AT_ONCE = 1 << 22
_ROWS_A_THREAD = 2  # of the longest; where they are shorter, no thread waits for another


@dataclass(frozen=True)
class Row:
    """Tokens of one window.

    Attributes:
        ids: n + 1 ids; the model reads the first n, at most its context.
        first: index of the first id that is scored, 1 to n.
    """

    ids: Sequence[int]
    first: int


class Scorer(Protocol):
    """A model that tells how likely given tokens are."""

    @property
    def context_length(self) -> int:
        """The most tokens that it reads at once."""
        ...

    @property
    def vocabulary_size(self) -> int:
        """V."""
        ...

    @property
    def batch_tokens(self) -> int:
        """How many tokens it reads together at best."""
        ...

    def log_probabilities(self, rows: Sequence[Row]) -> list[LogProbabilities]:
        """The natural logarithms for ids[first:] of every row, in order.

        What a row gets does not depend on the others, to rounding.

        Raises:
            NonFiniteError: the model computed NaN or infinity.
        """
        ...


class NumpyScorer:
    """Scores with a `NumpyDecoder`, each row by itself, on so many threads.

    Windows are long enough to fill its matrix products. Rows that share nothing give exactly the
    same numbers alone and in a batch.
    """

    def __init__(self, decoder: NumpyDecoder, *, threads: int = 1) -> None:
        self._decoder, self._threads = decoder, threads

    @property
    def context_length(self) -> int:
        """The most tokens that it reads at once."""
        return self._decoder.context_length

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return self._decoder.vocabulary_size

    @property
    def batch_tokens(self) -> int:
        """Enough for every thread; with one, waiting would only delay the first results."""
        return 1 if self._threads == 1 else _ROWS_A_THREAD * self._threads * self.context_length

    def log_probabilities(self, rows: Sequence[Row]) -> list[LogProbabilities]:
        """See `Scorer`."""
        if len(rows) == 1:  # nothing else to do for the other threads
            return [self._score(rows[0], self._threads)]
        return compute_rows(self._score, rows, self._threads)

    def _score(self, row: Row, threads: int = 1) -> LogProbabilities:
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


def open_scorer(
    directory: Path,
    config: GPTBigCodeConfig,
    *,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    policy: LoadingPolicy | None = None,
) -> Scorer:
    """Load the weights of a language model where they are computed best.

    Arguments and errors are those of `engines.open_decoder`, whose choice this is.
    """
    policy = replace(policy or LoadingPolicy(), job=Job.SCORING)
    decoder = open_decoder(
        directory, config, device=device, precision=precision, threads=threads, policy=policy
    )
    if isinstance(decoder, NumpyDecoder):
        return NumpyScorer(decoder, threads=row_threads(threads))
    from gpt_bigcode.torch_scorer import TorchScorer

    return TorchScorer.of(decoder)


def _pieces(length: int, vocabulary: int) -> list[tuple[int, int]]:
    """Ranges of positions whose logits are made together."""
    size = max(_LOGITS_AT_ONCE // vocabulary, 1)
    return [(start, min(start + size, length)) for start in range(0, length, size)]


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
        raise NonFiniteError("the model computed NaN or infinity")
    return scored
