"""How far a run over a data set is: a line that moves on a terminal, else one every 30 seconds."""

import contextlib
import sys
from time import monotonic

from bigcode_cli.framework.output import can_redraw

_SECONDS_ON_A_TERMINAL = 0.2
_SECONDS_ELSEWHERE = 30.0
_MINUTE, _HOUR = 60, 3600


class RowProgress:
    """Counts rows and tokens and shows them on stderr."""

    def __init__(self, *, quiet: bool) -> None:
        self._terminal = can_redraw()
        self._quiet = quiet
        self._every = _SECONDS_ON_A_TERMINAL if self._terminal else _SECONDS_ELSEWHERE
        self._total = self._before = self._rows = self._tokens = self._failed = 0
        self._started = self._shown = monotonic()
        self._first_new: float | None = None

    def begin(self, rows: int) -> None:
        """Say how many rows there are."""
        self._total = rows
        self._started = self._shown = monotonic()

    def advance(self, rows: int, tokens: int, failed: int) -> None:
        """Count more of them."""
        self._rows += rows
        self._tokens += tokens
        self._failed += failed
        now = monotonic()
        if not self._quiet and now - self._shown >= self._every:
            self._shown = now
            self._write(self._line(now - self._started))

    def clear(self) -> None:
        """Erase the line on a terminal."""
        if self._terminal and not self._quiet:
            self._write("")

    def _line(self, seconds: float) -> str:
        rate = self._rows / seconds if seconds else 0.0
        left = (self._total - self._rows) / rate if rate else 0.0
        parts = [
            f"{self._rows:,} of {self._total:,} rows",
            f"{self._tokens:,} tokens",
            f"{self._tokens / seconds if seconds else 0:,.0f} tokens/s",
            f"{_duration(left)} left",
        ]
        if self._failed:
            parts.append(f"{self._failed:,} failed")
        return ", ".join(parts)

    def _write(self, line: str) -> None:
        text = f"\r{line}\x1b[K" if self._terminal else f"bigcode: {line}\n"
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.buffer.write(text.encode())
            sys.stderr.buffer.flush()


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"
