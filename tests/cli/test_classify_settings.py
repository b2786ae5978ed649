"""Flag, then environment, then config.toml, then the default: for the options of `classify`."""

from pathlib import Path
from typing import Any

import pytest
import typer

from bigcode_cli.app import app
from bigcode_cli.app import options as all_options
from bigcode_cli.files.options import TableFormat
from bigcode_cli.framework.settings import Settings, environment_name

# Option: default, then what a flag, the environment and the file say and what comes of it.
VALUES: dict[str, tuple[Any, tuple[str, Any], tuple[str, Any], tuple[str, Any]]] = {
    "top": (None, ("5", 5), ("6", 6), ("7", 7)),
    "windows": (False, ("", True), ("yes", True), ("true", True)),
    "expect": ([], ("a b", ["a b"]), ("Vim Script", ["Vim Script"]), ('["C", "D"]', ["C", "D"])),
    "min_score": (None, ("0.5", 0.5), ("1", 1.0), ("0", 0.0)),
    "exit_zero": (False, ("", True), ("yes", True), ("true", True)),
    "no_cache": (False, ("", True), ("1", True), ("true", True)),
    "classify_model": (None, ("a", "a"), ("./b", "./b"), ('"c/d@e"', "c/d@e")),
    "format": (
        TableFormat.TEXT,
        ("csv", TableFormat.CSV),
        ("jsonl", TableFormat.JSONL),
        ('"json"', TableFormat.JSON),
    ),
}
FLAGS = {"classify_model": "--model"}


def _parse(*arguments: str) -> dict[str, Any]:
    command: Any = typer.main.get_command(app)
    child = command.commands["classify"]
    context = child.make_context("classify", list(arguments), default_map=Settings(all_options))
    return dict(context.params)


def test_the_table_has_every_option_that_others_do_not_have() -> None:
    shared = set(all_options("complete")) - {"format"}
    assert sorted(VALUES) == sorted(set(all_options("classify")) - shared)


@pytest.mark.parametrize("name", sorted(VALUES))
def test_who_wins(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv(environment_name(name), raising=False)
    config = tmp_path / "bigcode" / "config.toml"
    config.parent.mkdir()
    default, (flag, from_flag), (variable, from_variable), (toml, from_toml) = VALUES[name]
    assert _parse()[name] == default
    config.write_text(f"{name.replace('_', '-')} = {toml}\n", "utf-8")
    assert _parse()[name] == from_toml
    monkeypatch.setenv(environment_name(name), variable)
    assert _parse()[name] == from_variable
    option = FLAGS.get(name, f"--{name.replace('_', '-')}")
    assert _parse(f"{option}={flag}" if flag else option)[name] == from_flag


def test_labels_and_paths_are_read_one_by_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    parsed = _parse("a", "--expect", "C", "b c", "--expect=C++", "--", "-d")
    assert parsed["paths"] == [Path("a"), Path("b c"), Path("-d")]
    assert parsed["expect"] == ["C", "C++"]
