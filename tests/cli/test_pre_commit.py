"""The shipped hook, run by the real pre-commit in a real repository.

Only the language is replaced: the hook runs the program that is installed here, where
`language: python` would install it once more, with everything that it needs.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from git_repository import ENVIRONMENT, Repository
from program import Run
from scripted_models import encode, numbered_lines, write_checkpoint

HOOKS = Path(__file__).resolve().parents[2] / ".pre-commit-hooks.yaml"
HERE = Path(sys.executable).parent
PRE_COMMIT = shutil.which("pre-commit", path=f"{HERE}{os.pathsep}{os.environ['PATH']}")
GOOD, BAD = numbered_lines(12), "@@ %^&*() ~~\n" * 3

needs_pre_commit = pytest.mark.skipif(PRE_COMMIT is None, reason="pre-commit is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "numbered"
    return write_checkpoint(folder, script=encode(numbered_lines(40)), positions=512)


@pytest.fixture
def repository(run: Run, model: Path) -> Repository:
    """A repository whose configuration names the shipped hook."""
    hooks = Repository.create(run.folder.parent / "hooks")
    hooks.stage(HOOKS.name, HOOKS.read_bytes())
    hooks.commit()
    commit = hooks.git("rev-parse", "HEAD").decode().strip()
    repository = Repository.create(run.folder)
    repository.stage(
        ".pre-commit-config.yaml",
        f"repos:\n- repo: {hooks.folder}\n  rev: {commit}\n  hooks:\n"
        "  - id: bigcode-score\n    language: system\n    exclude: config.yaml\n"
        f"    args: [--max-bits-per-byte=4, -v, -m, {model}]\n    verbose: true\n",
    )
    repository.commit()
    return repository


def _run(run: Run, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**run.environment, **ENVIRONMENT}
    environment["PATH"] = f"{HERE}{os.pathsep}{environment['PATH']}"
    environment["GIT_CONFIG_COUNT"] = "1"
    environment |= {"GIT_CONFIG_KEY_0": "protocol.file.allow", "GIT_CONFIG_VALUE_0": "always"}
    return subprocess.run(
        [str(PRE_COMMIT), "run", "--color=never", *arguments],
        cwd=run.folder,
        env=environment,
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )


def test_h4_the_manifest_says_what_the_hook_needs() -> None:
    text = HOOKS.read_text("utf-8")
    for line in ("- id: bigcode-score", "require_serial: true", "types: [text]", "entry: bigcode"):
        assert line in text


@needs_pre_commit
def test_h1_the_hook_judges_what_is_staged(run: Run, repository: Repository) -> None:
    repository.stage("a.py", GOOD)
    repository.write("a.py", BAD)
    done = _run(run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (run.folder / "a.py").read_text("utf-8") == BAD
    repository.stage("a.py", BAD)
    repository.write("a.py", GOOD)
    done = _run(run)
    assert done.returncode == 1
    assert "a.py: " in done.stdout
    assert "exit code: 1" in done.stdout


@needs_pre_commit
def test_h2_many_files_are_one_process_with_one_model(run: Run, repository: Repository) -> None:
    for number in range(200):
        repository.write(f"{number}.py", f"{GOOD}# {number}\n")
    repository.git("add", ".")
    repository.stage("image.png", b"\x89PNG\0")
    done = _run(run, "--all-files")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" s to load") == 1
    assert "200 files: " in done.stdout
    assert "image.png" not in done.stdout
    again = _run(run, "--all-files")
    assert again.returncode == 0
    assert " s to load" not in again.stdout
    assert "200 of 200 files had been scored before" in again.stdout
