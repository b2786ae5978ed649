"""The shipped hooks, run by the real pre-commit in a real repository.

Only the language is replaced: the hooks run the program that is installed here, where
`language: python` would install it once more, with everything that it needs.
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
from scripted_models import encode, numbered_lines, write_checkpoint, write_classifier
from scripted_taggers import write_tagger

HOOKS = Path(__file__).resolve().parents[2] / ".pre-commit-hooks.yaml"
HERE = Path(sys.executable).parent
PRE_COMMIT = shutil.which("pre-commit", path=f"{HERE}{os.pathsep}{os.environ['PATH']}")
GOOD, BAD = numbered_lines(12), "@@ %^&*() ~~\n" * 3
CLEAN, SECRET = "nothing here\n", "key = 'ABCDEFGH'\n"

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
        listed = ", ".join(f'"{argument}"' for argument in arguments)
        repository.stage(
            ".pre-commit-config.yaml",
            f"repos:\n- repo: {hooks.folder}\n  rev: {commit}\n  hooks:\n"
            f"  - id: {hook}\n    language: system\n    exclude: config.yaml\n"
            f"    args: [{listed}]\n    verbose: true\n",
        )
        repository.commit()
        return repository

    return make


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "numbered"
    return write_checkpoint(folder, script=encode(numbered_lines(40)), positions=512)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger(tmp_path_factory.mktemp("models") / "tagger")


@pytest.fixture(scope="module")
def languages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows languages by the last byte of a file."""
    folder = tmp_path_factory.mktemp("models") / "languages"
    return write_classifier(folder, {"Python": b"p\n", "C": b"c"}, positions=64)


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


def test_the_score_hook_compares_added_lines_with_the_file_in_head(
    run: Run, configure: Configure, numbered: Path
) -> None:
    repository = configure("bigcode-score", "--max-rise=3", "-v", "-m", numbered)
    for name in ("a.py", "b.py"):
        repository.stage(name, GOOD)
    repository.stage("noise.csv", BAD)
    repository.commit()
    repository.stage("a.py", GOOD + numbered_lines(14).removeprefix(GOOD))
    repository.stage("noise.csv", BAD * 2)  # as surprising as it was
    repository.stage("image.png", b"\x89PNG\0")
    repository.write("a.py", BAD)
    done = _run(run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" s to load") == 1
    assert (run.folder / "a.py").read_text("utf-8") == BAD
    repository.stage("b.py", GOOD + BAD)
    repository.write("b.py", GOOD)
    done = _run(run)
    assert done.returncode == 1
    assert "b.py: added lines: " in done.stdout
    assert " above the lines around them in HEAD " in done.stdout
    assert "exit code: 1" in done.stdout


def test_the_tag_hook_blocks_added_keys_and_shows_no_secret(
    run: Run, configure: Configure, tagger: Path
) -> None:
    repository = configure("bigcode-tag", "--labels=KEY", "-m", tagger)
    repository.stage("old.py", SECRET)
    repository.git("commit", "--quiet", "--no-verify", "--message=before the hook")
    repository.stage("old.py", f"{SECRET}{CLEAN}mail = 1@2\n")
    repository.stage("a.py", CLEAN)
    repository.write("a.py", SECRET)
    done = _run(run)
    assert done.returncode == 0, done.stdout + done.stderr
    repository.stage("a.py", SECRET)
    repository.write("a.py", CLEAN)
    done = _run(run)
    assert done.returncode == 1
    assert "a.py:1:8: KEY, 8 characters" in done.stdout
    assert "    key = '****'" in done.stdout
    assert "remove it and revoke it" in done.stdout
    assert "add `# bigcode: allow` to its line" in done.stdout
    assert "exit code: 1" in done.stdout
    assert "ABCDEFGH" not in done.stdout + done.stderr
    repository.stage("a.py", f"{SECRET.rstrip()}  # bigcode: allow\n")
    assert _run(run).returncode == 0


def test_the_classify_hook_judges_what_is_staged(
    run: Run, configure: Configure, languages: Path
) -> None:
    repository = configure("bigcode-classify", "--expect=python", "-v", "-m", languages, "--")
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
    for number in range(60):
        repository.write(f"{number}.py", "z = 3\n")
    repository.git("add", ".")
    done = _run(run, "--all-files")
    assert done.stdout.count(" s to load") <= 1
    assert "62 files: Python 62" in done.stdout


@pytest.mark.parametrize("name", ["--exit-zero", "--labels=NAME", "--max-rise=1000", "-h"])
def test_no_file_name_turns_a_hook_off(
    name: str, run: Run, configure: Configure, languages: Path
) -> None:
    """pre-commit passes names as they are."""
    repository = configure("bigcode-classify", "--expect=C", "-m", languages, "--")
    repository.stage("a.py", "x = 1\n")
    repository.stage(f"./{name}", "int c")
    assert _run(run, "--all-files").returncode == 1


def test_every_hook_takes_no_names_or_ends_its_options() -> None:
    hooks = HOOKS.read_text("utf-8").split("- id: ")[1:]
    assert [hook.split()[0] for hook in hooks] == [
        *("bigcode-score", "bigcode-tag", "bigcode-classify")
    ]
    for hook in hooks:
        assert "pass_filenames: false" in hook or "args: [--]" in hook
