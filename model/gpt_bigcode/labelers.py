"""The logits of a classification head, by NumPy or by PyTorch; knows rows of ids, no text.

One head reads the last token of a row, the other every token. Neither ever looks for padding among
the ids: a row ends where its ids end.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.engines import is_instant
from gpt_bigcode.errors import (
    CheckpointMismatchError,
    ContextError,
    InputError,
    MemoryLimitError,
    NonFiniteError,
)
from gpt_bigcode.parallel_rows import compute_rows, row_threads
from gpt_bigcode.reference import Floats, NumpyDecoder
from gpt_bigcode.threads import choose_threads
from gpt_bigcode.weights import HEADS, Task, require_head

# So much at once that threads seldom wait for the last row of a batch.
_TOKENS_A_THREAD = 4096
Logits = NDArray[np.float32]


class Labeler(Protocol):
    """A model with a classification head; its rows have 1 to `context_length` ids."""

    @property
    def context_length(self) -> int:
        """The most tokens that it reads at once."""
        ...

    @property
    def vocabulary_size(self) -> int:
        """V."""
        ...

    @property
    def label_count(self) -> int:
        """C, the labels of its head."""
        ...

    @property
    def batch_tokens(self) -> int:
        """How many tokens it reads together at best."""
        ...

    def sequence_logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        """[C] for every row, read at its last id; other rows change nothing, to rounding.

        Raises:
            ContextError, InputError: a row that is too long, or empty.
            MemoryLimitError: the rows do not fit.
            NonFiniteError: the model computed NaN or infinity.
        """
        ...

    def token_logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        """[T, C] for every row of T ids; errors as above."""
        ...


class NumpyLabeler:
    """Labels with the trunk of a `NumpyDecoder`, each row by itself, on so many threads."""

    def __init__(self, decoder: NumpyDecoder, task: Task, *, threads: int = 1) -> None:
        self._decoder, self._threads = decoder, threads
        weight = decoder.weight(f"{HEADS[task]}.weight")
        if weight is None:
            raise CheckpointMismatchError(f"no {HEADS[task]}.weight")
        self._weight = weight
        bias = decoder.weight(f"{HEADS[task]}.bias")
        self._bias = np.zeros(len(weight), np.float32) if bias is None else bias

    @property
    def context_length(self) -> int:
        """The most tokens that it reads at once."""
        return self._decoder.context_length

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return self._decoder.vocabulary_size

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
        return compute_rows(self._sequence, rows, self._threads)

    def token_logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        """See `Labeler`."""
        check_rows(rows, self.context_length)
        return compute_rows(self._tokens, rows, self._threads)

    def _sequence(self, row: Sequence[int]) -> Logits:
        """[C]."""
        return finite(self._head(self._decoder.last_state(row))[0])

    def _tokens(self, row: Sequence[int]) -> Logits:
        """[T, C]."""
        parts = self._decoder.map_states(row, lambda _, states: self._head(states))
        return finite(np.concatenate(parts))

    def _head(self, states: Floats) -> Logits:
        """[T, E] -> [T, C]."""
        return np.asarray(self._decoder.normalized(states) @ self._weight.T + self._bias)


def open_labeler(
    directory: Path,
    config: GPTBigCodeConfig,
    *,
    task: Task,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> Labeler:
    """Load the weights of a classifier where they are computed best.

    Args:
        directory: the checkpoint.
        config: its configuration.
        task: SEQUENCE_CLASSIFICATION or TOKEN_CLASSIFICATION.
        device: as for `engines.open_decoder`, with precision and threads.

    Raises:
        CheckpointError: the directory's files, or a checkpoint with another head.
        DeviceError, MemoryLimitError, OptionError: as for `engines.open_decoder`.
    """
    require_head(directory, task)
    choose_threads(threads)
    if is_instant(directory, config, device=device, precision=precision):
        try:
            decoder = NumpyDecoder.load(directory, task=task)
            return NumpyLabeler(decoder, task, threads=row_threads(threads))
        except MemoryError:
            raise MemoryLimitError("not enough memory for the model's weights") from None
    from gpt_bigcode.torch_labeler import TorchLabeler

    return TorchLabeler.load(
        directory, task=task, device=device, precision=precision, threads=threads
    )


def check_rows(rows: Sequence[Sequence[int]], context_length: int) -> None:
    """Refuse what no head can read.

    Raises:
        ContextError: a row that is longer than the context.
        InputError: an empty row.
    """
    if not all(len(row) for row in rows):
        raise InputError("a row without tokens has no label")
    if any(len(row) > context_length for row in rows):
        raise ContextError(f"more tokens than the model's {context_length} positions")


def finite(logits: Logits) -> Logits:
    """The logits as they are.

    Raises:
        NonFiniteError: NaN or infinity among them.
    """
    if not np.isfinite(logits).all():
        raise NonFiniteError("the model computed NaN or infinity")
    return logits
