"""`bigcode corpus` with one and two workers beside the one-process command on the same texts.

Whole processes in turns. The start (Ray, processes, model) is measured by a data set of one row and
taken off; processor time is that of all processes, which other load changes less than the clock.
Every worker and the one process have one thread. The texts are files of installed packages, in row
groups of which each is a block, so that two workers end at about the same time. A tiny model shows
what `corpus` itself costs, the built-in ones what users see.

    python benchmarks/corpus.py [--megabytes 1] [--runs 2] [--job score|classify|tag]
                                [--model built-in|tiny]
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from contest import machine
from corpus_volume import tiny_models
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

BIGCODE = str(Path(sys.executable).with_name("bigcode"))
MODELS = {"score": "pocket_coder", "classify": "pocket_languages", "tag": "pocket_secrets"}
_MEGABYTE = 10**6
_LARGEST_FILE = 50_000
_SAMPLE_SECONDS = 0.25
_BLOCKS = 24
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """What a process took, with all that it started.

    Attributes:
        clock: seconds by the clock.
        processor: seconds of processor time.
    """

    clock: float
    processor: float


def write_texts(top: Path, megabytes: float) -> list[str]:
    """Files and a data set of the same texts, and both of one text alone; return the texts."""
    paths = sorted(Path(sysconfig.get_path("purelib")).rglob("*.py"))
    random.Random(5).shuffle(paths)  # noqa: S311  # the same choice each time
    texts: list[str] = []
    size = 0
    for path in paths:
        data = path.read_bytes()
        if size >= megabytes * _MEGABYTE:
            break
        if 0 < len(data) <= _LARGEST_FILE and b"\0" not in data:
            texts.append(data.decode("utf-8", "replace"))
            size += len(data)
    for name, chosen in (("all", texts), ("one", ["x = 1\n"])):
        (top / f"{name}-files").mkdir()
        (top / f"{name}-data").mkdir()
        for number, text in enumerate(chosen):
            (top / f"{name}-files" / f"{number}.py").write_text(text, "utf-8", newline="")
        group = max(len(chosen) // _BLOCKS, 1)
        table = pa.table({"content": chosen})
        pq.write_table(table, top / f"{name}-data" / "all.parquet", row_group_size=group)
    return texts


def cost(command: list[str]) -> Cost:
    """Run a command to its end."""
    started = time.perf_counter()
    used: dict[int, float] = {}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        while process.poll() is None:
            used.update(processor_times(process.pid))
            time.sleep(_SAMPLE_SECONDS)
        said = b"" if process.stderr is None else process.stderr.read()
    if process.returncode not in (0, 1):
        raise SystemExit(f"{command}: {said.decode()}")
    return Cost(time.perf_counter() - started, sum(used.values()))


def processor_times(top: int) -> dict[int, float]:
    """Processor seconds of a process and of those below it, by process."""
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        number = int(path.parent.name)
        parents[number] = int(fields[1])
        seconds[number] = (int(fields[11]) + int(fields[12])) / _TICKS
    below = {top}
    for _ in range(8):
        below |= {number for number, parent in parents.items() if parent in below}
    return {number: seconds[number] for number in below if number in seconds}


def main() -> None:
    """Measure in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=1)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--job", choices=sorted(MODELS), default="score")
    parser.add_argument("--model", choices=("built-in", "tiny"), default="built-in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        if options.model == "tiny":
            model = tiny_models(top / "models")[options.job]
        else:
            model = Path(__file__).parents[1] / "model" / MODELS[options.job]
        texts = write_texts(top, options.megabytes)
        tokenizer = CodeTokenizer.from_file(model / "tokenizer.json")
        tokens = sum(len(tokenizer.encode(text)) for text in texts)
        found: dict[str, dict[str, list[Cost]]] = {}
        for _ in range(options.runs):
            for label, words in commands(options.job, model, top).items():
                for size in ("one", "all"):
                    shutil.rmtree(top / "out", ignore_errors=True)
                    done = cost([word.format(size=size) for word in words])
                    found.setdefault(label, {}).setdefault(size, []).append(done)
    report(found, tokens, f"{options.job}, {options.model} model")


def commands(job: str, model: Path, top: Path) -> dict[str, list[str]]:
    """The command lines, with `{size}` for the name of the data."""
    common = ["--threads", "1", "--model", str(model)]
    plain = [BIGCODE, job, *common, "--format", "json", str(top / "{size}-files")]
    plain += [] if job == "tag" else ["--no-cache"]
    data, out = str(top / "{size}-data"), str(top / "out")
    return {
        f"bigcode {job}": plain,
        **{
            f"corpus {job}, {count} worker{'s' * (count > 1)}": [
                *(BIGCODE, "corpus", job, data, "-o", out, "--quiet"),
                *(*common, "--workers", str(count)),
            ]
            for count in (1, 2)
        },
    }


def report(found: dict[str, dict[str, list[Cost]]], tokens: int, what: str) -> None:
    """Print the table."""
    print(f"{machine()}; load {os.getloadavg()[0]:.0f}; {what}, {tokens:,} tokens\n")
    print("| | start, s | tokens/s after it | over one process | processor s, start taken off |")
    print("|---|---|---|---|---|")
    first = 0.0
    for label, costs in found.items():
        start = statistics.median(one.clock for one in costs["one"])
        work = statistics.median(one.clock for one in costs["all"]) - start
        processor = statistics.median(one.processor for one in costs["all"])
        processor -= statistics.median(one.processor for one in costs["one"])
        first = first or work
        rate = f"{tokens / work:,.0f} | {first / work:.2f}"
        print(f"| {label} | {start:.1f} | {rate} | {processor:.1f} |")


if __name__ == "__main__":
    main()
