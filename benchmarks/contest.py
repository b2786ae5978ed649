"""Runs contenders in turns, each in a process of its own, and prints medians, spread and ratios.

A contender loads once, then repeats the same work on request; taking turns lets other load slow all
of them alike.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from gpt_bigcode.hardware import cpu_flags

_PACKAGES = ("torch", "numpy", "transformers", "ctranslate2", "xllamacpp")
# Instructions that decide which number format is fast.
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
_READY = "ready"

Work = Callable[[], object]


class Contender:
    """One process that repeats its work for every line on its standard input.

    Attributes:
        chosen: what it says of how it works, such as its best batch size.
    """

    def __init__(self, script: str, arguments: Sequence[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        self.chosen = self._expect_ready()

    def seconds(self) -> float:
        """Do the work once; its wall-clock time, measured inside."""
        streams = self._process
        if streams.stdin is None or streams.stdout is None:
            raise RuntimeError("the contender has no pipes")
        streams.stdin.write("go\n")
        streams.stdin.flush()
        return float(streams.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _expect_ready(self) -> str:
        stdout = self._process.stdout
        word, _, chosen = ("" if stdout is None else stdout.readline()).strip().partition(" ")
        if word != _READY:
            raise SystemExit(f"a contender did not start: {self._process.args!r}")
        return chosen


def fastest(works: Mapping[str, Work], repeat: int = 3) -> str:
    """The name of the work that takes least time; each is done once before, to warm up."""
    best: dict[str, float] = {}
    for name, work in works.items():
        work()
        best[name] = min(_seconds(work) for _ in range(repeat))
    return min(best, key=lambda name: best[name])


def serve(work: Work, *, warm_up: Work | None = None, chosen: str = "") -> None:
    """Be a contender: warm up, then repeat the work for every line and tell its seconds.

    Args:
        work: what is measured.
        warm_up: done once before; default: the work.
        chosen: what `Contender.chosen` tells.
    """
    (warm_up or work)()
    print(_READY, chosen, flush=True)
    for _ in sys.stdin:
        print(_seconds(work), flush=True)


def _seconds(work: Work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def take_turns(contenders: dict[str, Contender], runs: int) -> dict[str, list[float]]:
    """Seconds of every run; the processes are ended."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, contender in contenders.items():
            times[name].append(contender.seconds())
    for contender in contenders.values():
        contender.close()
    return times


def machine() -> str:
    """Versions, processor with its matrix instructions, and load, for the results page."""
    parts = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    flags = [name for name in _FLAGS if name in cpu_flags()]
    cores = len(os.sched_getaffinity(0))
    parts.append(f"{platform.machine()} with {' '.join(flags) or 'no AVX'}, {cores} processors")
    return ", ".join([*parts, f"load {os.getloadavg()[0]:.1f}"])


def table(times: dict[str, list[float]], units: float, unit: str) -> str:
    """A Markdown table: units a second (median, slowest, fastest), and the first over each."""
    rows = [f"| | {unit}/s, median | slowest | fastest | first / this |", "|---|---|---|---|---|"]
    first = statistics.median(next(iter(times.values())))
    for name, values in times.items():
        middle = statistics.median(values)
        rates = " | ".join(f"{units / value:,.0f}" for value in (middle, max(values), min(values)))
        rows.append(f"| {name} | {rates} | {middle / first:.2f} |")
    return "\n".join(rows)
