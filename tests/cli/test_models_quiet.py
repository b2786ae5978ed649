"""Every command but pull, update and convert: no network, nothing heavy, and quick.

A command that is added to the group must be added here, or a test fails.
"""

import resource
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bigcode_cli.commands.models.local import COMMANDS
from cached_models import add_to_cache
from program import BIGCODE, Outcome, Run

NAME = "acme/tiny"
FETCHING = {"pull", "update", "convert"}
BUSY_SECONDS = 0.45  # 0.15 where nothing else runs; the promise is 0.3
CALLS: dict[str, list[str]] = {
    "list": [],
    "show": [NAME],
    "verify": [NAME],
    "path": [NAME],
    "default": [NAME],
    "remove": ["--yes", NAME],
    "prune": ["--yes"],
}
# They judge a model's files as loading does: safetensors checks headers by way of NumPy.
JUDGED_AS_LOADING_DOES = {"show": ("numpy",), "verify": ("numpy", "tokenizers")}
# The process ends with a status of its own as soon as it opens a socket or imports what is heavy.
_TRAP = """
import os, sys
HEAVY = {"torch", "numpy", "tokenizers", "huggingface_hub", "httpx2", "rich", "pydantic",
         "transformers", "ssl", "http"}
def trap(event, arguments):
    if event.startswith("socket."):
        os._exit(99)
    if event == "import" and arguments[0].partition(".")[0] in HEAVY - ALLOWED:
        os.write(2, arguments[0].encode())
        os._exit(98)
sys.addaudithook(trap)
from bigcode_cli.__main__ import run
run()
"""


def test_a_download_needs_no_pytorch(pull: Callable[..., Outcome]) -> None:
    """Its import takes five times as long as all the rest."""
    program = (sys.executable, "-X", "importtime", "-m", "bigcode_cli")
    done = pull(NAME, program=program)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert (done.status, "huggingface_hub" in imported, "torch" in imported) == (0, True, False)


@pytest.fixture
def cache(run: Run, checkpoint: Path) -> Path:
    root = Path(run.environment["HOME"]) / ".cache" / "huggingface" / "hub"
    add_to_cache(root, NAME, checkpoint)
    add_to_cache(root, "acme/second", checkpoint)
    return root


def trapped(*allowed: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"ALLOWED = {set(allowed)!r}\n{_TRAP}")


def test_the_trap_works(run: Run, cache: Path) -> None:
    assert run("models", "pull", NAME, program=trapped()).status == 98
    heavy = ("huggingface_hub", "httpx2", "rich", "ssl", "http", "pydantic", "numpy", "tokenizers")
    environment = {"HF_ENDPOINT": "http://127.0.0.1:1"}
    assert run("models", "pull", NAME, program=trapped(*heavy), env=environment).status == 99


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - FETCHING))
def test_25_57_no_network_and_nothing_heavy(command: str, run: Run, cache: Path) -> None:
    allowed = JUDGED_AS_LOADING_DOES.get(command, ())
    done = run("models", command, *CALLS[command], program=trapped(*allowed))
    assert (done.status, done.stderr) == (0, "")


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - FETCHING - {"remove"}))
def test_quick(command: str, run: Run, cache: Path) -> None:
    """Processor time, which other work on the machine lengthens less than it does waiting."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run("models", command, *CALLS[command]).status == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < BUSY_SECONDS


@pytest.mark.parametrize(
    "arguments",
    [
        ["complete", "--max-tokens=2", "-m", NAME],
        ["infill", "--at=1:1", "--max-tokens=2", "-m", NAME],
        ["score", "-m", NAME],
    ],
    ids=["complete", "infill", "score"],
)
def test_27_commands_that_run_models_open_no_socket(
    arguments: list[str], run: Run, cache: Path
) -> None:
    allowed = ("numpy", "tokenizers", "rich", "http", "ssl")
    done = run(*arguments, input=b"x = 1\n", program=trapped(*allowed))
    assert done.status == 0, done.stderr
    assert run(*arguments, input=b"x = 1\n", program=("unshare", "-rn", BIGCODE)).status == 0
