"""One line on a terminal that says how far long work has come."""

import contextlib
import sys
from collections.abc import Sequence
from time import monotonic

from bigcode_cli.files.sources import Source
from bigcode_cli.framework.output import safe

_FIRST_AFTER_SECONDS = 0.5
_EVERY_SECONDS = 0.1
_ESTIMATE_AFTER_SECONDS = 2.0
_BAR_COLUMNS = 20
_MINUTE = 60


class Progress:
    """Counts bytes and files, and shows them on stderr, a terminal that can erase a line.

    The line: a bar, the share, bytes, files, the time that is left, and the file in work.
    """

    def __init__(self, texts: Sequence[Source], work: str) -> None:
        self._texts = texts
        self._total = sum(text.size for text in texts)
        self._work = work
        self._bytes = self._files = 0
        self._started = monotonic()
        self._next = self._started + _FIRST_AFTER_SECONDS
        self._shown = False

    def advance(self, size: int) -> None:
        """Count bytes that were read."""
        self._bytes += size
        now = monotonic()
        if now >= self._next:
            self._next = now + _EVERY_SECONDS
            self._write(self._line(now - self._started))

    def finish_file(self) -> None:
        """Count a file, and erase the line: its result is about to be written."""
        self._files += 1
        self.clear()

    def clear(self) -> None:
        """Erase the line, before anything else is written."""
        if self._shown:
            self._write("")
            self._shown = False

    def _line(self, seconds: float) -> str:
        from rich.console import Console
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        console = Console(file=sys.stderr, highlight=False, markup=False)
        grid = Table.grid(padding=(0, 1, 0, 0))
        bar = ProgressBar(self._total, min(self._bytes, self._total), width=_BAR_COLUMNS)
        bars = [bar] if self._total and self._total >= self._bytes else []
        cells: list[str | ProgressBar] = [f"{self._work}:", *bars, *self._parts(seconds)]
        for _ in cells:
            grid.add_column(no_wrap=True, overflow="ellipsis")
        grid.add_row(*cells)
        with console.capture() as captured:
            console.print(grid, width=max(console.width - 1, 1))
        return captured.get().split("\n")[0].rstrip()

    def _parts(self, seconds: float) -> list[str]:
        from rich.filesize import decimal

        done = decimal(self._bytes)
        if self._bytes > self._total or not self._total:  # sizes are unknown, as in git's index
            parts = [done]
        else:
            parts = [f"{100 * self._bytes // self._total} %", f"{done} of {decimal(self._total)}"]
        if len(self._texts) > 1:
            parts.append(f"{self._files} of {len(self._texts)} files")
        if seconds > _ESTIMATE_AFTER_SECONDS and 0 < self._bytes <= self._total:
            left = int(seconds * (self._total - self._bytes) / self._bytes)
            parts.append(f"{left // _MINUTE}:{left % _MINUTE:02d} left")
        if self._files < len(self._texts):
            parts.append(safe(self._texts[self._files].name))
        return parts

    def _write(self, line: str) -> None:
        self._shown = True
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.buffer.write(f"\r{line}\x1b[K".encode())
            sys.stderr.buffer.flush()
