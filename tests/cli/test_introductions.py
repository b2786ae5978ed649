"""The one note that names the built-in model: to a person at a terminal, and to nobody else."""

import os
import time
from pathlib import Path

import pytest

from bigcode_cli.models.aliases import SHORT_NAMES
from bigcode_cli.models.load import LARGER
from program import Run, on_terminal

COMMANDS = {
    "complete": ("pocket-coder", ("--max-tokens=1", "a.py")),
    "infill": ("pocket-coder", ("--max-tokens=1", "--at=2:1", "a.py")),
    "score": ("pocket-coder", ("a.py", "b.py")),
    "classify": ("pocket-languages", ("a.py", "b.py")),
    "tag": ("pocket-secrets", ("a.py", "b.py")),
}


@pytest.fixture
def folder(run: Run) -> Path:
    for name in ("a.py", "b.py"):
        (run.folder / name).write_text(f"import {name[0]}\n\n\nprint({name[0]}.names)\n", "utf-8")
    return run.folder


def on_a_terminal(run: Run, *arguments: str) -> str:
    """What a terminal is shown of stderr."""
    status, said = on_terminal(run, *arguments, stream="stderr")
    assert status == 0, said
    return said


@pytest.mark.parametrize("command", COMMANDS)
def test_a_terminal_is_told_once(command: str, run: Run, folder: Path) -> None:
    name, arguments = COMMANDS[command]
    said = on_a_terminal(run, command, *arguments)
    notes = [line for line in said.split("\n") if "note: using" in line]
    assert len(notes) == 1
    other = LARGER.get(name, "OWNER/NAME")
    assert f"the small built-in model {name}; " in notes[0]
    assert notes[0].endswith(f": bigcode models pull {other}, then -m {other}")
    assert "note: using" not in on_a_terminal(run, command, *arguments)


def test_once_a_day_is_enough(run: Run, folder: Path) -> None:
    _, arguments = COMMANDS["complete"]
    assert on_a_terminal(run, "complete", "-q", *arguments) == ""
    assert "note: using" in on_a_terminal(run, "complete", *arguments)
    assert on_a_terminal(run, "complete", *arguments) == ""
    (mark,) = Path(run.environment["HOME"]).rglob("introduced-pocket-coder")
    assert mark.parent.stat().st_mode & 0o077 == 0
    yesterday = time.time() - 25 * 60 * 60
    os.utime(mark, (yesterday, yesterday))
    assert "note: using" in on_a_terminal(run, "complete", *arguments)
    assert on_a_terminal(run, "complete", *arguments) == ""


def test_state_that_cannot_be_kept_is_no_error(run: Run, folder: Path) -> None:
    state = Path(run.environment["HOME"]) / ".local"
    state.write_bytes(b"")
    _, arguments = COMMANDS["complete"]
    for _ in range(2):
        said = on_a_terminal(run, "complete", *arguments)
        assert said.count("note: using") == said.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_is_not(command: str, run: Run, folder: Path) -> None:
    _, arguments = COMMANDS[command]
    assert run(command, *arguments).stderr == ""


def test_a_model_that_was_chosen_needs_no_introduction(run: Run, folder: Path) -> None:
    _, arguments = COMMANDS["complete"]
    assert on_a_terminal(run, "complete", "-m", "pocket-coder", *arguments) == ""


def test_the_larger_models_are_of_the_family() -> None:
    assert set(LARGER.values()) <= set(SHORT_NAMES)
