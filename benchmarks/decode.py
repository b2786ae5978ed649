"""Decode and prefill rates of one shape beside transformers, CTranslate2 and llama.cpp.

All engines get the same random weights. Each stays in a process of its own and they take turns, so
that other load slows all alike: read the ratios. Peers that are not installed are left out
(llama.cpp: `pip install xllamacpp gguf`).

    python benchmarks/decode.py [SHAPE] [--runs N] [--context N] [--prefill N] [--only ENGINE]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contest import machine
from gpt_bigcode.benchmarking.random_weights import FAMILY, family_config, write_random_checkpoint

HERE = Path(__file__).resolve().parent
NEW_TOKENS, PREFILL_TOKENS, WARM_UP_TOKENS = 32, 1024, 64
# The first one is what the others are compared with.
PEERS = {
    "bigcode auto": "bigcode:auto",
    "bigcode int8": "bigcode:int8",
    "bigcode int4": "bigcode:int4",
    "bigcode float32": "bigcode:float32",
    "transformers float32": "transformers:float32",
    "transformers bfloat16": "transformers:bfloat16",
    "CTranslate2 int8": "ctranslate2:int8",
    "llama.cpp Q8_0": "llama.cpp:q8_0",
    "llama.cpp Q4_0": "llama.cpp:q4_0",
}


class Runner:
    """One engine in its process: `measure` sends a line and reads one."""

    def __init__(self, kind: str, folder: Path, threads: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "engines.py"), kind, str(folder), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.loaded = self._read()

    def measure(self, context: int, prefill: int) -> dict[str, Any]:
        """Time one prefill and some steps after `context` tokens; rates in tokens per second."""
        request = {"context": context, "new": NEW_TOKENS, "prefill": prefill}
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        line = self._process.stdout.readline()
        if not line:
            raise EOFError
        answer: dict[str, Any] = json.loads(line)
        return answer


def _start(names: list[str], folder: Path, threads: int) -> dict[str, Runner]:
    runners = {}
    for name in names:
        try:
            runners[name] = Runner(PEERS[name], folder, threads)
        except EOFError:
            print(f"{name}: not here, left out", file=sys.stderr)
    return runners


def _ratio(first: list[float], other: list[float]) -> float:
    """How many times faster the first is: the median over the turns."""
    return statistics.median(a / b for a, b in zip(first, other, strict=True))


def table(rates: Mapping[str, Mapping[str, list[float]]], loads: Mapping[str, float]) -> str:
    """A Markdown table; ratios are the first row divided by each row, median over the turns."""
    head = "| | decode, tokens/s (range) | ratio | prefill, tokens/s (range) | ratio | load |"
    rows = [head, "|---|---|---|---|---|---|"]
    first = next(iter(rates.values()))
    for name, values in rates.items():
        cells = [name]
        for kind in ("decode", "prefill"):
            middle, low, high = (
                statistics.median(values[kind]),
                min(values[kind]),
                max(values[kind]),
            )
            cells.append(f"{middle:,.1f} ({low:,.1f} to {high:,.1f})")
            cells.append(f"{_ratio(first[kind], values[kind]):.2f}")
        rows.append(f"| {' | '.join(cells)} | {loads[name]:.1f} s |")
    return "\n".join(rows)


def measure(arguments: argparse.Namespace, folder: Path) -> str:
    """Start every engine, let them take turns, and sum up as a table."""
    names = [name for name in PEERS if not arguments.only or name in arguments.only]
    runners = _start(names, folder, arguments.threads)
    rates: dict[str, dict[str, list[float]]] = {n: {"decode": [], "prefill": []} for n in runners}
    for runner in runners.values():
        runner.measure(WARM_UP_TOKENS, WARM_UP_TOKENS)
    for _ in range(arguments.runs):
        for name, runner in runners.items():
            measured = runner.measure(arguments.context, arguments.prefill)
            for kind, values in rates[name].items():
                values.append(measured[kind])
    for runner in runners.values():
        runner.close()
    return table(rates, {name: runner.loaded["load_seconds"] for name, runner in runners.items()})


def main() -> None:
    """Write the checkpoint if it is missing, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", nargs="?", choices=list(FAMILY), default="tiny_starcoder_py")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--prefill", type=int, default=PREFILL_TOKENS)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--folder", type=Path, help="keeps the checkpoint for the next run")
    parser.add_argument("--only", action="append", choices=list(PEERS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)) / arguments.shape
        if not (folder / "config.json").exists():
            folder.mkdir(parents=True)
            write_random_checkpoint(folder, family_config(arguments.shape))
        shown = measure(arguments, folder)
    print(f"{arguments.shape}, context {arguments.context}, prefill {arguments.prefill};")
    print(f"{machine()}\n\n{shown}")


if __name__ == "__main__":
    main()
