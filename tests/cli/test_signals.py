"""Ctrl-C and SIGTERM: what was written stays, the status tells, nothing else is said."""

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from program import BIGCODE, TIMEOUT_SECONDS, Run
from scripted_models import numbered_lines

Process = subprocess.Popen[bytes]


@contextmanager
def _started(run: Run, *arguments: str | Path, **options: Any) -> Iterator[Process]:
    command = [*options.pop("program", (BIGCODE,)), *arguments]
    process = subprocess.Popen(
        command,
        cwd=run.folder,
        env=dict(run.environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # a buffer would keep bytes from communicate()
        **options,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _await_handlers(process: Process) -> None:
    """Wait until the program handles SIGTERM itself, which Python does not."""
    state = Path(f"/proc/{process.pid}/status")
    while True:
        assert process.poll() is None
        (caught,) = re.findall(r"SigCgt:\s*(\w+)", state.read_text("ascii"))
        if int(caught, 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.02)


def _generate(run: Run, checkpoint: Path, *more: str) -> tuple[str | Path, ...]:
    (run.folder / "a.py").write_text("#\n", "utf-8")
    return ("complete", "-m", checkpoint, "--max-tokens", "8000", *more, "a.py")


@pytest.mark.timing
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_what_was_streamed_stays(
    number: signal.Signals, status: int, run: Run, checkpoint: Path
) -> None:
    with _started(run, *_generate(run, checkpoint)) as process:
        assert process.stdout is not None
        first = process.stdout.read(20)
        process.send_signal(number)
        sent = time.monotonic()
        rest, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
        assert time.monotonic() - sent < 3
    assert (process.returncode, stderr) == (status, b"")
    assert numbered_lines(600)[2:].encode().startswith(first + rest)
    assert {path.name for path in run.folder.parent.rglob("*")} == {"home", "work", "a.py"}


def test_a_second_ctrl_c_ends_a_process_that_cannot_write(run: Run, checkpoint: Path) -> None:
    """With a full pipe and nobody reading, nothing may wait for the output to go."""
    with _started(run, *_generate(run, checkpoint)) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=TIMEOUT_SECONDS) == 130


@pytest.mark.timing
@pytest.mark.parametrize("delay_seconds", [0.1, 0.2, 0.4, 1.2, 2.0])
def test_ctrl_c_while_it_starts(delay_seconds: float, run: Run, checkpoint: Path) -> None:
    """From the first import to the loaded model: 130 and no word, whatever it was doing.

    Until Python is up and has reached our first line, the signal is Python's own affair.
    """
    slow = "--precision=bfloat16"  # PyTorch, whose import takes long
    with _started(run, *_generate(run, checkpoint, slow)) as process:
        time.sleep(delay_seconds)
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
        assert time.monotonic() - sent < 10
    early = delay_seconds < 1 and process.returncode == -signal.SIGINT
    assert early or (process.returncode, stderr) == (130, b"")


def test_ctrl_c_while_it_waits_for_its_input(run: Run, checkpoint: Path) -> None:
    with _started(run, "complete", "-m", checkpoint) as process:
        _await_handlers(process)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    assert (process.returncode, stderr) == (130, b"")


def test_an_ignored_ctrl_c_stays_ignored(run: Run, checkpoint: Path) -> None:
    """As for a background job of a script: Ctrl-C is meant for somebody else."""
    program = ("sh", "-c", 'trap \'\' INT; exec "$0" "$@"', BIGCODE)
    arguments = ("complete", "-m", checkpoint, "--max-tokens", "300", "a.py")
    (run.folder / "a.py").write_text("#\n", "utf-8")
    with _started(run, *arguments, program=program) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        rest, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    assert (process.returncode, stderr) == (0, b"")
    assert len(first + rest) == 300


def test_a_crash_writes_no_memory_to_the_disk(run: Run) -> None:
    """It may hold the secrets of a file."""
    program = ("bash", "-c", 'ulimit -c unlimited; exec "$0" "$@"', BIGCODE)
    with _started(run, "tag", program=program) as process:
        limits = Path(f"/proc/{process.pid}/limits")
        words: list[str] = []
        while process.poll() is None and words[4:5] != ["0"]:
            time.sleep(0.02)
            lines = limits.read_text("utf-8").splitlines()
            words = next(line for line in lines if line.startswith("Max core file size")).split()
        assert words[4] == "0"
