"""Flag, then environment, then config.toml, then the default: for the options of `tag`."""

from pathlib import Path
from typing import Any

import pytest
import typer

from bigcode_cli.app import app
from bigcode_cli.app import options as all_options
from bigcode_cli.commands.tag.options import TagFormat
from bigcode_cli.framework.settings import Settings, environment_name
from program import Run
from scripted_taggers import write_tagger

# Option: default, then what a flag, the environment and the file say and what comes of it.
VALUES: dict[str, tuple[Any, tuple[str, Any], tuple[str, Any], tuple[str, Any]]] = {
    "tag_model": (None, ("a", "a"), ("b", "b"), ('"c"', "c")),
    "staged": (False, ("", True), ("1", True), ("true", True)),
    "labels": ([], ("KEY=0.5", ["KEY=0.5"]), ("A,B", ["A,B"]), ('["A", "B"]', ["A", "B"])),
    "min_score": (0.5, ("0.25", 0.25), ("1", 1.0), ("0", 0.0)),
    "exit_zero": (False, ("", True), ("yes", True), ("true", True)),
    "tag_baseline": (None, ("a b", Path("a b")), ("c", Path("c")), ('"d"', Path("d"))),
    "update_baseline": (False, ("", True), ("on", True), ("true", True)),
    "allow": ([], ("^a b$", ["^a b$"]), ("c d", ["c d"]), ('["x", "y"]', ["x", "y"])),
    "exclude": ([], ("*.py", ["*.py"]), ("a b/", ["a b/"]), ('["x"]', ["x"])),
    "salt": (None, ("x y", "x y"), ("z", "z"), ('"w"', "w")),
    "redact": (False, ("", True), ("1", True), ("true", True)),
    "in_place": (False, ("", True), ("1", True), ("true", True)),
    "format": (
        TagFormat.TEXT,
        ("sarif", TagFormat.SARIF),
        ("csv", TagFormat.CSV),
        ('"json"', TagFormat.JSON),
    ),
}
FLAGS = {"tag_model": "--model", "tag_baseline": "--baseline"}


def _parse(*arguments: str) -> dict[str, Any]:
    command: Any = typer.main.get_command(app)
    child = command.commands["tag"]
    context = child.make_context("tag", list(arguments), default_map=Settings(all_options))
    return dict(context.params)


def test_the_table_has_every_option_that_others_do_not_have() -> None:
    shared = set(all_options("complete")) - {"format"}
    assert sorted(VALUES) == sorted(set(all_options("tag")) - shared)


@pytest.mark.parametrize("name", sorted(VALUES))
def test_who_wins(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv(environment_name(name), raising=False)
    config = tmp_path / "bigcode" / "config.toml"
    config.parent.mkdir()
    default, (flag, from_flag), (variable, from_variable), (toml, from_toml) = VALUES[name]
    assert (_parse()[name] or default) == default
    config.write_text(f"{name.replace('_', '-')} = {toml}\n", "utf-8")
    assert _parse()[name] == from_toml
    monkeypatch.setenv(environment_name(name), variable)
    assert _parse()[name] == from_variable
    option = FLAGS.get(name, f"--{name.replace('_', '-')}")
    assert _parse(f"{option}={flag}" if flag else option)[name] == from_flag


def test_the_model_that_writes_text_is_another_setting(run: Run, tmp_path: Path) -> None:
    model = write_tagger(tmp_path / "tagger")
    env = {"BIGCODE_MODEL": "no-such/model", "BIGCODE_TAG_MODEL": str(model)}
    done = run("tag", input=b"x ABCD", env=env)
    assert (done.status, done.stdout[:13]) == (1, b"-:1:3: KEY, 4")
    assert run("tag", input=b"x", env={"BIGCODE_TAG_MODEL": "no-such/model"}).status == 3


def test_where_and_how_the_model_runs(run: Run, tmp_path: Path) -> None:
    model = write_tagger(tmp_path / "tagger", scores={"Q": 0.6, "X": 0.6})
    (run.folder / "a.py").write_text("mail = 12@34\n", "utf-8")
    words = ("tag", "--format=json", "-m", model, "a.py")
    spans = run(*words).json["files"][0]["spans"]
    assert [(span["label"], span["start"], span["end"]) for span in spans] == [("EMAIL", 7, 12)]
    options = ("--device", "cpu", "--precision", "bfloat16", "--threads", "1", "--offline", "-q")
    again = run(*words, *options)
    assert (again.status, again.stderr) == (1, "")
    rough = again.json["files"][0]["spans"]
    assert [(span["label"], span["start"]) for span in rough] == [("EMAIL", 7)]
    assert run(*words, "--device", "cuda:99").status == 3
