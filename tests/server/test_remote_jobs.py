"""`score --server URL --jobs N`: many files at once by a remote engine, and a bar that is true."""

import json
import os
import pty
import re
import signal
import subprocess
import threading
from collections import Counter
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from program import BIGCODE, Run, read_terminal
from scripted_engine import scripted_engine
from served import Start

FILES = tuple(f"file_{number:02}.py" for number in range(12))
TIMEOUT_SECONDS = 60


@pytest.fixture
def files(folder: Path) -> tuple[str, ...]:
    """Files of different lengths."""
    for number, name in enumerate(FILES):
        text = f"def f{number}(x):\n    return x + {number}\n" * (number % 5 + 1)
        (folder / name).write_text(text, "utf-8")
    return FILES


def _values(body: dict[str, Any], _: int = 0) -> tuple[int, dict[str, Any]]:
    """Each token's value depends on its id alone; the token that the engine writes has one too."""
    values = [None, *(-(token % 7) / 8 for token in body["prompt"][1:]), -1.0]
    return 200, {"choices": [{"index": 0, "text": "", "logprobs": {"token_logprobs": values}}]}


class _Together:
    """Answers requests in groups of `jobs`, and counts how many wait at once."""

    def __init__(self, jobs: int) -> None:
        self.most = self._waiting = 0
        self._lock = threading.Lock()
        self._group = threading.Barrier(jobs, timeout=TIMEOUT_SECONDS)

    def __call__(self, body: dict[str, Any], _: int) -> tuple[int, dict[str, Any]]:
        with self._lock:
            self._waiting += 1
            self.most = max(self.most, self._waiting)
        self._group.wait()  # without `jobs` requests at once nobody gets an answer
        sleep(0.05)  # one too many would come now
        with self._lock:
            self._waiting -= 1
        return _values(body)


@pytest.mark.parametrize("jobs", [1, 4, 12])
def test_as_many_requests_at_once_as_jobs(cold: Run, files: tuple[str, ...], jobs: int) -> None:
    call = ("score", *files, "--format", "jsonl", "--server")
    with scripted_engine(_values) as (url, _):
        wanted = cold(*call, url, "--jobs", "1").stdout
    together = _Together(jobs)
    with scripted_engine(together) as (url, asked):
        done = cold(*call, url, "--jobs", str(jobs))
    assert (done.status, done.stderr, done.stdout) == (0, "", wanted)
    assert (together.most, len(asked)) == (jobs, len(files))
    assert [json.loads(line)["path"] for line in wanted.splitlines()] == list(files)


def test_our_own_server_with_less_room_than_jobs(
    start: Start, folder: Path, files: tuple[str, ...]
) -> None:
    """What does not find room is sent again, however often that is."""
    server = start("--port", "0", "--parallel", "1", "--queue", "3")
    cold = Run(folder, {**server.environment, "BIGCODE_SERVER": "off"})
    call = ("score", *files, "--no-cache", "--format", "json")
    local, remote = cold(*call), cold(*call, "--server", server.url, "--jobs", "12")
    assert (remote.status, remote.stderr) == (0, "")
    nll = {path: entry["nll"] for path, entry in local.by_path.items()}
    assert {path: one["nll"] for path, one in remote.by_path.items()} == pytest.approx(
        nll, rel=1e-4
    )
    server.await_log(" 503 ", 0)


def test_a_file_that_the_engine_refuses_stops_no_other(cold: Run, files: tuple[str, ...]) -> None:
    def answer(body: dict[str, Any], _: int) -> tuple[int, dict[str, Any]]:
        if len(body["prompt"]) > 60:
            return 400, {"error": {"message": "the prompt is longer than 60 tokens"}}
        return _values(body)

    with scripted_engine(answer) as (url, _):
        done = cold("score", *files, "--server", url, "--format", "json")
    by_status = Counter(entry["status"] for entry in done.json["files"])
    assert done.status == 3
    assert by_status["ok"]
    refused = [one for one in done.json["files"] if one["status"] == "error"]
    assert by_status == {"ok": len(files) - len(refused), "error": len(refused)}
    assert {one["reason"] for one in refused} == {"server"}
    assert all("longer than 60 tokens" in one["detail"] for one in refused)
    assert done.stderr.count("error[server]") == len(refused)


def test_connections_that_break_are_tried_again(cold: Run, files: tuple[str, ...]) -> None:
    seen: Counter[str] = Counter()

    def answer(body: dict[str, Any], _: int) -> tuple[int, dict[str, Any]]:
        seen[str(body["prompt"])] += 1
        return _values(body) if seen[str(body["prompt"])] == 2 else (0, {})

    with scripted_engine(answer) as (url, _):
        done = cold("score", *files, "--server", url)
    assert (done.status, done.stderr) == (0, "")
    assert set(seen.values()) == {2}


def test_an_engine_that_is_gone_ends_the_run(cold: Run, files: tuple[str, ...]) -> None:
    with scripted_engine(lambda *_: (0, {})) as (url, asked):
        done = cold("score", *files, "--server", url, "--jobs", "2")
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr.count("error[server]") == 1
    assert len(asked) < 4 * len(files)  # not every file was tried


@pytest.mark.parametrize("values", [None, [], ["x"], [-1.0]], ids=repr)
def test_an_engine_that_gives_no_values_ends_the_run(
    cold: Run, files: tuple[str, ...], values: Any
) -> None:
    choice = {"index": 0, "text": "", "logprobs": {"token_logprobs": values}}
    with scripted_engine(lambda *_: (200, {"choices": [choice]})) as (url, _):
        done = cold("score", *files, "--server", url)
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr.count("error[server]") == 1
    assert "hint: score needs a server that takes token ids" in done.stderr


@pytest.mark.parametrize("jobs", ["0", "129", "many"])
def test_numbers_of_jobs_that_are_none(cold: Run, jobs: str) -> None:
    done = cold("score", "--jobs", jobs, "a.py")
    assert (done.status, done.stdout) == (2, b"")
    assert "--jobs" in done.stderr


def test_ctrl_c_waits_for_no_answer(cold: Run, files: tuple[str, ...], folder: Path) -> None:
    asked, released = threading.Event(), threading.Event()

    def answer(*_: Any) -> tuple[int, dict[str, Any]]:
        asked.set()
        released.wait(2 * TIMEOUT_SECONDS)
        return 0, {}

    with scripted_engine(answer) as (url, _):
        process = subprocess.Popen(
            [BIGCODE, "score", *files, "--server", url],
            cwd=folder,
            env=cold.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert asked.wait(TIMEOUT_SECONDS)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=TIMEOUT_SECONDS)
        released.set()
    assert (process.returncode, said) == (130, (b"", b""))


def test_the_bar_counts_what_was_answered(cold: Run, files: tuple[str, ...], folder: Path) -> None:
    """All files are read before the first answer comes: the bar must not say so."""
    sizes = [(folder / name).stat().st_size for name in files]
    shares = {100 * sum(part) // sum(sizes) for part in _sums(sizes)}

    def answer(body: dict[str, Any], _: int) -> tuple[int, dict[str, Any]]:
        sleep(0.2)
        return _values(body)

    master, slave = pty.openpty()
    environment = {**cold.environment, "TERM": "xterm", "COLUMNS": "100"}
    with scripted_engine(answer) as (url, _):
        process = subprocess.Popen(
            [BIGCODE, "score", *files, "--server", url, "--jobs", "1", "--format", "jsonl"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=slave,
        )
        os.close(slave)
        said = re.sub(r"\x1b\[[0-9;]*m", "", read_terminal(master).decode())
        assert process.stdout is not None
        printed = process.stdout.read()
        process.stdout.close()
        assert process.wait(TIMEOUT_SECONDS) == 0
    seen = [int(share) for share in re.findall(r"scoring: \S+ (\d+) %", said)]
    assert seen, said
    assert len(set(seen)) > 1
    assert seen == sorted(seen)
    assert set(seen) <= shares
    assert said.rpartition("\r")[2].startswith("\x1b[K")  # the bar is gone at the end
    assert printed.count(b"\n") == len(files)


def _sums(sizes: list[int]) -> list[list[int]]:
    """What may have been answered when the longest files are asked about first."""
    longest = sorted(sizes, reverse=True)
    return [longest[:count] for count in range(1, len(longest) + 1)]
