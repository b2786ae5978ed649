"""The second call on a file: whole processes of `bigcode complete` and `infill`, cold and warm.

Knows nothing of what is kept. The ways take turns, so that a busy machine slows all of them alike;
the warm one finds what a call before a small edit at the end has left.
Run: python benchmarks/prefix_cache.py [--runs N] [--model MODEL]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from numpy import __version__ as numpy_version

DEFAULT_RUNS = 9
SIZES = (300, 700, 1500)  # tokens of the prompt, about
PROGRAM = str(Path(sys.executable).with_name("bigcode"))
_BYTES_A_TOKEN = 3.2
_TOKENS = 16


def source(tokens: int) -> str:
    """The beginning of a real file, about so many tokens long."""
    text = Path(str(argparse.__file__)).read_text("utf-8")
    return text[: int(tokens * _BYTES_A_TOKEN)]


def call(text: str, cache: Path, *options: str) -> tuple[float, float, str]:
    """Seconds of a whole process, of its prefill, and the text."""
    command = [PROGRAM, "complete", f"--max-tokens={_TOKENS}", "--format=json", *options]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    started = perf_counter()
    done = subprocess.run(
        command, input=text.encode(), capture_output=True, check=False, env=environment
    )
    elapsed = perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr.decode()}")
    document = json.loads(done.stdout)
    return elapsed, document["timings"]["prefill_seconds"], document["choices"][0]["text"]


def measure(tokens: int, runs: int, options: list[str]) -> str:
    """One row of the table."""
    text = source(tokens)
    whole: dict[str, list[float]] = {"cold": [], "warm": []}
    prefill: dict[str, list[float]] = {"cold": [], "warm": []}
    same = True
    with tempfile.TemporaryDirectory() as folder:
        call(text, Path(folder), *options)
        for turn in range(runs):
            edited = f"{text}\n# edit {turn}\nvalue = "
            texts = {}
            for way in ("cold", "warm"):
                switch = ["--no-prefix-cache"] if way == "cold" else []
                seconds, reading, texts[way] = call(edited, Path(folder), *options, *switch)
                whole[way].append(seconds)
                prefill[way].append(reading)
            same = same and texts["cold"] == texts["warm"]
        kept = sum(path.stat().st_size for path in Path(folder).rglob("*.kv"))
    cells = [f"| {tokens} "]
    for values in (prefill, whole):
        cold, warm = (statistics.median(values[way]) for way in ("cold", "warm"))
        spread = f"{min(values['warm']):.3f} to {max(values['warm']):.3f}"
        cells.append(f"| {cold:.3f} s | {warm:.3f} s ({spread}) | {cold / warm:.2f} ")
    return "".join(cells) + f"| {kept / 1e6:.1f} MB | {'yes' if same else 'NO'} |"


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=DEFAULT_RUNS)
    parser.add_argument("--model", help="a name or folder; default: the built-in model")
    chosen = parser.parse_args()
    runs, options = chosen.runs, [f"--model={chosen.model}"] if chosen.model else []
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, NumPy {numpy_version}, {platform.machine()},")
    print(f"{os.cpu_count()} processors, load {load:.1f}; {runs} alternating runs\n")
    print(
        "| tokens | prefill cold | warm | ratio | process cold | warm | ratio | kept | same text |"
    )
    print("|---" * 9 + "|")
    for tokens in SIZES:
        print(measure(tokens, runs, options), flush=True)


if __name__ == "__main__":
    main()
