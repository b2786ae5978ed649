"""`bigcode score --staged` in real repositories: what is committed, not what lies on disk."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from git_repository import ENVIRONMENT, Repository
from program import BIGCODE, Outcome, Run
from scripted_models import encode, numbered_lines, write_checkpoint

GOOD = numbered_lines(12)  # what the model expects
BAD = "@@ -1 +1 @@ %^&*()\n"
GATE = ("--staged", "--max-bits-per-byte", "1", "--format", "json")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "numbered"
    return write_checkpoint(folder, script=encode(numbered_lines(40)), positions=512)


@pytest.fixture
def repository(run: Run) -> Repository:
    return Repository.create(run.folder)


@pytest.fixture
def staged(run: Run, model: Path, repository: Repository) -> Any:
    """`staged()`: the outcome; the repository is proved to be untouched."""

    def score(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> Outcome:
        before = repository.state()
        settings = {**ENVIRONMENT, **(env or {})}
        done = run("score", "-m", model, *GATE, *arguments, env=settings, **options)
        assert repository.state() == before
        return done

    return score


def _files(done: Outcome) -> list[str]:
    return [entry["path"] for entry in done.json["files"]]


def test_h1_bad_in_the_index_and_fixed_on_disk_fails(staged: Any, repository: Repository) -> None:
    repository.stage("a.py", BAD)
    repository.write("a.py", GOOD)
    done = staged()
    assert (done.status, _files(done)) == (1, ["a.py"])
    assert done.json["files"][0]["verdict"] == "fail"
    assert done.json["files"][0]["added"]["bytes"] == len(BAD)


def test_h1_good_in_the_index_and_bad_on_disk_passes(staged: Any, repository: Repository) -> None:
    repository.stage("a.py", GOOD)
    repository.write("a.py", BAD)
    done = staged()
    assert (done.status, done.json["files"][0]["verdict"]) == (0, "pass")


def test_h1_only_added_lines_are_judged_and_in_the_context_of_the_file(
    staged: Any, repository: Repository
) -> None:
    """The old lines are bad; the new one is right only where it stands."""
    lines = GOOD.splitlines(keepends=True)
    old = [
        line if number % 2 else "~" * (len(line) - 1) + "\n" for number, line in enumerate(lines)
    ]
    repository.stage("a.py", "".join(old[:8] + old[9:]))
    repository.commit()
    old[8] = lines[8]
    repository.stage("a.py", "".join(old))
    done = staged("--lines")
    entry = done.json["files"][0]
    assert (done.status, entry["verdict"]) == (0, "pass")
    assert [line["line"] for line in entry["lines"]] == [9]
    assert entry["added"]["tokens"] == len(lines[8])
    assert entry["added"]["bits_per_byte"] < 0.01
    assert entry["added"] | {"perplexity": 0} == {
        name: entry["lines"][0].get(name, 0) for name in entry["added"]
    }
    assert entry["bits_per_byte"] > 10
    repository.stage("a.py", "".join([*old[:8], lines[8].replace("8", "?"), *old[9:]]))
    assert staged().status == 1


def test_a_name_that_is_none_fails(staged: Any, repository: Repository) -> None:
    repository.stage("a.py", GOOD)
    done = staged("a.py", "nowhere.py")
    assert (done.status, _files(done)) == (3, ["a.py", "nowhere.py"])
    assert "bigcode: error[input]: nowhere.py: No such file or directory\n" in done.stderr


def test_h1_a_file_that_is_staged_in_part(staged: Any, repository: Repository) -> None:
    repository.stage("a.py", GOOD)
    repository.commit()
    more = numbered_lines(14)
    repository.stage("a.py", more)
    repository.write("a.py", BAD + more + BAD)
    done = staged("--lines")
    assert done.status == 0
    assert [line["line"] for line in done.json["files"][0]["lines"]] == [13, 14]


def test_h1_names_of_every_kind(staged: Any, repository: Repository) -> None:
    names = [
        *(b"with space.py", b"new\nline.py", b"-leading", b"--", b"0:x", b'quo"te.py', b"tab\t.py"),
        *(b"[/foo].py", "größe.py".encode(), b"not-utf8-\xff.py", b"*.py", b":(top)x", b"x" * 200),
    ]
    for number, name in enumerate(names):
        repository.stage(b"./" + name, GOOD[: 40 + number])
    done = staged()
    assert done.status == 0
    sizes = {os.fsencode(e["path"]): e["bytes"] for e in done.json["files"]}
    assert sizes == {name: 40 + number for number, name in enumerate(names)}
    strange = next(entry for entry in done.json["files"] if "path_b64" in entry)
    assert strange["path_b64"] == "bm90LXV0Zjgt/y5weQ=="


def test_h1_renamed_deleted_links_and_submodules(staged: Any, repository: Repository) -> None:
    for name in ("old.py", "gone.py", "moved.py", "target.py"):
        repository.stage(name, GOOD + f"# {name}\n")
    repository.stage("was-a-link", "x")
    repository.git("rm", "--quiet", "--cached", "was-a-link")
    (repository.folder / "was-a-link").unlink()
    (repository.folder / "was-a-link").symlink_to("target.py")
    repository.git("add", "was-a-link")
    repository.commit()
    repository.git("mv", "old.py", "new.py")
    repository.stage("new.py", GOOD + "# old.py\n" + BAD)
    repository.git("mv", "moved.py", "only-moved.py")
    repository.git("rm", "--quiet", "gone.py")
    (repository.folder / "link.py").symlink_to("target.py")
    repository.git("add", "link.py")
    commit = repository.git("rev-parse", "HEAD").strip().decode()
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},module")
    (repository.folder / "module").mkdir()
    (repository.folder / "was-a-link").unlink()
    repository.stage("was-a-link", BAD)
    done = staged("--lines")
    assert done.status == 1
    entries = {entry["path"]: entry for entry in done.json["files"]}
    assert sorted(entries) == ["new.py", "was-a-link"]
    assert [line["line"] for line in entries["new.py"]["lines"]] == [14]  # of a renamed file too
    assert entries["was-a-link"]["bytes"] == len(BAD)


def test_h1_an_executable_counts_and_the_intention_to_add_does_not(
    staged: Any, repository: Repository
) -> None:
    repository.write("run.sh", BAD)
    (repository.folder / "run.sh").chmod(0o755)
    repository.git("add", "run.sh")
    repository.write("later.py", BAD)
    repository.git("add", "--intent-to-add", "later.py")
    done = staged()
    assert (done.status, _files(done)) == (1, ["run.sh"])


def test_h1_the_first_commit_and_nothing_staged(
    staged: Any, run: Run, repository: Repository
) -> None:
    done = staged()
    assert (done.status, done.json["files"], done.stderr) == (0, [], "")
    assert done.json["summary"]["bits_per_byte"] is None
    repository.stage("a.py", BAD)
    assert staged().status == 1
    repository.commit()
    assert staged().json["files"] == []


def test_h1_a_merge_that_is_not_finished(run: Run, model: Path, repository: Repository) -> None:
    repository.stage("a.py", "1\n")
    repository.commit()
    repository.git("checkout", "--quiet", "-b", "side")
    repository.stage("a.py", "2\n")
    repository.commit()
    repository.git("checkout", "--quiet", "main")
    repository.stage("a.py", "3\n")
    repository.commit()
    with pytest.raises(subprocess.CalledProcessError):
        repository.git("merge", "side")
    done = run("score", "-m", model, *GATE, env=ENVIRONMENT)
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr == "bigcode: error[unmerged]: a.py: the merge is not finished\n"


def test_h1_what_is_no_text_is_passed_over(staged: Any, repository: Repository) -> None:
    repository.stage("a.py", GOOD)
    repository.stage("image.png", b"\x89PNG\0\0")
    repository.stage("latin1.txt", b"caf\xe9")
    repository.stage("empty", b"")
    repository.stage("big", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    done = staged()
    assert done.status == 0
    reasons = {entry["path"]: entry.get("reason") for entry in done.json["files"]}
    assert reasons == {
        "a.py": None,
        "image.png": "binary",
        "latin1.txt": "input-encoding",
        "empty": "empty",
        "big": "lfs-pointer",
    }


def test_h1_paths_choose_among_what_is_staged(staged: Any, repository: Repository) -> None:
    for name in ("a.py", "src/b.py", "src/c.py", "[ab].py"):
        repository.stage(name, GOOD)
    assert _files(staged("src", "[ab].py")) == ["[ab].py", "src/b.py", "src/c.py"]
    below = repository.folder / "src"
    assert _files(staged("b.py", cwd=below)) == ["src/b.py"]
    assert len(_files(staged(cwd=below))) == 4


def test_h1_line_ends_that_git_converts(staged: Any, repository: Repository) -> None:
    repository.git("config", "core.autocrlf", "input")
    repository.write("a.py", GOOD.replace("\n", "\r\n"))
    repository.git("add", "a.py")
    assert staged().json["files"][0]["bytes"] == len(GOOD)


def test_nothing_of_the_repository_is_run(run: Run, model: Path, repository: Repository) -> None:
    """A repository that somebody sent may name programs."""
    repository.stage("a.py", GOOD)
    repository.commit()
    canary = repository.folder / "ran"
    program = repository.folder / "program"
    program.write_text(f"#!/bin/sh\necho x >> '{canary}'\n", "utf-8")
    program.chmod(0o755)
    repository.stage("a.py", GOOD + BAD)
    repository.stage(".gitattributes", "* diff=hostile\n")
    for name in ("core.fsmonitor", "diff.external", "diff.hostile.textconv", "core.pager"):
        repository.git("config", name, str(program))
    repository.git("config", "diff.hostile.command", str(program))
    repository.git("config", "diff.noprefix", "true")
    repository.git("config", "diff.relative", "true")
    repository.git("config", "color.ui", "always")
    canary.unlink(missing_ok=True)
    env = {**ENVIRONMENT, "GIT_EXTERNAL_DIFF": str(program), "GIT_DIFF_OPTS": "-u9"}
    done = run("score", "-m", model, *GATE, "--lines", "a.py", env=env)
    assert not canary.exists()
    assert [line["line"] for line in done.json["files"][0]["lines"]] == [13]


def test_h1_a_hook_sees_the_index_of_its_commit(
    run: Run, model: Path, repository: Repository
) -> None:
    """`git commit -- file` and `git commit -a` use an index of their own, named to the hook."""
    for name in ("a.py", "b.py"):
        repository.stage(name, GOOD)
    repository.commit()
    hook = repository.folder / ".git" / "hooks" / "pre-commit"
    gate = f"'{BIGCODE}' score -m '{model}' --staged --max-bits-per-byte 1"
    hook.write_text(f"#!/bin/sh\nexec {gate}\n", "utf-8")
    hook.chmod(0o755)
    repository.write("a.py", GOOD + numbered_lines(13).removeprefix(GOOD))
    repository.write("b.py", GOOD + BAD)
    repository.git("add", "b.py")
    head = repository.git("rev-parse", "HEAD")
    repository.git("commit", "--quiet", "-m", "good", "--", "a.py")
    assert repository.git("rev-parse", "HEAD") != head
    with pytest.raises(subprocess.CalledProcessError) as caught:
        repository.git("commit", "--quiet", "-a", "-m", "bad")
    assert b"b.py: added lines: " in caught.value.stdout + caught.value.stderr
    tree = repository.folder.parent / "tree"
    repository.git("worktree", "add", "--quiet", str(tree))
    other = Repository(tree)
    other.stage("c.py", BAD)
    with pytest.raises(subprocess.CalledProcessError):
        other.git("commit", "--quiet", "-m", "bad")
    other.git("commit", "--quiet", "--no-verify", "-m", "bad")


def test_h3_outside_of_a_repository(run: Run, model: Path) -> None:
    done = run("score", "-m", model, "--staged", env={"GIT_CEILING_DIRECTORIES": "/"})
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr.startswith("bigcode: error[git]: not a git repository")
    assert done.stderr.count("\n") == 1


def test_h3_without_git(run: Run, model: Path) -> None:
    done = run("score", "-m", model, "--staged", env={"PATH": "/nonexistent"})
    assert done.status == 3
    assert "error[git]: git cannot be started" in done.stderr


def test_h3_standard_input_is_not_staged(run: Run, model: Path) -> None:
    assert run("score", "-m", model, "--staged", "-").status == 2


def test_h3_a_missing_model_ends_a_hook_at_once(run: Run, repository: Repository) -> None:
    done = run("score", "-m", "no-such/model", "--staged", env=ENVIRONMENT)
    assert (done.status, done.stdout) == (3, b"")
    assert "error[model-missing]: no-such/model" in done.stderr


def test_an_object_that_is_not_there_is_an_error_of_its_file(
    run: Run, model: Path, repository: Repository
) -> None:
    repository.stage("a.py", GOOD)
    repository.stage("b.py", GOOD + BAD)
    blob = repository.git("rev-parse", ":a.py").decode().strip()
    (repository.folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    done = run("score", "-m", model, *GATE, env=ENVIRONMENT)
    assert done.status == 3
    assert [entry["status"] for entry in done.json["files"]] == ["error", "ok"]
    assert "error[git]: a.py: " in done.stderr


@pytest.mark.parametrize(
    "data", [b"\x89PNG\0\0", b"caf\xe9", b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_a_staged_file_that_is_no_text_does_not_block_a_commit(
    staged: Any, repository: Repository, data: bytes
) -> None:
    repository.stage("logo.png", data)
    done = staged()
    assert (done.status, done.json["files"][0]["status"]) == (0, "skipped")
    assert "note: 1 of 1 file skipped (" in done.stderr
    assert staged("--strict").status == 3
