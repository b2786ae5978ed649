"""What is said, to whom, and what a terminal is shown; budgets of time and of size."""

import json
import os
import pty
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from program import BIGCODE, TIMEOUT_SECONDS, Run, on_terminal, read_terminal
from scripted_models import write_checkpoint


def _on_terminal(run: Run, *arguments: str | Path, text: bytes) -> bytes:
    """What a terminal is shown of stdout."""
    master, slave = pty.openpty()
    streams: Any = {"stdin": subprocess.PIPE, "stdout": slave, "stderr": subprocess.DEVNULL}
    with run.start(*arguments, **streams) as child:
        os.close(slave)
        assert child.stdin is not None
        child.stdin.write(text)
        child.stdin.close()
        shown = read_terminal(master)
        assert child.wait(TIMEOUT_SECONDS) == 0
    return shown.replace(b"\r\n", b"\n")


@pytest.mark.parametrize(
    ("written", "shown"), [("ab", b"ab\n"), ("ab\n", b"ab\n"), ("", b""), ("\n", b"\n")]
)
@pytest.mark.parametrize("options", [(), ("--time-budget=60", "--samples=1")])
def test_a_terminal_gets_a_whole_line_and_a_pipe_exact_bytes(
    written: str, shown: bytes, options: tuple[str, ...], run: Run, scripted: Callable[..., Path]
) -> None:
    model = scripted(written)
    arguments: tuple[str | Path, ...] = ("complete", "-m", model, *options)
    assert _on_terminal(run, *arguments, text=b"#\n") == shown
    assert run(*arguments, input=b"#\n").stdout == written.encode()


@pytest.mark.parametrize(
    ("env", "is_red"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_an_error_is_red_on_a_terminal(env: dict[str, str], is_red: bool, run: Run) -> None:  # noqa: FBT001
    status, said = on_terminal(run, "complete", "no-\x1b[2J-file", stream="stderr", **env)
    assert status == 3
    assert said.startswith("\x1b[1;31mbigcode: error[input]\x1b[0m: no-^[[2J-file: ") == is_red
    assert ("\x1b" in said) == is_red
    assert "error[input]" in said


def test_samples_that_must_be_alike_are_noted(run: Run, scripted: Callable[..., Path]) -> None:
    call = ("complete", "-m", scripted("ab"), "--samples=2", "--max-tokens=2")
    note = "bigcode: note: the 2 samples are alike: set --temperature above 0\n"
    assert run(*call, input=b"#\n").stderr == note
    assert run(*call, "--temperature=1", input=b"#\n").stderr == ""
    assert run(*call, "-q", input=b"#\n").stderr == ""


def test_quiet_and_verbose_do_not_go_together(run: Run) -> None:
    done = run("complete", "-q", "-v", input=b"x")
    assert (done.status, done.stdout) == (2, b"")
    assert "error[usage]: --quiet and --verbose do not go together" in done.stderr
    call = ("complete", "--max-tokens=1")
    assert run(*call, "-q", input=b"x", env={"BIGCODE_VERBOSE": "1"}).stderr == ""
    assert "prompt: " in run(*call, "-v", input=b"x", env={"BIGCODE_QUIET": "1"}).stderr


@pytest.mark.parametrize("command", ["complete", "infill"])
@pytest.mark.parametrize(
    ("model", "for_"), [("pocket-languages", "classify"), ("pocket-secrets", "tag")]
)
def test_a_model_with_another_head_is_named_so(
    command: str, model: str, for_: str, run: Run
) -> None:
    place = ("--at=1:1",) if command == "infill" else ()
    done = run(command, "-m", model, *place, input=b"x")
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr == (
        f"bigcode: error[model-mismatch]: {model}: is a model for bigcode {for_};"
        " it cannot generate text\n"
        "hint: bigcode models list shows which models can complete\n"
    )


def test_a_time_budget_counts_from_the_start_of_the_process(run: Run, checkpoint: Path) -> None:
    """What was spent before the model began to read is spent; a first token is always written."""
    arguments = ("complete", "-m", checkpoint, "--time-budget=1", "--max-tokens=4000")
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with run.start(*arguments, "--format=json", **pipes) as child:
        time.sleep(1.2)
        stdout, _ = child.communicate(b"x", timeout=TIMEOUT_SECONDS)
    assert child.returncode == 0
    (choice,) = json.loads(stdout)["choices"]
    assert choice["finish_reason"] == "time"
    assert 1 <= choice["completion_tokens"] <= 32  # one step, in which guesses may be right


@pytest.mark.slow
@pytest.mark.parametrize("command", [("complete", "--echo"), ("infill", "--at=1:1")])
def test_what_cannot_be_echoed_as_a_whole_is_refused(command: tuple[str, ...], run: Run) -> None:
    file = run.folder / "large.txt"
    line = b"x" * 1023 + b"\n"
    with file.open("wb") as stream:
        for _ in range(257):
            stream.write(line * 1024)
    done = run(*command, "--max-tokens=1", file)
    file.unlink()
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr == f"bigcode: error[too-large]: {file}: more than 256 MiB\n"


def test_advice_is_for_terminals(run: Run, tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "unsure", script=[], sharp=0.05)
    assert run("complete", "-m", model, "--seed=1", "--max-tokens=1", input=b"#").stderr == ""


@pytest.mark.parametrize("mebibytes", [90, 110, 200])
@pytest.mark.parametrize("command", ["complete", "score", "classify", "tag"])
def test_too_little_address_space_is_said_and_is_no_finding(
    command: str, mebibytes: int, run: Run
) -> None:
    """Without a check OpenBLAS ends the process with 1, the status of findings."""
    limited = f'ulimit -v {mebibytes * 1024}; exec "$@"'
    done = run(command, "-", input=b"x = 1\n", program=("sh", "-c", limited, "sh", BIGCODE))
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr.startswith("bigcode: error[memory]: the address-space limit ")
    assert done.stderr.endswith("\nhint: raise the limit: ulimit -v\n")


def test_a_file_that_looks_like_an_option_is_told_how_to_be_named(run: Run) -> None:
    run.write("-x.py", "a = 1\n")
    done = run("score", "-x.py")
    assert (done.status, done.stdout) == (2, b"")
    assert done.stderr.endswith("hint: 'bigcode score -- -x.py' takes it for a file\n")
    assert run("score", "-y.py").stderr.endswith("hint: try 'bigcode score --help'\n")


def test_a_misspelled_option_is_asked_about_like_a_misspelled_command(run: Run) -> None:
    done = run("complete", "--max-tokns", "5")
    assert "no such option: --max-tokns. Did you mean --max-tokens?\n" in done.stderr


def test_nobody_at_a_servers_address_is_said_with_a_way_out(run: Run) -> None:
    done = run("complete", "--server", "http://127.0.0.1:1", input=b"x")
    assert done.status == 3
    assert "http://127.0.0.1:1: Connection refused\nhint: no server listens there" in done.stderr


def test_files_that_were_left_out_are_counted_in_words(run: Run) -> None:
    texts: dict[str, str | bytes] = {
        "a.py": "a = 1\n",
        "empty.py": "",
        "latin.py": b"caf\xe9\n",
        "wide.ps1": "$a = 1\n".encode("utf-16"),
        "x.bin": b"a\0",
    }
    for name, data in texts.items():
        run.write(name, data)
    done = run("classify", "--strict", ".")
    said = "3 of 5 files skipped (2 not UTF-8, 1 binary), 1 empty"
    assert (done.status, f"--strict: {said}\n" in done.stderr) == (3, True)
