"""-m NAME|PATH|REPO[@REVISION]: what is found, and what must not be."""

import shutil
from pathlib import Path

import pytest

from bigcode_cli.framework.errors import Failure
from bigcode_cli.models import resolve
from bigcode_cli.models.resolve import Found, find_model
from program import BIGCODE, Run
from scripted_models import encode, write_checkpoint

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with acme/tiny: main, a branch with a slash, and two snapshots."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "hub" / "models--acme--tiny"
    (folder / "refs" / "feature").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT, "utf-8")
    (folder / "refs" / "feature" / "x").write_text(OTHER + "\n", "utf-8")
    for commit in (COMMIT, OTHER):
        (folder / "snapshots" / commit).mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("name", "commit"),
    [
        ("acme/tiny", COMMIT),
        ("acme/tiny@main", COMMIT),
        ("acme/tiny@feature/x", OTHER),
        (f"acme/tiny@{OTHER}", OTHER),
    ],
)
def test_a_repository_of_the_cache(name: str, commit: str, cache: Path) -> None:
    directory = cache / "snapshots" / commit
    assert find_model(name) == Found(name="acme/tiny", directory=directory, revision=commit)


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"HF_HUB_CACHE": "{}/hub", "HF_HOME": "/nowhere"}, id="HF_HUB_CACHE"),
        pytest.param({"HUGGINGFACE_HUB_CACHE": "{}/hub"}, id="HUGGINGFACE_HUB_CACHE"),
        pytest.param({"HF_HOME": "", "XDG_CACHE_HOME": "{}/xdg"}, id="XDG_CACHE_HOME"),
        pytest.param({"HF_HOME": "", "HOME": "{}/home"}, id="HOME"),
    ],
)
def test_where_the_cache_is(
    variables: dict[str, str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cache.parent.parent
    for folder in ("xdg/huggingface", "home/.cache/huggingface"):
        shutil.copytree(cache.parent, root / folder / "hub")
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(root))
    assert find_model("acme/tiny").revision == COMMIT


def keep_only(cache: Path, *commits: str) -> None:
    """Leave only these commits of the repository, whole ones."""
    for snapshot in (cache / "snapshots").iterdir():
        snapshot.rmdir()
    for commit in commits:
        write_checkpoint(cache / "snapshots" / commit, script=encode("hello"))


@pytest.mark.parametrize("reference", [None, "e" * 40], ids=["none", "ahead"])
def test_the_only_commit_is_used_if_the_main_branch_is_not_here(
    reference: str | None, cache: Path
) -> None:
    keep_only(cache, OTHER)
    (cache / "refs" / "main").unlink()
    if reference is not None:
        (cache / "refs" / "main").write_text(reference, "utf-8")
    found = find_model("acme/tiny")
    assert (found.revision, found.directory) == (OTHER, cache / "snapshots" / OTHER)
    assert found.note is not None
    assert OTHER in found.note
    with pytest.raises(Failure, match="acme/tiny@main: not in the local cache") as caught:
        find_model("acme/tiny@main")
    assert f"acme/tiny@{OTHER}" in str(caught.value.hint)


def test_one_of_several_commits_must_be_named(cache: Path) -> None:
    keep_only(cache, COMMIT, OTHER)
    (cache / "refs" / "main").unlink()
    with pytest.raises(Failure, match="acme/tiny@main: not in the local cache") as caught:
        find_model("acme/tiny")
    assert caught.value.hint == f"it has acme/tiny@{COMMIT}, acme/tiny@{OTHER}"
    assert find_model(f"acme/tiny@{OTHER}").revision == OTHER


@pytest.mark.parametrize("name", ["acme/tiny@v2", "acme/other", "tiny", f"acme/tiny@{'0' * 40}"])
def test_what_is_not_in_the_cache(name: str, cache: Path) -> None:
    with pytest.raises(Failure, match="not in the local cache") as caught:
        find_model(name)
    assert caught.value.slug == "model-missing"
    assert caught.value.hint is not None


@pytest.mark.parametrize("content", ["", "../../../../../etc", "abc", COMMIT.upper(), COMMIT * 3])
def test_a_reference_that_holds_no_commit(content: str, cache: Path) -> None:
    (cache / "refs" / "main").write_text(content, "utf-8")
    with pytest.raises(Failure, match="does not hold a commit") as caught:
        find_model("acme/tiny")
    assert caught.value.slug == "model-corrupt"


def test_a_snapshot_that_leads_out_of_the_cache(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (cache / "snapshots" / COMMIT).rmdir()
    (cache / "snapshots" / COMMIT).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Failure, match="leads out of the cache"):
        find_model("acme/tiny")


def test_a_folder_with_a_repositorys_name_does_not_hide_it(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "acme" / "tiny").mkdir(parents=True)
    assert find_model("acme/tiny").revision == COMMIT
    assert find_model("./acme/tiny") == Found(name="./acme/tiny", directory=Path("acme/tiny"))


@pytest.mark.parametrize("name", ["models", "a/b", "a/b/c", "./models", ".", "..", "~/models"])
def test_folders(name: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("models", "a/b/c"):
        (tmp_path / folder).mkdir(parents=True)
    found = find_model(name)
    assert (found.name, found.revision) == (name, None)
    assert found.directory.is_dir()


def test_what_lacks_in_this_folder_is_named_with_it(run: Run) -> None:
    done = run("complete", "-m", ".", input=b"x")
    assert done.status == 3
    assert f"{run.folder}/config.json: no such file" in done.stderr


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(Failure, match="is a file, not a folder") as caught:
        find_model(str(tmp_path / "model.safetensors"))
    assert caught.value.slug == "model-missing"


@pytest.mark.parametrize(("command", "name"), resolve.BUILT_IN_OF.items())
def test_the_built_in_models_are_package_data(
    command: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "built_in_for_a_test"
    package.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(resolve, "BUILT_IN_PACKAGES", {name: package.name})
    for value in (None, name):
        with pytest.raises(Failure, match=f"{name}: the built-in model is missing"):
            find_model(value, command=command)
    (package / "config.json").touch()
    for value in (None, name):
        assert find_model(value, command=command) == Found(name=name, directory=package)


@pytest.mark.parametrize(
    ("files", "slug"),
    [
        pytest.param([], "model-missing", id="empty"),
        pytest.param(["config.json"], "model-missing", id="no-tokenizer"),
        pytest.param(["config.json", "tokenizer.json"], "model-missing", id="no-weights"),
    ],
)
def test_incomplete_folders(files: list[str], slug: str, checkpoint: Path, run: Run) -> None:
    for name in files:
        shutil.copy(checkpoint / name, run.folder)
    done = run("complete", "-m", ".")
    assert (done.status, done.stdout) == (3, b"")
    assert f"error[{slug}]: " in done.stderr


def test_a_pickle_is_never_loaded(checkpoint: Path, run: Run) -> None:
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(checkpoint / name, run.folder)
    (run.folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    done = run("complete", "-m", "./")
    assert (done.status, done.stdout) == (3, b"")
    assert "error[model-unsafe]: " in done.stderr
    assert not (run.folder / "ran").exists()


def test_a_missing_model_is_told_at_once_with_no_network(run: Run) -> None:
    program = ("unshare", "-rn", BIGCODE)
    done = run("complete", "-m", "bigcode/santacoder", program=program)
    assert (done.status, done.stdout) == (3, b"")
    assert "error[model-missing]: bigcode/santacoder: not in the local cache" in done.stderr
    assert "\nhint: " in done.stderr
