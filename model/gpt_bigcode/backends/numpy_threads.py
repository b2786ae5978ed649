"""NumPy on several threads: rows, and the chunks of a long prompt.

NumPy releases the GIL inside its loops, so threads run in parallel without sharing a product: the
results are those of one thread. Waiting threads sleep, unlike those of a BLAS.

Rows are independent. In each layer, a chunk of a prompt needs only the keys and values of the
chunks before it: so one thread may compute a chunk while another computes the next one, a few
layers earlier.
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
    """A part of a row whose memory is shared; in each layer it waits for the parts before it."""

    def __init__(self, row: KVRow, start: int, before: "_Chunk | None") -> None:
        super().__init__(row.store, start)
        self._before = before
        self._stopped = False
        # Held until a layer has the keys and values of this chunk and of those before it.
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
        """Wait for this chunk's keys and values of a layer; for a single caller."""
        self._layers[layer].acquire()
        if self._stopped:
            raise _StoppedError

    def stop(self) -> None:
        """End the wait of the next chunk: this one failed."""
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
    """Append tokens to a row, part by part in parallel; return what `read` returns for each part.

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
    # Taken in order, so that a part that another waits for is always being computed.
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
        # Ctrl-C does not wait: a part may take a second, and its thread ends by itself.
        if all(isinstance(error, Exception) for error in errors):
            for helper in helpers:
                helper.join()
    finally:
        waiting.clear()  # after Ctrl-C the rest is not needed
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(parts))]


def _started(work: Callable[[], None]) -> Thread | None:
    """A running thread; None if the system has no more of them."""
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
        # Do not wait for rows whose results are not needed any more: they may take seconds.
        pool.shutdown(wait=False, cancel_futures=True)
