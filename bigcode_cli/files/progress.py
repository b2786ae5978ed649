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
_SHORTEST_BAR = 5
_NAME_COLUMNS = 16  # that a bar leaves to the name
_SHORTEST_NAME = 8
_MINUTE = 60


class Progress:
    """Counts bytes and files, and shows them on stderr, a terminal that can erase a line.

    The line: a bar, the share, bytes, files, the time that is left, and the file in work. A
    narrow terminal shows less of it, but no part that is cut; only a name loses its beginning.
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
        from rich.cells import cell_len
        from rich.console import Console
        from rich.progress_bar import ProgressBar

        console = Console(file=sys.stderr, highlight=False, markup=False)
        parts = self._parts(seconds)
        room = console.width - 1 - cell_len(f"{self._work}: {' '.join(parts.values())}")
        for least in ("bytes", "files", "left", "share"):
            if room < 0 and least in parts:
                room += cell_len(parts.pop(least)) + 1
        if room < 0:
            return ""
        bar = min(_BAR_COLUMNS, room - 1 - _NAME_COLUMNS)
        if bar < _SHORTEST_BAR or not 0 < self._bytes <= self._total:
            return self._joined("", parts, room)
        with console.capture() as captured:
            console.print(ProgressBar(self._total, self._bytes, width=bar), end="")
        return self._joined(captured.get().rstrip("\n"), parts, room - bar - 1)

    def _joined(self, bar: str, parts: dict[str, str], room: int) -> str:
        """The line, with as much of the file's name as there is room for."""
        name = ""
        if self._files < len(self._texts) and room > _SHORTEST_NAME:
            name = _end_of(safe(self._texts[self._files].name), room - 1)
        return " ".join(filter(None, (f"{self._work}:", bar, *parts.values(), name)))

    def _parts(self, seconds: float) -> dict[str, str]:
        """What there is to say, in the order in which it is shown."""
        from rich.filesize import decimal

        done = decimal(self._bytes)
        if self._bytes > self._total or not self._total:  # sizes are unknown, as in git's index
            parts = {"bytes": done}
        else:
            share = f"{100 * self._bytes // self._total} %"
            parts = {"share": share, "bytes": f"{done} of {decimal(self._total)}"}
        if len(self._texts) > 1:
            parts["files"] = f"{self._files} of {len(self._texts)} files"
        if seconds > _ESTIMATE_AFTER_SECONDS and 0 < self._bytes <= self._total:
            left = int(seconds * (self._total - self._bytes) / self._bytes)
            parts["left"] = f"{left // _MINUTE}:{left % _MINUTE:02d} left"
        return parts

    def _write(self, line: str) -> None:
        self._shown = True
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.buffer.write(f"\r{line}\x1b[K".encode())
            sys.stderr.buffer.flush()


def _end_of(name: str, columns: int) -> str:
    """A name that fits, without its beginning: its end tells more."""
    from rich.cells import cell_len

    if cell_len(name) <= columns:
        return name
    while cell_len(name) >= columns:
        name = name[1:]
    return f"…{name}"
