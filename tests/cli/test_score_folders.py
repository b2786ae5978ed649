"""`bigcode score FOLDER`: the files that a search of source code would look at, in one order."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from bigcode_cli.files.walk import find_sources
from bigcode_cli.framework.errors import Failure
from git_repository import Repository
from program import BIGCODE, Outcome, Run
from scripted_models import encode, write_checkpoint


@pytest.fixture(scope="module")
def uniform(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "uniform"
    return write_checkpoint(folder, script=encode("x"), positions=64, sharp=0.0)


def _score(run: Run, model: Path, *arguments: str | bytes) -> Outcome:
    return run("score", "-m", model, "--format", "json", *arguments)


def _paths(done: Outcome) -> list[str]:
    return [entry["path"] for entry in done.json["files"]]


def _make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n", "utf-8")


def test_a_folder_is_searched_in_the_order_of_names(run: Run, uniform: Path) -> None:
    Repository.create(run.folder / "d")
    _make(run.folder, "d/b.py", "d/a/z.py", "d/a/y.py", "d/.hidden", "d/c.py")
    (run.folder / "d" / "link.py").symlink_to("b.py")
    (run.folder / "d" / "loop").symlink_to(".")
    os.mkfifo(run.folder / "d" / "pipe")
    done = _score(run, uniform, "d")
    assert (done.status, done.stderr) == (0, "")
    assert _paths(done) == ["d/b.py", "d/c.py", "d/a/y.py", "d/a/z.py"]
    assert _paths(_score(run, uniform, "d/.hidden", "d/link.py")) == ["d/.hidden", "d/link.py"]


def test_gitignore_is_respected_as_git_does(run: Run, uniform: Path) -> None:
    """What is found is what `git ls-files` finds, minus hidden files."""
    repository = Repository.create(run.folder)
    _make(
        run.folder,
        *("a.py", "a.log", "keep.log", "build/x.py", "src/build/x.py", "src/a.tmp", "src/b.tmp"),
        *("src/only/x.py", "docs/only/x.py", "deep/one/two/c.py", "deep/one/two/c.min.js"),
        *("secret.txt", "src/#note", "vendor/keep/x.py", "vendor/drop/x.py", "größe.log"),
    )
    rules = (
        "*.log\n!keep.log\nbuild/\n/src/only\n**/two/*.min.js\n\\#note\nvendor/*\n!vendor/keep\n"
    )
    (run.folder / ".gitignore").write_text(rules, "utf-8")
    (run.folder / "src" / ".gitignore").write_text("*.tmp\n!b.tmp\n", "utf-8")
    (run.folder / ".git" / "info" / "exclude").write_text("secret.txt\n", "utf-8")
    listed = repository.git("ls-files", "-z", "--others", "--exclude-standard").split(b"\0")
    expected = {os.fsdecode(name) for name in listed if name and b".gitignore" not in name}
    assert {"a.py", "keep.log", "src/b.tmp", "docs/only/x.py", "vendor/keep/x.py"} <= expected
    assert {os.path.normpath(path) for path in _paths(_score(run, uniform, "."))} == expected
    below = {name for name in expected if name.startswith("src/")}
    assert set(_paths(_score(run, uniform, "src"))) == below
    assert _paths(_score(run, uniform, "a.log", "build")) == ["a.log", "build/x.py"]  # by name


def test_gitignore_counts_outside_of_a_repository_too(run: Run, uniform: Path) -> None:
    _make(run.folder, "d/a.py", "d/b.py", "d/sub/b.py")
    (run.folder / "d" / ".gitignore").write_bytes(b"b.py\n[\n\xff\n")
    assert _paths(_score(run, uniform, "d")) == ["d/a.py"]


def test_binaries_in_folders_are_skipped_and_counted(run: Run, uniform: Path) -> None:
    _make(run.folder, "d/a.py")
    (run.folder / "d" / "image.png").write_bytes(b"\x89PNG\0")
    done = _score(run, uniform, "d")
    assert (done.status, done.stderr) == (0, "bigcode: note: 1 of 2 files skipped (1 binary)\n")
    assert [entry["status"] for entry in done.json["files"]] == ["ok", "skipped"]
    assert "d/image.png: skipped: NUL byte" in _score(run, uniform, "-v", "d").stderr


def test_an_empty_folder_and_one_that_is_gone(run: Run, uniform: Path) -> None:
    (run.folder / "d").mkdir()
    done = _score(run, uniform, "d")
    assert (done.status, done.json["files"]) == (0, [])
    assert done.stderr == "bigcode: note: no files to score\n"
    assert _score(run, uniform, "gone").status == 3


def test_a_folder_that_may_not_be_read_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make(tmp_path, "a.py", "locked/x.py")
    scan = os.scandir

    def refuse(path: bytes) -> Any:
        if path.endswith(b"locked/"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr("bigcode_cli.files.walk.os.scandir", refuse)
    good, locked = find_sources([tmp_path])
    assert "".join(good.pieces(lambda _: None)) == "x = 1\n"
    with pytest.raises(Failure, match="Permission denied") as caught:
        list(locked.pieces(lambda _: None))
    assert caught.value.slug == "input"


def test_nothing_is_written(run: Run, uniform: Path) -> None:
    repository = Repository.create(run.folder)
    repository.stage("a.py", "x = 1\n")
    before = repository.state()
    assert _score(run, uniform, ".").status == 0
    assert repository.state() == before


def test_memory_does_not_grow_with_the_file(run: Run, uniform: Path) -> None:
    """Ten times the text takes the same memory: it is read in portions and never kept."""
    peaks = []
    program = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    for name, lines in (("small.py", 3_000), ("large.py", 20_000)):
        (run.folder / name).write_text("x = 1 + 2 # ab\n" * lines, "utf-8")
        # What is kept of a small file, for every later view, is held until it is written.
        arguments = ("score", "-m", uniform, "--window", "disjoint", "--no-cache", name)
        done = run(BIGCODE, *arguments, program=(sys.executable, "-c", program))
        assert done.status == 0
        peaks.append(int(done.stdout.splitlines()[-1]))
    assert peaks[1] < peaks[0] + 4 * 1024  # kilobytes
