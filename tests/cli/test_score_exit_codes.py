"""Each cause has its exit code (H3): findings are never confused with a tool that did not work."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from program import TIMEOUT_SECONDS, Run
from scripted_models import encode, numbered_lines, write_checkpoint

GOOD = numbered_lines(12)  # what the model expects
BAD = "@@ %^&*() ~~\n" * 3
GATE = "--max-bits-per-byte=1"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "numbered"
    return write_checkpoint(folder, script=encode(numbered_lines(40)), positions=512)


@pytest.fixture
def folder(run: Run) -> Path:
    """Files of every kind."""
    for name, text in {"good": GOOD, "bad": BAD, "short": "@", "empty": "", "report": "x"}.items():
        (run.folder / name).write_text(text, "utf-8")
    (run.folder / "binary").write_bytes(b"\0")
    broken = run.folder / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{", "utf-8")
    return run.folder


@pytest.mark.parametrize(
    ("status", "arguments", "slug"),
    [
        pytest.param(0, ["good", GATE], "", id="clean"),
        pytest.param(0, ["bad"], "", id="no-gate"),
        pytest.param(0, ["short", GATE], "", id="too-short"),
        pytest.param(0, ["good", "binary", "empty", GATE], "", id="skipped-among-others"),
        pytest.param(1, ["good", "bad", GATE], "", id="finding"),
        pytest.param(0, ["good", "bad", GATE, "--exit-zero"], "", id="finding-exit-zero"),
        pytest.param(3, ["bad", "gone", GATE], "input", id="error-beats-finding"),
        pytest.param(3, ["bad", "gone", GATE, "--exit-zero"], "input", id="error-exit-zero"),
        pytest.param(2, ["good", "--stride=0"], "usage", id="usage"),
        pytest.param(2, ["good", "--stride=9999"], "option", id="option-of-the-model"),
        pytest.param(2, ["good", "--no-such-option"], "usage", id="unknown-option"),
        pytest.param(3, ["binary"], "binary", id="binary-alone"),
        pytest.param(3, ["good", "--baseline=report"], "baseline", id="baseline"),
        pytest.param(3, ["good", "--staged"], "git", id="no-repository"),
        pytest.param(3, ["good", "--html=gone/a.html"], "output", id="page"),
        pytest.param(3, ["good", "-m", "no-such/model"], "model-missing", id="no-model"),
        pytest.param(3, ["good", "-m", "./broken"], "model-config", id="broken-model"),
        pytest.param(3, ["good", "--device=cuda:99"], "device", id="device"),
    ],
)
def test_h3_every_cause_has_its_exit_code(
    status: int, arguments: list[str], slug: str, run: Run, model: Path, folder: Path
) -> None:
    chosen = [] if "-m" in arguments else ["-m", str(model)]
    done = run("score", *chosen, *arguments)
    assert done.status == status, done.stderr
    assert (f"error[{slug}]: " in done.stderr) if slug else ("error[" not in done.stderr)


def test_h3_output_that_goes_nowhere(run: Run, model: Path, folder: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        streams: Any = {"stdout": full, "stderr": subprocess.PIPE}
        process = run.start("score", "-m", model, "bad", GATE, cwd=folder, **streams)
        _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 3
    assert b"error[output]: stdout: " in stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_h3_an_interrupted_run_is_no_finding(
    number: int, status: int, run: Run, model: Path, folder: Path
) -> None:
    pipes: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    call = ("score", "-m", model, "--html=page.html", GATE, "bad", "-")
    with run.start(*call, cwd=folder, **pipes) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stderr is not None
        # The first file is reported while the pipe of the second is still open.
        assert process.stdout.readline().startswith(b"bad: ")
        process.send_signal(number)
        process.stdin.close()
        assert process.wait(TIMEOUT_SECONDS) == status
        assert b"Traceback" not in process.stderr.read()
    assert not (folder / "page.html").exists()
