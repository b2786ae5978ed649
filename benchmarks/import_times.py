"""What each command imports, and how long that takes, by package: `python -X importtime` summed up.

Knows nothing of what is imported. A module's own time counts, without that of what it imports in
turn; the median of some runs. Watching takes time itself, so the sums are above the unwatched ones.
Run: python benchmarks/import_times.py [--runs 5]
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from contest import machine

FILE = Path(__file__).resolve()
COMMANDS: dict[str, list[str | Path]] = {
    "--help": ["--help"],
    "complete": ["complete", "--quiet", "--no-prefix-cache", "--max-tokens=1", FILE],
    "complete in int8": ["complete", "--quiet", "--max-tokens=1", "--precision=int8", FILE],
    "score": ["score", "--quiet", "--no-cache", FILE],
    "classify": ["classify", "--quiet", "--no-cache", FILE],
    "tag": ["tag", "--quiet", FILE],
    "models list": ["models", "list"],
}
# The rows of the table; what belongs to none of them is the standard library's or another's.
PACKAGES = {
    "bigcode_cli": ("bigcode_cli",),
    "gpt_bigcode": ("gpt_bigcode",),
    "Typer": ("typer", "click", "shellingham"),
    "rich": ("rich", "pygments", "markdown_it"),
    "NumPy": ("numpy",),
    "PyTorch": ("torch", "sympy", "mpmath", "networkx"),
    "tokenizers": ("tokenizers",),
    "huggingface_hub": ("huggingface_hub", "httpx", "httpcore", "filelock", "fsspec", "yaml"),
    "platformdirs": ("platformdirs",),
    "the standard library": tuple(sys.stdlib_module_names),
}
OTHERS = "others"
_LINE = re.compile(r"import time: +(\d+) \| +\d+ \| +(\S+)$")


def package_of(module: str) -> str:
    """The row that a module belongs to."""
    root = module.partition(".")[0]
    return next((name for name, roots in PACKAGES.items() if root in roots), OTHERS)


def own_times(arguments: list[str | Path], home: str) -> dict[str, float]:
    """Milliseconds of one process by package."""
    command = [sys.executable, "-X", "importtime", "-m", "bigcode_cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=home)
    if done.returncode:
        sys.exit(f"import_times: {' '.join(command)}: {done.stderr[-2000:]}")
    times: dict[str, float] = defaultdict(float)
    for line in done.stderr.splitlines():
        found = _LINE.match(line)
        if found:
            times[package_of(found[2])] += int(found[1]) / 1e3
    return times


def main() -> None:
    """Measure and print a table of Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    rows = (*PACKAGES, OTHERS)
    columns: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as home:
        for name, arguments in COMMANDS.items():
            found = [own_times(arguments, home) for _ in range(runs + 1)][1:]
            columns[name] = [statistics.median(one[row] for one in found) for row in rows]
    print(f"{machine()}; median of {runs} runs\n")
    print("| ms | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for number, row in enumerate(rows):
        print(
            f"| {row} | " + " | ".join(f"{times[number]:.0f}" for times in columns.values()) + " |"
        )
    print("| together | " + " | ".join(f"{sum(times):.0f}" for times in columns.values()) + " |")


if __name__ == "__main__":
    main()
