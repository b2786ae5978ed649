"""One line on a terminal that says how far long work has come; nothing anywhere else.

Knows nothing of what the work is.
"""

import contextlib
import os
import sys
from time import monotonic

_FIRST_AFTER_SECONDS = 0.5
_EVERY_SECONDS = 0.1
_MEGABYTE = 10**6


class Progress:
    """Counts bytes, and shows them on stderr if that is a terminal that can erase a line."""

    def __init__(self, total_bytes: int, *, quiet: bool, work: str = "scoring") -> None:
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self._enabled = terminal and not quiet and os.environ.get("TERM") not in (None, "", "dumb")
        self._total = total_bytes
        self._work = work
        self._done = 0
        self._next = monotonic() + _FIRST_AFTER_SECONDS
        self._shown = False

    def advance(self, size: int) -> None:
        """Count some bytes more."""
        self._done += size
        if self._enabled and monotonic() >= self._next:
            self._next = monotonic() + _EVERY_SECONDS
            self._write(self._line())

    def clear(self) -> None:
        """Erase the line, before anything else is written."""
        if self._shown:
            self._write("")
            self._shown = False

    def _line(self) -> str:
        done = f"{self._done / _MEGABYTE:.1f}"
        if self._total < self._done:
            return f"{self._work}: {done} MB"
        share = f"{100 * self._done // self._total} %"
        return f"{self._work}: {share} ({done} of {self._total / _MEGABYTE:.1f} MB)"

    def _write(self, line: str) -> None:
        self._shown = True
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.buffer.write(f"\r{line}\x1b[K".encode())
            sys.stderr.buffer.flush()
