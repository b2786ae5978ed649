"""What NumPy computes in parallel: rows, and the chunks of a long prompt.

NumPy releases Python's lock inside its loops, so threads share the processor without sharing a
product: the numbers are those of one thread. Waiting threads sleep, unlike those of a BLAS.

Rows are independent. A chunk of a prompt needs, in each layer, the keys and values that the chunks
before it made there, and nothing else of them: so one thread may compute a chunk while another, a
few layers later, computes the next.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from threading import Lock, Thread
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gpt_bigcode.hardware import choose_threads

Floats = NDArray[np.float32]
Input = TypeVar("Input")
Result = TypeVar("Result")
BLOCK_TOKENS = 256  # what the prefix cache keeps at once, and by what a row grows
_LEAST_TOKENS = 32  # fewer in a chunk would make too many calls


class Row:
    """One text's keys and values, [L, 2, K, capacity, D], and how many tokens they hold."""

    def __init__(self, store: Floats, length: int = 0) -> None:
        self.store, self.length = store, length

    def copy(self) -> "Row":
        """The same in memory of its own."""
        return Row(self.store.copy(), self.length)

    def reserve(self, tokens: int) -> None:
        """Grow to at least `tokens` tokens."""
        *shape, capacity, size = self.store.shape
        if tokens > capacity:
            blocks = -(-tokens // BLOCK_TOKENS)
            grown = np.empty((*shape, blocks * BLOCK_TOKENS, size), np.float32)
            grown[..., : self.length, :] = self.store[..., : self.length, :]
            self.store = grown

    def put(self, layer: int, both: Floats) -> None:
        """Store the keys and values of the tokens after `length` in one layer, [2, K, T, D]."""
        seen = self.length + both.shape[2]
        self.reserve(seen)
        self.store[layer, :, :, self.length : seen] = both


class _StoppedError(Exception):
    """Another chunk failed."""


class _Chunk(Row):
    """A part of a row that has room for all; in each layer it waits for the parts before it."""

    def __init__(self, row: Row, start: int, before: "_Chunk | None") -> None:
        super().__init__(row.store, start)
        self._before = before
        self._stopped = False
        # Held until the keys and values of a layer are there, those of the chunks before included.
        self._layers = [Lock() for _ in range(len(row.store))]
        for lock in self._layers:
            lock.acquire()

    def put(self, layer: int, both: Floats) -> None:
        """See `Row`.

        Raises:
            _StoppedError: a chunk before this one failed.
        """
        super().put(layer, both)
        if self._before is not None:
            self._before.wait(layer)
        self._layers[layer].release()

    def wait(self, layer: int) -> None:
        """Return when this chunk's keys and values of a layer are there; for one caller."""
        self._layers[layer].acquire()
        if self._stopped:
            raise _StoppedError

    def stop(self) -> None:
        """Let no other chunk wait for this one any longer: it failed."""
        self._stopped = True
        for lock in self._layers:
            if lock.locked():
                lock.release()


def half_blocks(ids: Sequence[int], start: int = 0) -> list[Sequence[int]]:
    """The parts of a prompt that are computed at once, from a whole block on.

    Small, so that two threads share a short prompt; none crosses a block, so that a block's numbers
    do not depend on what follows it.
    """
    edges = [start]
    for block in range(start, len(ids), BLOCK_TOKENS):
        tokens = min(len(ids) - block, BLOCK_TOKENS)
        half = -(-tokens // 2)
        if tokens >= 2 * _LEAST_TOKENS:
            edges.append(block + half)
        edges.append(block + tokens)
    return [ids[begin:end] for begin, end in pairwise(edges)]


def read_parts(
    read: Callable[[Row, Sequence[int]], Result],
    row: Row,
    parts: Sequence[Sequence[int]],
    threads: int,
) -> list[Result]:
    """Compute the tokens that follow those of a row; what `read` returns for each part of them.

    Args:
        read: computes a part's tokens after those of a row, stores their keys and values there,
            and counts them.
        row: holds the tokens before the first part.
        parts: the tokens, in consecutive parts.
        threads: how many parts are computed in parallel.

    Raises:
        Exception: what `read` raised.
    """
    threads = min(threads, len(parts))
    if threads <= 1:
        return [read(row, tokens) for tokens in parts]
    end = row.length + sum(map(len, parts))
    row.reserve(end)
    before, chunks, start = None, [], row.length
    for tokens in parts:
        before = _Chunk(row, start, before)
        chunks.append((before, tokens))
        start += len(tokens)
    found = _read_side_by_side(read, chunks, threads)
    row.length = end
    return found


def _read_side_by_side(
    read: Callable[[Row, Sequence[int]], Result],
    parts: Sequence[tuple[_Chunk, Sequence[int]]],
    threads: int,
) -> list[Result]:
    results: dict[int, Result] = {}
    errors: list[BaseException] = []
    # Taken in order, so that a part that another waits for is always in work.
    waiting = deque(range(len(parts)))

    def work() -> None:
        """Read the next part until there is none."""
        while waiting:
            try:
                number = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            chunk, tokens = parts[number]
            try:
                results[number] = read(chunk, tokens)
            except BaseException as error:  # noqa: BLE001 - raised below, where it can be caught
                waiting.clear()
                chunk.stop()
                if not isinstance(error, _StoppedError):
                    errors.append(error)

    try:
        helpers = [helper for helper in map(_started, [work] * (threads - 1)) if helper]
        work()
        # Ctrl-C waits for nobody: a part may take a second, and its thread ends with it.
        if all(isinstance(error, Exception) for error in errors):
            for helper in helpers:
                helper.join()
    finally:
        waiting.clear()  # Ctrl-C: nobody wants the rest
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(parts))]


def _started(work: Callable[[], None]) -> Thread | None:
    """A thread that works; None where the system gives no more of them."""
    thread = Thread(target=work, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


def row_threads(threads: int | None) -> int:
    """How many rows are computed at once.

    Args:
        threads: as for `hardware.choose_threads`. One, where the BLAS itself was given, or left,
            more than one thread (OPENBLAS_NUM_THREADS): together they would be too many.
    """
    alone = os.environ.get("OPENBLAS_NUM_THREADS") == "1"
    return choose_threads(threads) if alone else 1


def compute_rows(
    compute: Callable[[Input], Result], rows: Sequence[Input], threads: int
) -> list[Result]:
    """The result of each row, in their order; the first error is raised at once, Ctrl-C too."""
    if min(threads, len(rows)) <= 1:
        return [compute(row) for row in rows]
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(min(threads, len(rows)))
    try:
        return list(pool.map(compute, rows))
    finally:
        # Nobody waits for a row whose result nobody wants any more: it may take seconds.
        pool.shutdown(wait=False, cancel_futures=True)
