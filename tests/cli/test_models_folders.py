"""Folders of models that config.toml names: found by name, listed, and never in the way."""

import shutil
from pathlib import Path

import pytest

from cached_models import COMMIT, add_to_cache
from program import Run
from scripted_models import encode, write_checkpoint


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder with mine/, acme/theirs/, and what is no model."""
    top = tmp_path / "shelf"
    write_checkpoint(top / "mine", script=encode("mine"))
    shutil.copytree(top / "mine", top / "acme" / "theirs")
    (top / "notes").mkdir()
    (top / "file").touch()
    return top


@pytest.fixture
def config(run: Run) -> Path:
    path = Path(run.environment["HOME"]) / ".config" / "bigcode" / "config.toml"
    path.parent.mkdir(parents=True)
    return path


def listed(run: Run, **variables: str) -> list[tuple[str, str]]:
    done = run("models", "list", "--format=json", env=variables)
    assert done.status == 0, done.stderr
    models = done.json["models"]
    return [(entry["name"], entry["source"]) for entry in models if entry["source"] != "builtin"]


def test_models_of_a_folder_have_names(run: Run, shelf: Path, config: Path) -> None:
    config.write_text(f'max-tokens = 9\nmodel-folders = ["{shelf}"]\n', "utf-8")
    assert listed(run) == [("acme/theirs", "path"), ("mine", "path")]
    for name in ("mine", "acme/theirs"):
        done = run("complete", "-m", name, input=b"")
        assert (done.status, done.stdout) == (0, b"mine")
        shown = run("models", "show", name, "--format=json").json
        assert shown["path"] == str(shelf / name)
        assert shown["source"] == "path"
    lines = run("models", "list").stdout.decode().splitlines()
    assert any(line.split()[0] == "mine" and "complete, infill, score" in line for line in lines)
    assert run("models", "default", "mine").stdout == bytes(shelf / "mine") + b"\n"


def test_a_folder_may_be_a_model_itself(run: Run, shelf: Path) -> None:
    variable = f"{shelf / 'mine'}:/nowhere:{shelf}"
    found = listed(run, BIGCODE_MODEL_FOLDERS=variable)
    assert found == [("mine", "path"), ("acme/theirs", "path")]


def test_the_cache_comes_first(run: Run, shelf: Path, checkpoint: Path) -> None:
    """A name that leads to the cache is listed for the cache; the folder under its path."""
    root = Path(run.environment["HOME"]) / ".cache" / "huggingface" / "hub"
    add_to_cache(root, "acme/theirs", checkpoint)
    variables = {"BIGCODE_MODEL_FOLDERS": str(shelf)}
    found = listed(run, **variables)
    place = shelf / "acme" / "theirs"
    assert found == [("acme/theirs", "cache"), (str(place), "path"), ("mine", "path")]
    shown = run("models", "show", "acme/theirs", "--format=json", env=variables).json
    assert shown["revision"] == COMMIT


def test_what_cannot_be_removed(run: Run, shelf: Path) -> None:
    """Only the cache is ours to remove from."""
    done = run("models", "remove", "--yes", "mine", env={"BIGCODE_MODEL_FOLDERS": str(shelf)})
    assert done.status == 3
    assert (shelf / "mine" / "config.json").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('model-folders = "x"', "model-folders: 'x' is not a"),
        ("model-folders = [1]", "is not a list of texts"),
        ('model-folders = ["models"]', "'models' is not an absolute path"),
        ('model_folders = ["/x"]', "there is no such option"),
    ],
)
def test_settings_that_are_wrong(content: str, words: str, run: Run, config: Path) -> None:
    config.write_text(content, "utf-8")
    done = run("models", "list")
    assert (done.status, done.stdout) == (2, b"")
    assert "error[settings]: " in done.stderr
    assert words in done.stderr


def test_folders_that_are_not_there_are_nothing(run: Run, config: Path, tmp_path: Path) -> None:
    config.write_text(f'model-folders = ["{tmp_path / "gone"}", "~/none"]', "utf-8")
    assert listed(run) == []
    assert run("models", "show", "mine").status == 3
