"""The hooks bigcode-tag and bigcode-classify, run by the real pre-commit in a real repository.

Only the language is replaced, as for bigcode-score: the program is installed already.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from git_repository import ENVIRONMENT, Repository
from program import Run
from scripted_models import write_classifier
from scripted_taggers import write_tagger

HOOKS = Path(__file__).resolve().parents[2] / ".pre-commit-hooks.yaml"
HERE = Path(sys.executable).parent
PRE_COMMIT = shutil.which("pre-commit", path=f"{HERE}{os.pathsep}{os.environ['PATH']}")
GOOD, BAD = "nothing here\n", "key = 'ABCDEFGH'\n"

pytestmark = pytest.mark.skipif(PRE_COMMIT is None, reason="pre-commit is not installed")
Configure = Callable[..., Repository]


@pytest.fixture
def configure(run: Run) -> Configure:
    """`configure("bigcode-tag", "-v")`: a repository whose configuration names the hook."""

    def make(hook: str, *arguments: str | Path) -> Repository:
        hooks = Repository.create(run.folder.parent / "hooks")
        hooks.stage(HOOKS.name, HOOKS.read_bytes())
        hooks.commit()
        commit = hooks.git("rev-parse", "HEAD").decode().strip()
        repository = Repository.create(run.folder)
        listed = ", ".join(map(str, arguments))
        repository.stage(
            ".pre-commit-config.yaml",
            f"repos:\n- repo: {hooks.folder}\n  rev: {commit}\n  hooks:\n"
            f"  - id: {hook}\n    language: system\n    exclude: config.yaml\n"
            f"    args: [{listed}]\n    verbose: true\n",
        )
        repository.commit()
        return repository

    return make


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


def test_h1_the_tag_hook_judges_what_is_staged(
    run: Run, configure: Configure, tmp_path: Path
) -> None:
    repository = configure("bigcode-tag", "-m", write_tagger(tmp_path / "tagger"))
    repository.stage("a.py", GOOD)
    repository.write("a.py", BAD)
    done = _run(run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (run.folder / "a.py").read_text("utf-8") == BAD
    repository.stage("a.py", BAD)
    repository.write("a.py", GOOD)
    done = _run(run)
    assert done.returncode == 1
    assert "a.py:1:8: KEY, 8 characters" in done.stdout
    assert "exit code: 1" in done.stdout
    assert "ABCDEFGH" not in done.stdout + done.stderr
    repository.stage("a.py", f"{BAD.rstrip()}  # pragma: allowlist secret\n")
    assert _run(run).returncode == 0


def test_h2_the_tag_hook_loads_one_model_for_many_files(
    run: Run, configure: Configure, tmp_path: Path
) -> None:
    repository = configure("bigcode-tag", "-v", "-m", write_tagger(tmp_path / "tagger"))
    for number in range(60):
        repository.write(f"{number}.py", GOOD)
    repository.write("image.png", b"\x89PNG\0")
    repository.git("add", ".")
    done = _run(run, "--all-files")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" s to load") == 1
    assert "image.png" not in done.stdout


def test_h1_the_classify_hook_judges_what_is_staged(
    run: Run, configure: Configure, tmp_path: Path
) -> None:
    """By the last byte of a file: the arguments of the hook say what is expected."""
    model = write_classifier(tmp_path / "languages", {"Python": b"p\n", "C": b"c"}, positions=64)
    repository = configure("bigcode-classify", "--expect=Python", "-v", "-m", model)
    repository.stage("a.py", "x = 1\n")
    repository.stage("b.py", "y = 2\n")
    repository.write("b.py", "int c")
    done = _run(run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" s to load") == 1
    repository.stage("b.py", "int c")
    repository.write("b.py", "y = 2\n")
    done = _run(run)
    assert done.returncode == 1
    assert "exit code: 1" in done.stdout
    assert "b.py: C" in done.stdout
