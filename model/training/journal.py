"""Values of a long evaluation, kept one by one, so that a killed run goes on where it was.

The file is removed when everything has been measured.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, TypeVar

from training.output import note

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Case = TypeVar("Case")

PROGRESS_SECONDS = 15.0


class Journal:
    """A file of JSON lines: the name of a measure, the number of its case, value and seconds."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._values: dict[tuple[str, int], Any] = {}
        self.seconds: dict[str, float] = {}
        whole = 0
        for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
            if not line.endswith(b"\n"):
                break  # the process was killed while it wrote this one
            self._remember(*json.loads(line))
            whole += len(line)
        with path.open("ab") as stream:
            stream.truncate(whole)

    def each(self, name: str, cases: Sequence[Case], make: Callable[[Case], Any]) -> list[Any]:
        """The JSON values that `make` gives for the cases; those that are known are not made."""
        shown = time.monotonic()
        known = sum((name, number) in self._values for number in range(len(cases)))
        note(f"{name}: {len(cases)} cases, {known} of them known")
        for number, case in enumerate(cases):
            if (name, number) in self._values:
                continue
            # Processor time: a process that is paused for a while measures the same.
            started = time.process_time()
            value = make(case)
            self._write(name, number, value, time.process_time() - started)
            if time.monotonic() - shown >= PROGRESS_SECONDS:
                shown = time.monotonic()
                note(f"{name}: {number + 1} of {len(cases)}")
        return [self._values[name, number] for number in range(len(cases))]

    def finish(self) -> None:
        """Everything is measured: the next run starts over."""
        self.path.unlink()

    def _write(self, name: str, number: int, value: Any, seconds: float) -> None:
        line = json.dumps([name, number, value, round(seconds, 4)])
        with self.path.open("ab") as stream:
            stream.write(f"{line}\n".encode())
        self._remember(*json.loads(line))

    def _remember(self, name: str, number: int, value: Any, seconds: float) -> None:
        self._values[name, number] = value
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
