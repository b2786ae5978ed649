"""Flag, then environment, then config.toml, then the default: for score, classify and tag."""

from pathlib import Path
from typing import Any

import pytest
import typer

from bigcode_cli.app import app
from bigcode_cli.app import options as all_options
from bigcode_cli.commands.score.options import Windowing
from bigcode_cli.commands.tag.options import TagFormat
from bigcode_cli.framework.options import TableFormat
from bigcode_cli.framework.settings import Settings, environment_name
from program import Run
from scripted_taggers import write_tagger

# Option: default, then what a flag, the environment and the file say and what comes of it.
Row = tuple[Any, tuple[str, Any], tuple[str, Any], tuple[str, Any]]
SWITCH: Row = (False, ("", True), ("yes", True), ("true", True))
FORMAT: Row = (
    TableFormat.TEXT,
    ("csv", TableFormat.CSV),
    ("jsonl", TableFormat.JSONL),
    ('"json"', TableFormat.JSON),
)
VALUES: dict[str, dict[str, Row]] = {
    "score": {
        "staged": SWITCH,
        "window": (
            Windowing.STRIDED,
            ("full", Windowing.FULL),
            ("disjoint", Windowing.DISJOINT),
            ('"full"', Windowing.FULL),
        ),
        "stride": (None, ("5", 5), ("6", 6), ("7", 7)),
        "jobs": (8, ("5", 5), ("6", 6), ("7", 7)),
        "lines": SWITCH,
        "tokens": SWITCH,
        "max_bits_per_byte": (None, ("2.5", 2.5), ("3", 3.0), ("0", 0.0)),
        "min_tokens": (10, ("5", 5), ("0", 0), ("7", 7)),
        "baseline": (None, ("a b", Path("a b")), ("c", Path("c")), ('"d"', Path("d"))),
        "strict": SWITCH,
        "exit_zero": SWITCH,
        "worst": (None, ("3", 3), ("4", 4), ("5", 5)),
        "sort": SWITCH,
        "heatmap": SWITCH,
        "no_cache": SWITCH,
        "no_ignore": SWITCH,
        "max_rise": (None, ("0", 0.0), ("1.5", 1.5), ("2", 2.0)),
        "format": FORMAT,
    },
    "classify": {
        "top": (None, ("5", 5), ("6", 6), ("7", 7)),
        "windows": SWITCH,
        "names": SWITCH,
        "expect": ([], ("a b", ["a b"]), ("Vim", ["Vim"]), ('["C", "D"]', ["C", "D"])),
        "min_score": (None, ("0.5", 0.5), ("1", 1.0), ("0", 0.0)),
        "strict": SWITCH,
        "exit_zero": SWITCH,
        "no_cache": SWITCH,
        "no_ignore": SWITCH,
        "classify_model": (None, ("a", "a"), ("./b", "./b"), ('"c/d@e"', "c/d@e")),
        "format": FORMAT,
    },
    "tag": {
        "no_ignore": SWITCH,
        "tag_model": (None, ("a", "a"), ("b", "b"), ('"c"', "c")),
        "staged": SWITCH,
        "labels": ([], ("KEY=0.5", ["KEY=0.5"]), ("A,B", ["A,B"]), ('["A", "B"]', ["A", "B"])),
        "min_score": (0.5, ("0.25", 0.25), ("1", 1.0), ("0", 0.0)),
        "strict": SWITCH,
        "exit_zero": SWITCH,
        "tag_baseline": (None, ("a b", Path("a b")), ("c", Path("c")), ('"d"', Path("d"))),
        "allow": ([], ("^a b$", ["^a b$"]), ("c d", ["c d"]), ('["x", "y"]', ["x", "y"])),
        "exclude": ([], ("*.py", ["*.py"]), ("a b/", ["a b/"]), ('["x"]', ["x"])),
        "salt": (None, ("x y", "x y"), ("z", "z"), ('"w"', "w")),
        "format": (
            TagFormat.TEXT,
            ("sarif", TagFormat.SARIF),
            ("csv", TagFormat.CSV),
            ('"json"', TagFormat.JSON),
        ),
    },
}
FLAGS = {"classify_model": "--model", "tag_model": "--model", "tag_baseline": "--baseline"}
COMMAND_LINE_ALONE = {"html", "in_place", "redact", "update_baseline"}


def _parse(command: str, *arguments: str) -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    child = group.commands[command]
    context = child.make_context(command, list(arguments), default_map=Settings(all_options))
    return dict(context.params)


@pytest.mark.parametrize("command", VALUES)
def test_the_table_has_every_option_that_others_do_not_have(command: str) -> None:
    shared = set(all_options("complete")) - {"format"}
    assert set(VALUES[command]) == set(all_options(command)) - shared - COMMAND_LINE_ALONE


@pytest.mark.parametrize(
    ("command", "name"), [(command, name) for command, table in VALUES.items() for name in table]
)
def test_who_wins(command: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv(environment_name(name), raising=False)
    config = tmp_path / "bigcode" / "config.toml"
    config.parent.mkdir()
    default, (flag, from_flag), (variable, from_variable), (toml, from_toml) = VALUES[command][name]
    assert (_parse(command)[name] or default) == default
    config.write_text(f"{name.replace('_', '-')} = {toml}\n", "utf-8")
    assert _parse(command)[name] == from_toml
    monkeypatch.setenv(environment_name(name), variable)
    assert _parse(command)[name] == from_variable
    option = FLAGS.get(name, f"--{name.replace('_', '-')}")
    assert _parse(command, f"{option}={flag}" if flag else option)[name] == from_flag


@pytest.mark.parametrize("command", VALUES)
def test_paths_are_read_one_by_one(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    paths = _parse(command, "a", "b c", "--exit-zero", "--", "-d")["paths"]
    assert paths == [Path("a"), Path("b c"), Path("-d")]


def test_labels_are_read_one_by_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    parsed = _parse("classify", "a", "--expect", "C", "b c", "--expect=C++")
    assert parsed["expect"] == ["C", "C++"]


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
    assert [(span["label"], span["start"], span["end"]) for span in spans] == [("DIGITS", 7, 12)]
    options = ("--device", "cpu", "--precision", "bfloat16", "--threads", "1", "--offline", "-q")
    again = run(*words, *options)
    assert (again.status, again.stderr) == (1, "")
    rough = again.json["files"][0]["spans"]
    assert [(span["label"], span["start"]) for span in rough] == [("DIGITS", 7)]
    assert run(*words, "--device", "cuda:99").status == 3
