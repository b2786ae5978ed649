"""Progress of a download: a bar on a terminal that can redraw, lines on one that cannot."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bigcode_cli.framework.output import Notes, can_redraw, shown_bytes

if TYPE_CHECKING:
    from rich.progress import Progress

_LINE_SECONDS = 5.0
_REDRAW_SECONDS = 0.1


class ByteProgress:
    """Counts bytes; use it in a `with` statement, which removes the bar at the end."""

    def __init__(self, name: str, total_bytes: int, notes: Notes) -> None:
        self._name = name
        self._total = total_bytes
        self._notes = notes
        self._done = 0
        self._began = self._shown = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        """Show the bar, if stderr is a terminal that can."""
        if can_redraw() and not self._notes.quiet:
            self._bar = _new_bar()
            self._bar.add_task(self._name, total=self._total)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the bar."""
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
        """Count received bytes; a negative count takes back bytes to be sent again."""
        self._done += count
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._done)
            if now - self._shown > _REDRAW_SECONDS:
                self._shown = now
                self._bar.refresh()
        elif self._notes.has_listener and now - self._shown > _LINE_SECONDS:
            self._shown = now
            rate = self._done / (now - self._began)
            minutes, seconds = divmod(round((self._total - self._done) / rate) if rate else 0, 60)
            done, total = shown_bytes(self._done), shown_bytes(self._total)
            left = f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left"
            self._notes.note(f"{self._name}: {done} of {total}, {shown_bytes(rate)}/s, {left}")


def _new_bar() -> "Progress":
    """Build the bar; it draws only on request, so that no thread outlives Ctrl-C."""
    from rich import progress
    from rich.console import Console
    from rich.table import Column

    def one_line() -> Column:
        return Column(no_wrap=True)

    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False, table_column=one_line()),
        progress.BarColumn(),  # the one that shrinks on a narrow terminal
        progress.DownloadColumn(table_column=one_line()),
        progress.TransferSpeedColumn(table_column=one_line()),
        progress.TimeRemainingColumn(compact=True, table_column=one_line()),
        console=Console(stderr=True, markup=False, highlight=False),
        auto_refresh=False,
        transient=True,
    )
