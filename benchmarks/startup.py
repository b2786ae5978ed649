"""Time to start: the help, an import of PyTorch, and a completion of 64 tokens, side by side.

Knows nothing of what is inside: the figures are wall-clock times of whole processes, in turns, so
that a busy machine slows all of them alike. Run: python benchmarks/startup.py [RUNS] [MODEL]
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

PROMPT = b"def fibonacci(n):\n"
TOKENS = 64
DEFAULT_RUNS = 9


def _commands(model: list[str]) -> dict[str, list[str]]:
    program = str(Path(sys.executable).with_name("bigcode"))
    complete = [program, "complete", "--quiet", f"--max-tokens={TOKENS}", *model]
    return {
        "python -c 'import torch'": [sys.executable, "-c", "import torch"],
        "bigcode --help": [program, "--help"],
        "bigcode complete --help": [program, "complete", "--help"],
        f"bigcode complete, {TOKENS} tokens": complete,
        "the same through PyTorch": [*complete, "--precision=bfloat16"],
    }


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, input=PROMPT, capture_output=True, check=False)
    elapsed = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr.decode()}")
    return elapsed


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="?", type=int, default=DEFAULT_RUNS)
    parser.add_argument("model", nargs="?", help="a name or folder; default: the built-in model")
    options = parser.parse_args()
    runs = options.runs
    commands = _commands([f"--model={options.model}"] if options.model else [])
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(-1, runs):  # the first turn only warms the page cache
        for name, command in commands.items():
            elapsed = _seconds(command)
            if turn >= 0:
                times[name].append(elapsed)
    versions = f"Python {platform.python_version()}, torch {version('torch')}"
    cores = f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"
    print(f"{versions}, {platform.machine()}, {cores}; {runs} alternating runs\n")
    reference = statistics.median(times["python -c 'import torch'"])
    print(f"{'':32} {'median':>9} {'fastest':>9} {'slowest':>9} {'/ torch':>9} {'- torch':>9}")
    for name, values in times.items():
        median = statistics.median(values)
        row = (median, min(values), max(values))
        cells = "".join(f" {value:7.3f} s" for value in row)
        print(f"{name:32}{cells} {median / reference:9.2f} {median - reference:+7.3f} s")


if __name__ == "__main__":
    main()
