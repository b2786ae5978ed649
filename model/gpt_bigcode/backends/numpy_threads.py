"""NumPy on several threads: rows, and the chunks of a long prompt.

NumPy releases Python's lock inside its loops, so threads share the processor without sharing a
product: the numbers are those of one thread. Waiting threads sleep, unlike those of a BLAS.

Rows are independent. A chunk of a prompt needs, in each layer, the keys and values that the chunks
before it made there, and nothing else of them: so one thread may compute a chunk while another, a
few layers later, computes the next.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock, Thread
from typing import TypeVar

from gpt_bigcode.backends.numpy_tensors import Floats, KVRow

Input = TypeVar("Input")
Result = TypeVar("Result")


class _StoppedError(Exception):
    """Another chunk failed."""


class _Chunk(KVRow):
    """A part of a row that has room for all; in each layer it waits for the parts before it."""

    def __init__(self, row: KVRow, start: int, before: "_Chunk | None") -> None:
        super().__init__(row.store, start)
        self._before = before
        self._stopped = False
        # Held until the keys and values of a layer are there, those of the chunks before included.
        self._layers = [Lock() for _ in range(len(row.store))]
        for lock in self._layers:
            lock.acquire()

    def put(self, layer: int, both: Floats) -> None:
        """See `KVRow`.

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


def read_parts(
    read: Callable[[KVRow, Sequence[int]], Result],
    row: KVRow,
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
    end = row.length + sum(map(len, parts))
    row.reserve(end)
    before, chunks, start = None, [], row.length
    for tokens in parts:
        before = _Chunk(row, start, before)
        chunks.append((before, tokens))
        start += len(tokens)
    found = _read_side_by_side(read, chunks, min(threads, len(parts)))
    row.length = end
    return found


def _read_side_by_side(
    read: Callable[[KVRow, Sequence[int]], Result],
    parts: Sequence[tuple[_Chunk, Sequence[int]]],
    threads: int,
) -> list[Result]:
    results: dict[int, Result] = {}
    errors: list[BaseException] = []
    # Taken in order, so that a part that another waits for is always in work.
    waiting = deque(range(len(parts)))

    def work() -> None:
        """Read parts until none is left."""
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


def compute_rows(
    compute: Callable[[Input], Result], rows: Sequence[Input], threads: int
) -> list[Result]:
    """The result of each row, in their order; the first error is raised at once, Ctrl-C too."""
    pool = ThreadPoolExecutor(min(threads, len(rows)))
    try:
        return list(pool.map(compute, rows))
    finally:
        # Nobody waits for a row whose result nobody wants any more: it may take seconds.
        pool.shutdown(wait=False, cancel_futures=True)
