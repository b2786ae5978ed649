"""How far a download is: a bar on a terminal, a line every few seconds elsewhere."""

import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bigcode_cli.framework.output import Notes, shown_bytes

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_LINE_SECONDS = 5.0
_REDRAW_SECONDS = 0.1


class Progress:
    """Counts bytes; use it in a `with` statement, which takes the bar away at the end."""

    def __init__(self, name: str, total_bytes: int, notes: Notes) -> None:
        self._name = name
        self._total = total_bytes
        self._notes = notes
        self._done = 0
        self._began = self._shown = time.monotonic()
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Show the bar, if stderr is a terminal that can."""
        terminal = sys.stderr is not None and sys.stderr.isatty()
        if terminal and not self._notes.quiet and os.environ.get("TERM") != "dumb":
            self._bar = _new_bar()
            self._task = self._bar.add_task(self._name, total=self._total)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Write a note above the bar."""
        if self._bar is not None:
            self._bar.stop()
        self._notes.note(text)
        if self._bar is not None:
            self._bar.start()

    def detail(self, text: str) -> None:
        """Write above the bar what only --verbose asks for."""
        if self._notes.verbose:
            self.say(text)

    def advance(self, count: int) -> None:
        """Count bytes that have come, or that are needed again if negative."""
        self._done += count
        self._show()

    def _show(self) -> None:
        now, there = time.monotonic(), max(self._done, 0)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=there)
            if now - self._shown > _REDRAW_SECONDS:
                self._shown = now
                self._bar.refresh()
        elif now - self._shown > _LINE_SECONDS:
            self._shown = now
            rate = there / (now - self._began)
            left = (self._total - there) / rate if rate else 0.0
            done, total = shown_bytes(there), shown_bytes(self._total)
            self._notes.note(
                f"{self._name}: {done} of {total}, {shown_bytes(rate)}/s, {_duration(left)} left"
            )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _new_bar() -> "Bar":
    """Build the bar; it draws only when it is told to, so that no thread outlives Ctrl-C."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.table import Column

    def one_line() -> Column:
        return Column(no_wrap=True)

    return Progress(
        TextColumn("{task.description}", markup=False, table_column=one_line()),
        BarColumn(),  # the one that gives way on a narrow terminal
        DownloadColumn(table_column=one_line()),
        TransferSpeedColumn(table_column=one_line()),
        TimeRemainingColumn(compact=True, table_column=one_line()),
        console=Console(stderr=True, markup=False, highlight=False),
        auto_refresh=False,
        transient=True,
    )
