"""Fixtures for tests that run the real program."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # program and scripted_models lie here

from program import Run
from scripted_models import encode, numbered_lines, write_checkpoint


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The program in an empty folder, with a home of its own and nothing inherited."""
    home, folder = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    folder.mkdir()
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "OMP_NUM_THREADS": "1",
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "100",
        # The scripted models write their text whatever the prompt is.
        "BIGCODE_NO_HEALING": "1",
    }
    return Run(folder, environment)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes numbered lines, whatever the prompt is, up to position 8,192."""
    folder = tmp_path_factory.mktemp("models") / "numbered"
    return write_checkpoint(folder, script=encode(numbered_lines(600)), positions=8192)


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[..., Path]:
    """`scripted("text", after="prompt")`: a checkpoint that writes `text` and ends."""

    def make(text: str | bytes, *, after: str = "#\n", **options: Any) -> Path:
        at = len(encode(after))  # position 0 is that of <|endoftext|>
        return write_checkpoint(tmp_path / "scripted", script=encode(text), at=at, **options)

    return make
