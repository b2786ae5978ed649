"""`bigcode tag --staged` in real repositories: what is committed, not what lies on disk."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from git_repository import ENVIRONMENT, Repository
from program import BIGCODE, Outcome, Run
from scripted_taggers import write_tagger

GOOD, BAD = "nothing here\n", "key = ABCD\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger(tmp_path_factory.mktemp("models") / "tagger")


@pytest.fixture
def repository(run: Run) -> Repository:
    return Repository.create(run.folder)


@pytest.fixture
def staged(run: Run, model: Path, repository: Repository) -> Any:
    """`staged()`: the outcome; the repository is proved to be untouched."""

    def call(*arguments: str | Path, **options: Any) -> Outcome:
        before = repository.state()
        done = run(
            *("tag", "-m", model, "--staged", "--format=json", "-q", *arguments),
            env=ENVIRONMENT,
            **options,
        )
        assert repository.state() == before
        return done

    return call


def _found(done: Outcome) -> list[tuple[str, int]]:
    files = done.json["files"]
    return [(entry["path"], span["start_line"]) for entry in files for span in entry["spans"]]


def test_h1_the_index_counts_and_not_the_disk(staged: Any, repository: Repository) -> None:
    repository.stage("a.py", GOOD)
    repository.write("a.py", BAD)
    assert (staged().status, _found(staged())) == (0, [])
    repository.stage("a.py", BAD)
    repository.write("a.py", GOOD)
    assert (staged().status, _found(staged())) == (1, [("a.py", 1)])


def test_h1_only_added_lines_are_reported(staged: Any, repository: Repository) -> None:
    repository.stage("a.py", BAD + GOOD)
    repository.stage("b.py", BAD)
    repository.commit()
    repository.stage("a.py", BAD + GOOD + "new EFGH\n" + GOOD)
    repository.git("mv", "b.py", "c.py")
    done = staged()
    assert (done.status, _found(done)) == (1, [("a.py", 3)])
    repository.stage("a.py", BAD + GOOD + GOOD)
    assert staged().status == 0


def test_h1_a_secret_over_lines_counts_if_one_of_them_is_new(
    run: Run, repository: Repository, tmp_path: Path
) -> None:
    model = write_tagger(tmp_path / "lines", {"KEY": "ABCDEFGH\n"})
    repository.stage("a.py", "x\ny ABCD\nEFGH z\n")
    repository.commit()
    repository.stage("a.py", "x\ny ABCD\nEEEE\nEFGH z\n")
    done = run("tag", "-m", model, "--staged", "--format=json", env=ENVIRONMENT)
    assert _found(done) == [("a.py", 2)]
    assert done.json["files"][0]["spans"][0]["end_line"] == 4


def test_h1_names_of_every_kind(staged: Any, repository: Repository) -> None:
    names = [b"with space.py", b"new\nline.py", b"-leading", b"0:x", b"latin\xff.py", b"*.py"]
    for name in names:
        repository.stage(b"./" + name, BAD)
    (repository.folder / "link").symlink_to("0:x")
    repository.git("add", "link")
    done = staged()
    assert sorted(os.fsencode(entry["path"]) for entry in done.json["files"]) == sorted(names)
    assert len(_found(done)) == len(names)


def test_h1_a_baseline_and_patterns_hold_for_what_is_staged(
    staged: Any, run: Run, model: Path, repository: Repository
) -> None:
    repository.stage("src/a.py", BAD)
    repository.stage("tests/b.py", BAD)
    made = run("tag", "-m", model, "--baseline=known.json", "--update-baseline", "src")
    assert made.status == 0
    assert _found(staged("--baseline=known.json")) == [("tests/b.py", 1)]
    assert staged("--baseline=known.json", "--exclude", "tests/").status == 0
    below = repository.folder / "src"
    done = staged("--baseline=../known.json", cwd=below)
    assert _found(done) == [("tests/b.py", 1)]


def test_h3_a_hook_stops_the_commit(run: Run, model: Path, repository: Repository) -> None:
    hook = repository.folder / ".git" / "hooks" / "pre-commit"
    hook.write_text(f"#!/bin/sh\nexec '{BIGCODE}' tag -m '{model}' --staged\n", "utf-8")
    hook.chmod(0o755)
    repository.stage("a.py", BAD)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        repository.commit()
    said = caught.value.stdout + caught.value.stderr
    assert b"a.py:1:7: KEY, 4 characters" in said
    assert b"ABCD" not in said
    repository.stage("a.py", "key = ABCD  # bigcode: allow\n")
    repository.commit()


def test_a_name_that_is_none_fails_and_one_of_a_deleted_file_does_not(
    staged: Any, repository: Repository
) -> None:
    """A misspelled name in a hook would else let everything pass."""
    for name in ("a.py", "gone.py"):
        repository.stage(name, GOOD)
    repository.commit()
    repository.git("rm", "--quiet", "gone.py")
    assert staged("a.py", "gone.py").status == 0
    repository.stage("b.py", BAD)
    done = staged("b.py", "nowhere.py")
    assert (done.status, _found(done)) == (3, [("b.py", 1)])
    assert "bigcode: error[input]: nowhere.py: No such file or directory\n" in done.stderr


def test_h3_nothing_staged_needs_no_model(run: Run, repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run("tag", "-m", tmp_path / "empty", "--staged", env=ENVIRONMENT)
    assert (done.status, done.stdout, done.stderr) == (0, b"", "")
