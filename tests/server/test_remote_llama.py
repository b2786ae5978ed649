"""`--server URL` with llama.cpp's own server, which has the built-in model converted to GGUF."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from program import Run

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "model" / "pocket_coder"
EXPORT = """
import sys
from pathlib import Path
from gguf_export import write_gguf
write_gguf(Path(sys.argv[1]), Path(sys.argv[2]), "f32")
"""
CODE = '''\
import json
from pathlib import Path


def load(path):
    """Read a file of settings."""
    with open(path) as stream:
        return json.load(stream)


def save(path, values):
    with open(path'''
CALLS = (
    ("complete", "--max-tokens", "24"),
    ("complete", "--max-tokens", "24", "--until", "line"),
    ("infill", "--at", "8:16", "--max-tokens", "16"),
    ("infill", "--at", "8:16", "--max-tokens", "16", "--order", "spm", "--print", "file"),
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the engine."""
    pytest.importorskip("xllamacpp")
    pytest.importorskip("gguf")
    file = tmp_path_factory.mktemp("gguf") / "pocket-coder.gguf"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "benchmarks"), *sys.path])
    }
    call = [sys.executable, "-c", EXPORT, str(MODEL), str(file)]
    subprocess.run(call, env=environment, check=True, capture_output=True)
    script = str(ROOT / "benchmarks" / "llama_server.py")
    with subprocess.Popen(
        [sys.executable, script, str(file), "1", "2", "2048"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.kill()


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_greedy_texts_are_those_of_this_machine(
    llama: str, cold: Run, folder: Path, call: tuple[str, ...]
) -> None:
    (folder / "a.py").write_text(CODE, "utf-8")
    words = [call[0], "a.py", *call[1:], "--no-healing"]
    local = cold(*words)
    remote = cold(*words, "--server", llama)
    assert (remote.status, remote.stderr) == (0, "")
    assert remote.stdout == local.stdout
    assert local.stdout


def test_it_gives_no_scores_and_that_is_said(llama: str, cold: Run, folder: Path) -> None:
    (folder / "a.py").write_text(CODE, "utf-8")
    done = cold("score", "a.py", "--no-cache", "--server", llama)
    assert (done.status, done.stdout) == (3, b"")
    assert "echo and logprobs" in done.stderr
