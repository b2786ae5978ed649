"""Decode and prefill rates of one shape: bigcode, transformers, CTranslate2, llama.cpp.

Knows nothing of how they compute. All get the same random weights; each runs in a process of its
own that stays, and they take turns, so that a busy machine slows all of them alike: read ratios.
Peers that are not installed are left out: CTranslate2 comes with the tests, llama.cpp with
`pip install xllamacpp gguf`.
Run: python benchmarks/decode.py [SHAPE] [--runs N] [--context N] [--prefill N]
     [--threads N] [--folder F] [--only ENGINE]...
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NEW_TOKENS, PREFILL_TOKENS, WARM_UP_TOKENS = 32, 1024, 64
SHAPES = ("tiny_starcoder_py", "santacoder", "starcoderbase-3b")
PACKAGES = ("torch", "transformers", "ctranslate2", "xllamacpp")
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
            [sys.executable, str(HERE / "engine.py"), kind, str(folder), str(threads)],
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


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 2),
        "slowest": round(min(values), 2),
        "fastest": round(max(values), 2),
    }


def _table(report: Mapping[str, Any]) -> str:
    lines = [
        "| | decode, tokens/s | slowest to fastest | ratio | prefill, tokens/s | ratio | load |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, values in report["engines"].items():
        decode, prefill = values["decode"], values["prefill"]
        cells = [
            name,
            f"{decode['median']:.1f}",
            f"{decode['slowest']:.1f} to {decode['fastest']:.1f}",
            f"{values['decode_ratio']:.2f}",
            f"{prefill['median']:.0f}",
            f"{values['prefill_ratio']:.2f}",
            f"{values['load_seconds']:.1f} s",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    first = next(iter(report["engines"]))
    return "\n".join(
        [*lines, "", f"Ratios: {first} divided by the row, the median over the turns."]
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _ratio(first: list[float], other: list[float]) -> float:
    """How many times faster the first is: the median over the turns."""
    return round(statistics.median(a / b for a, b in zip(first, other, strict=True)), 3)


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Start all, let them take turns, and sum up."""
    names = [name for name in PEERS if not arguments.only or name in arguments.only]
    runners = _start(names, folder, arguments.threads)
    decode: dict[str, list[float]] = {name: [] for name in runners}
    prefill: dict[str, list[float]] = {name: [] for name in runners}
    for runner in runners.values():
        runner.measure(WARM_UP_TOKENS, WARM_UP_TOKENS)
    for _ in range(arguments.runs):
        for name, runner in runners.items():
            rates = runner.measure(arguments.context, arguments.prefill)
            decode[name].append(rates["decode"])
            prefill[name].append(rates["prefill"])
    for runner in runners.values():
        runner.close()
    first = next(iter(runners))
    return {
        "shape": arguments.shape,
        "context": arguments.context,
        "new_tokens": NEW_TOKENS,
        "prefill_tokens": arguments.prefill,
        "runs": arguments.runs,
        "threads": arguments.threads,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "load": round(os.getloadavg()[0], 1),
        "versions": {
            name: _version(name) for name in ("torch", "transformers", "ctranslate2", "xllamacpp")
        },
        "engines": {
            name: {
                **runner.loaded,
                "decode": _spread(decode[name]),
                "prefill": _spread(prefill[name]),
                "decode_ratio": _ratio(decode[first], decode[name]),
                "prefill_ratio": _ratio(prefill[first], prefill[name]),
            }
            for name, runner in runners.items()
        },
    }


def main() -> None:
    """Write the checkpoint if it is not there, measure, print JSON and a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", nargs="?", choices=SHAPES, default=SHAPES[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--prefill", type=int, default=PREFILL_TOKENS)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--folder", type=Path, help="keeps the checkpoint for the next time")
    parser.add_argument("--only", action="append", choices=list(PEERS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)) / arguments.shape
        if not (folder / "config.json").exists():
            writer = [sys.executable, str(HERE / "random_checkpoint.py")]
            subprocess.run([*writer, arguments.shape, str(folder)], check=True, stdout=sys.stderr)
        report = measure(arguments, folder)
    print(json.dumps(report, indent=2))
    print(f"\n{_table(report)}")


if __name__ == "__main__":
    main()
