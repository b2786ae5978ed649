"""Calls of `bigcode corpus` as processes, and what they wrote."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amounts import amount
from program import BIGCODE, TIMEOUT_SECONDS, Outcome, Run

LONG_WORD = "a" * 1025 + " "  # two tokens, with the space before it
TEXTS: dict[str, list[str]] = {
    "large": ["y = 2\n", LONG_WORD * amount(full=50_000, usual=4_200), "z = 3\n"],
    "none": [],
    "one": ["x = 1\n"],
    "short": [f"{n % 1000}\n" for n in range(amount(full=200_000, usual=1_100))],
    "sub/b": [f"def f_{n}(x):\n    return x + {n}\n" * (n % 7 + 1) for n in range(1200)],
    "sub/c": [f"def g_{n}(x):\n    return x - {n}\n" * (n % 7 + 1) for n in range(1200)],
}
"""Rows of every size by the name of their file."""


def command(job: str, data: Path, out: Path, model: Path, *more: str) -> list[str]:
    options = ["-m", str(model), "--precision", "float32", "-o", str(out)]
    return [BIGCODE, "corpus", job, str(data), *options, *more]


def environment(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": os.environ["PATH"]}


def call(words: Sequence[str], home: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    with running(words, home, **options) as process:
        out, err = process.communicate(timeout=TIMEOUT_SECONDS)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def call_without_ray(words: Sequence[str], home: Path) -> Outcome:
    """A call that ends before Ray would start, so it need not import all by itself."""
    return Run(home, environment(home))(*words[1:])


@contextmanager
def running(words: Sequence[str], home: Path, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """A process that ends with the block; Ray's processes end with the one that started them."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        words, text=True, **{"env": environment(home), **pipes, **options}
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def files_of(out: Path) -> dict[str, bytes]:
    """The data of a complete run, and nothing else."""
    assert (out / "_SUCCESS").exists()
    assert not (out / "_parts").exists()
    assert not list(out.rglob("*.tmp*"))
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.parquet")}


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.03)


def model_of_runs(folder: Path) -> Path:
    """Teach the tokenizer of a model with 448 tokens runs of up to 1,024 times `a`."""
    path = folder / "tokenizer.json"
    values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    vocabulary, merges = values["model"]["vocab"], values["model"]["merges"]
    for power in range(10):
        half = "a" * 2**power
        if half * 2 not in vocabulary:
            vocabulary[half * 2] = len(vocabulary)
            merges.append([half, half])
    assert len(vocabulary) <= 448
    path.write_text(json.dumps(values), "utf-8")
    return folder
