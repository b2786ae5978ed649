"""Calls of `bigcode corpus` as processes, what they wrote, and the processes that work for them."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

BIGCODE = str(Path(sys.executable).with_name("bigcode"))


def command(job: str, data: Path, out: Path, model: Path, *more: str) -> list[str]:
    options = ["-m", str(model), "--precision", "float32", "-o", str(out)]
    return [BIGCODE, "corpus", job, str(data), *options, *more]


def environment(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": os.environ["PATH"]}


def call(words: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=3000, env=environment(home)
    )


def files_of(out: Path) -> dict[str, bytes]:
    """The data of a complete run, and nothing else."""
    assert (out / "_SUCCESS").exists()
    assert not (out / "_parts").exists()
    assert not list(out.rglob("*.tmp*"))
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.parquet")}


def workers_of(pid: int) -> Iterator[int]:
    """The processes of Ray's actors that compute, below one process."""
    shown = subprocess.run(
        ["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 2) for line in shown.stdout.splitlines()[1:]]
    below = {pid}
    for _ in range(6):
        below |= {int(row[0]) for row in rows if int(row[1]) in below}
    for number, _, arguments in rows:
        if int(number) in below and re.match(r"ray::.*MapWorker", arguments):
            yield int(number)


def wait_for(condition: Callable[[], object], seconds: float = 3000) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
