"""Computes several rows at once, each on a thread of its own.

NumPy releases Python's lock inside its loops, so rows share the processor without sharing a
product: each gives the numbers that it gives alone. Waiting threads sleep, unlike those of a BLAS.
"""

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from gpt_bigcode.hardware import choose_threads

Row = TypeVar("Row")
Result = TypeVar("Result")


def row_threads(threads: int | None) -> int:
    """How many rows are computed at once.

    Args:
        threads: as for `hardware.choose_threads`. One, where the BLAS itself was given, or left,
            more than one thread (OPENBLAS_NUM_THREADS): together they would be too many.
    """
    alone = os.environ.get("OPENBLAS_NUM_THREADS") == "1"
    return choose_threads(threads) if alone else 1


def compute_rows(
    compute: Callable[[Row], Result], rows: Sequence[Row], threads: int
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
