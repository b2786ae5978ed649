"""Which files names on a command line mean, in git repositories and elsewhere."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from bigcode_cli.files.walk import find_sources
from git_repository import Repository
from program import Run


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("XDG_CONFIG_HOME", "GIT_DIR", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "repository")


def _names(folder: Path, *paths: str | Path, **options: Any) -> list[str]:
    """What is found, relative to a folder; git must not fail."""
    options.setdefault("note", pytest.fail)
    texts = find_sources([folder / path for path in paths or (".",)], **options)
    return [os.path.relpath(text.path, folder) for text in texts]


def _make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x\n", "utf-8")


def test_tracked_files_are_never_ignored(repository: Repository) -> None:
    for name in ("prod.env", "storage/watch.py", "storage/deep/a.py"):
        repository.stage(name, "x\n")
    _make(repository.folder, "new.env", "storage/new.py")
    repository.write(".gitignore", "*.env\nstorage/\n")
    tracked = ["prod.env", "storage/watch.py", "storage/deep/a.py"]
    assert _names(repository.folder) == tracked
    # Naming an ignored folder means what is in it, and what the index holds of it.
    assert _names(repository.folder, "storage") == [
        "storage/new.py",
        "storage/watch.py",
        "storage/deep/a.py",
    ]
    (repository.folder / "prod.env").unlink()
    assert _names(repository.folder) == tracked[1:]


def test_excludes_of_the_user_and_the_repository(repository: Repository) -> None:
    _make(repository.folder, "a.py", "mine.txt", "ours.txt", "usual.txt")
    (repository.folder / ".git" / "info" / "exclude").write_text("ours.txt\n", "utf-8")
    home = Path(os.environ["HOME"])
    _make(home, ".config/git/ignore")
    (home / ".config" / "git" / "ignore").write_text("usual.txt\n", "utf-8")
    assert _names(repository.folder) == ["a.py", "mine.txt"]
    (home / "rules").write_text("mine.txt\n", "utf-8")
    (home / ".gitconfig").write_text("[core]\nexcludesFile = ~/rules\n", "utf-8")
    assert _names(repository.folder) == ["a.py", "usual.txt"]


def test_excludes_of_a_work_tree_are_those_of_its_repository(repository: Repository) -> None:
    repository.stage("a.py", "x\n")
    repository.commit()
    tree = repository.folder.parent / "tree"
    repository.git("worktree", "add", "--quiet", str(tree))
    (repository.folder / ".git" / "info" / "exclude").write_text("secret.txt\n", "utf-8")
    _make(tree, "secret.txt", "b.py")
    assert _names(tree) == ["a.py", "b.py"]


def test_repositories_in_repositories(repository: Repository, tmp_path: Path) -> None:
    inner = Repository.create(tmp_path / "inner")
    inner.stage("kept.log", "x\n")
    inner.stage("sub/a.py", "x\n")
    inner.commit()
    add = ("-c", "protocol.file.allow=always", "submodule", "add", "--quiet")
    repository.git(*add, str(inner.folder), "module")
    _make(repository.folder, "a.log", "a.py", "module/new.py", "module/new.log")
    embedded = Repository.create(repository.folder / "lib" / "embedded")
    _make(embedded.folder, "b.py", "c.tmp", "d.log")
    embedded.write(".gitignore", "*.tmp\n")
    repository.write(".gitignore", "*.log\n")
    # Each repository has its own rules: those of the outer one end at its border.
    found = [
        *("a.py", "lib/embedded/b.py", "lib/embedded/d.log"),
        *("module/kept.log", "module/new.log", "module/new.py", "module/sub/a.py"),
    ]
    assert _names(repository.folder) == found
    shutil.rmtree(repository.folder / "module")
    (repository.folder / "module").mkdir()  # as before `git submodule update`
    assert _names(repository.folder) == found[:3]


def test_repositories_in_a_folder_that_is_none(tmp_path: Path) -> None:
    for name in ("one", "two"):
        repository = Repository.create(tmp_path / "projects" / name)
        repository.stage("kept.log", "x\n")
        _make(repository.folder, "a.py", "b.log")
        repository.write(".gitignore", "*.log\n")
    _make(tmp_path / "projects", "c.log")
    found = ["c.log", "one/a.py", "one/kept.log", "two/a.py", "two/kept.log"]
    assert _names(tmp_path / "projects") == found


def test_everything_is_found_without_rules(repository: Repository) -> None:
    _make(repository.folder, "a.log", ".hidden/b.py", "c.py", "sub/d.py")
    repository.write(".gitignore", "*.log\nsub/\n")
    assert _names(repository.folder, ignore=False) == ["a.log", "c.py", "sub/d.py"]
    everything = [".gitignore", "a.log", "c.py", ".hidden/b.py", "sub/d.py"]
    assert _names(repository.folder, ignore=False, hidden=True) == everything


def test_a_file_is_one_however_it_is_named(tmp_path: Path) -> None:
    _make(tmp_path, "d/a.py", "d/sub/b.py")
    (tmp_path / "link.py").symlink_to("d/a.py")
    (tmp_path / "link").symlink_to("d")
    names = ("d/a.py", "d/../d/a.py", "link.py", "d", "d/sub", "link", "link/sub/b.py")
    assert _names(tmp_path, *names) == ["d/a.py", "d/sub/b.py"]
    assert _names(tmp_path, "link.py", "d") == ["link.py", "d/sub/b.py"]
    os.link(tmp_path / "d" / "a.py", tmp_path / "d" / "c.py")  # another file that is alike
    assert _names(tmp_path, "d", "d/c.py") == ["d/a.py", "d/c.py", "d/sub/b.py"]
    assert [text.path for text in find_sources([Path("-"), Path("-")])] == ["-"]


def test_what_git_tells_a_hook_does_not_say_where_a_folder_lies(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make(repository.folder, "a.py", "b.log")
    repository.write(".gitignore", "*.log\n")
    monkeypatch.setenv("GIT_DIR", ".git")
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "elsewhere"))
    assert _names(repository.folder) == ["a.py"]


def test_the_folder_of_git_itself_may_be_named(repository: Repository) -> None:
    found = _names(repository.folder, ".git/info")
    assert found == [".git/info/exclude"]


@pytest.fixture(params=["git", "rules"])
def fifo(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "d"
    _make(folder, "a.py", "b.log", "sub/c.py", "sub/d.log")
    (folder / ".gitignore").write_text("*.log\n", "utf-8")
    os.mkfifo(folder / "sub" / ".gitignore")
    if request.param == "git":
        Repository.create(folder)
    return folder


def test_rules_in_a_named_pipe_are_none_and_nothing_waits(fifo: Path) -> None:
    """Git would wait for ever; the rules are read without it then."""
    assert _names(fifo) == ["a.py", "sub/c.py"]


def test_a_repository_that_git_refuses(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make(repository.folder, "a.py", "b.log")
    repository.write(".gitignore", "*.log\n")
    (repository.folder / ".git" / "HEAD").unlink()
    said: list[str] = []
    assert _names(repository.folder, note=said.append) == ["a.py"]
    assert len(said) == 1
    assert "not a git repository" in said[0]
    monkeypatch.setenv("PATH", "/nowhere")
    assert _names(repository.folder, note=said.append) == ["a.py"]
    assert "git cannot be started" in said[1]


def test_folders_in_folders_in_folders(tmp_path: Path) -> None:
    """Deeper than Python recurses; what is deeper than the system names is an error."""
    here, depth = os.open(tmp_path, os.O_RDONLY), 1900
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("a.py", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)
    try:
        (found,) = find_sources([tmp_path / "d"])
        assert found.path.endswith("/d/d/a.py")
        repository = Repository.create(tmp_path)
        (found,) = find_sources([tmp_path / "d"], note=pytest.fail)
        repository.write(".gitignore", "a.py\n")
        assert not list(find_sources([tmp_path / "d"], note=pytest.fail))
    finally:
        os.system(f"rm -rf {tmp_path}/d")  # noqa: S605  # Python's own function recurses


def test_the_current_folder_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    _make(tmp_path, "a.py")
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert not list(find_sources([Path()]))
    assert [text.path for text in find_sources([tmp_path / "a.py"])] == [str(tmp_path / "a.py")]


@pytest.mark.parametrize("command", ["score", "classify", "tag"])
def test_each_command_can_search_what_is_ignored(command: str, run: Run) -> None:
    _make(run.folder, "a.py", "b.log")
    Repository(run.folder).write(".gitignore", "*.log\n")
    hidden = [".gitignore"] if command == "tag" else []

    def paths(*options: str) -> list[str]:
        done = run(command, "--format=json", *options, ".")
        return sorted(os.path.normpath(entry["path"]) for entry in done.json["files"])

    assert paths() == [*hidden, "a.py"]
    assert paths("--no-ignore") == [*hidden, "a.py", "b.log"]
