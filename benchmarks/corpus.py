"""`bigcode corpus score` with one and two workers beside `bigcode score` on the same files.

Whole processes, so that Ray's start and the loading of models count; --megabytes decides how much
that matters. Files are those of installed packages.

    python benchmarks/corpus.py [--megabytes 4] [--runs 2]
"""

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from contest import machine

BIGCODE = str(Path(sys.executable).with_name("bigcode"))
_MEGABYTE = 10**6
_LARGEST_FILE = 50_000


def write_files(folder: Path, megabytes: float) -> list[str]:
    """Copy files of installed packages until there are enough bytes; return their texts."""
    paths = sorted(Path(sysconfig.get_path("purelib")).rglob("*.py"))
    random.Random(5).shuffle(paths)  # noqa: S311  # the same choice each time
    texts: list[str] = []
    size = 0
    for path in paths:
        data = path.read_bytes()
        if size >= megabytes * _MEGABYTE:
            break
        if 0 < len(data) <= _LARGEST_FILE and b"\0" not in data:
            (folder / f"{len(texts)}.py").write_bytes(data)
            texts.append(data.decode("utf-8", "replace"))
            size += len(data)
    return texts


def seconds(command: list[str]) -> float:
    """How long a process takes."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=4)
    parser.add_argument("--runs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        (top / "files").mkdir()
        (top / "data").mkdir()
        table = pa.table({"content": write_files(top / "files", options.megabytes)})
        pq.write_table(table, top / "data" / "all.parquet")
        plain = [BIGCODE, "score", "--no-cache", "--format", "json", str(top / "files")]
        corpus = [BIGCODE, "corpus", "score", str(top / "data"), "-o", str(top / "out")]
        commands = {
            "bigcode score": plain,
            "corpus, 1 worker": [*corpus, "--workers", "1"],
            "corpus, 2 workers": [*corpus, "--workers", "2"],
        }
        done = subprocess.run(plain, check=True, capture_output=True)
        tokens = sum(file["tokens"] for file in json.loads(done.stdout)["files"])
        times: dict[str, list[float]] = {label: [] for label in commands}
        for _ in range(options.runs):
            for label, command in commands.items():
                shutil.rmtree(top / "out", ignore_errors=True)
                times[label].append(seconds(command))
    first = statistics.median(times["bigcode score"])
    print(f"{machine()}; {tokens:,} tokens\n\n| | seconds | tokens/s | over one process |")
    print("|---|---|---|---|")
    for label, values in times.items():
        middle = statistics.median(values)
        print(f"| {label} | {middle:.1f} | {tokens / middle:,.0f} | {first / middle:.2f} |")


if __name__ == "__main__":
    main()
