"""How far a run over a data set is: a line that moves on a terminal, else one every 30 seconds."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic

from bigcode_cli.distributed.plan import Counts
from bigcode_cli.framework.output import can_redraw

_SECONDS_ON_A_TERMINAL = 0.5
_SECONDS_ELSEWHERE = 30.0
_MINUTE, _HOUR = 60, 3600


class RowProgress:
    """Counts rows, tokens and failed rows, and shows them on stderr."""

    def __init__(self, *, quiet: bool) -> None:
        self._terminal = can_redraw()
        self._quiet = quiet
        self._every = _SECONDS_ON_A_TERMINAL if self._terminal else _SECONDS_ELSEWHERE
        self._total = 0
        self._done: Counts = (0, 0, 0)
        self._before: Counts = (0, 0, 0)
        self._shown: Counts = (0, 0, 0)
        self._started = monotonic()

    def begin(self, rows: int) -> None:
        """Say how many rows there are."""
        self._total = rows

    def advance(self, rows: int, tokens: int, failed: int) -> None:
        """Count rows of blocks that are done."""
        self._done = _sum(self._done, (rows, tokens, failed))

    @contextmanager
    def watch(self, unfinished: Callable[[], Counts]) -> Iterator[None]:
        """Show progress while blocks are computed; what was counted before is of earlier runs.

        Args:
            unfinished: counts of the blocks that are not done yet.
        """
        self._before, self._started = self._done, monotonic()
        ended = Event()
        thread = Thread(target=self._show, args=(unfinished, ended), daemon=True)
        if not self._quiet:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            if not self._quiet:
                thread.join(self._every)
                if self._terminal:
                    self._write("")

    def _show(self, unfinished: Callable[[], Counts], ended: Event) -> None:
        while not ended.wait(self._every):
            # The actor that is asked may be busy or starting; the next line will know more.
            with contextlib.suppress(Exception):
                now = _sum(self._done, unfinished())
                # A block is done a moment before it is counted.
                self._shown = max(self._shown, now)
                if not ended.is_set():
                    self._write(self.line(self._shown, monotonic() - self._started))

    def line(self, now: Counts, seconds: float) -> str:
        """What is shown after some time."""
        rows, tokens, failed = now
        rate = (rows - self._before[0]) / seconds if seconds else 0.0
        left = f"{_duration((self._total - rows) / rate)} left" if rate else "time left unknown"
        speed = (tokens - self._before[1]) / seconds if seconds else 0.0
        parts = [
            f"{rows:,} of {self._total:,} rows",
            f"{tokens:,} tokens",
            f"{speed:,.0f} tokens/s",
            left,
        ]
        if failed:
            parts.append(f"{failed:,} failed")
        return ", ".join(parts)

    def _write(self, line: str) -> None:
        text = f"\r{line}\x1b[K" if self._terminal else f"bigcode: {line}\n"
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.buffer.write(text.encode())
            sys.stderr.buffer.flush()


def _sum(one: Counts, other: Counts) -> Counts:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"
