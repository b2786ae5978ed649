"""Batches of rows, made here or ahead of time by worker processes.

A batch is the same wherever it is made.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from training.documents import RowMaker, RowOptions, load_tokenizer, read_texts
from training.mixture import Mixture, other_texts

if TYPE_CHECKING:
    from collections.abc import Callable

Shape = tuple[int, int]
Maker = RowMaker | Mixture
# Batches that are asked for ahead of the step, per worker.
AHEAD = 2

_workers_maker: list[Maker] = []


def default_maker(other_share: float = 0.0, options: RowOptions | None = None) -> Maker:
    """Rows of the training split, a share of them in other languages than Python."""
    tokenizer = load_tokenizer()
    options = options or RowOptions()
    python = RowMaker(read_texts("train"), tokenizer, options)
    if not other_share:
        return python
    groups = other_texts("train").values()
    others = [RowMaker(texts, tokenizer, options) for texts in groups]
    return Mixture(python, others, other_share)


class BatchSource:
    """Gives the batch of each step; with workers, the next ones are already being made."""

    def __init__(self, maker: Maker, *, seed: int, workers: int) -> None:
        self._maker, self._seed, self._ahead = maker, seed, AHEAD * workers
        self._pending: dict[tuple[int, Shape], Future[Any]] = {}
        self._pool: ProcessPoolExecutor | None = None
        if workers:
            context = get_context("spawn")
            self._pool = ProcessPoolExecutor(
                workers,
                mp_context=context,
                initializer=_prepare,
                initargs=(maker.other_share, maker.options),
            )

    def get(self, step: int, shape_of: Callable[[int], Shape]) -> Any:
        """int64 [rows, length] of a step; `shape_of` says how later steps will probably look."""
        shape = shape_of(step)
        if self._pool is None:
            return self._maker.batch(self._seed, step, shape)
        for later in range(step, step + self._ahead + 1):
            key = (later, shape_of(later))
            if key not in self._pending:
                self._pending[key] = self._pool.submit(_make, self._seed, *key)
        batch = self._pending[step, shape].result()
        self._pending = {key: made for key, made in self._pending.items() if key[0] > step}
        return batch

    def close(self) -> None:
        """Ends the workers."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _prepare(other_share: float, options: RowOptions) -> None:
    """In a worker: read the corpus once."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _workers_maker.append(default_maker(other_share, options))


def _make(seed: int, step: int, shape: Shape) -> Any:
    """In a worker: one batch."""
    return _workers_maker[0].batch(seed, step, shape)
