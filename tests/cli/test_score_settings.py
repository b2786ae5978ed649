"""Flag, then environment, then config.toml, then the default: for the options of `score`."""

from pathlib import Path
from typing import Any

import pytest
import typer

from bigcode_cli.app import app
from bigcode_cli.app import options as all_options
from bigcode_cli.commands.score.options import Window
from bigcode_cli.files.options import TableFormat
from bigcode_cli.framework.settings import Settings, environment_name

# Option: default, then what a flag, the environment and the file say and what comes of it.
VALUES: dict[str, tuple[Any, tuple[str, Any], tuple[str, Any], tuple[str, Any]]] = {
    "staged": (False, ("", True), ("1", True), ("true", True)),
    "window": (
        Window.STRIDED,
        ("full", Window.FULL),
        ("disjoint", Window.DISJOINT),
        ('"full"', Window.FULL),
    ),
    "stride": (None, ("5", 5), ("6", 6), ("7", 7)),
    "lines": (False, ("", True), ("yes", True), ("true", True)),
    "tokens": (False, ("", True), ("on", True), ("true", True)),
    "max_bits_per_byte": (None, ("2.5", 2.5), ("3", 3.0), ("0", 0.0)),
    "min_tokens": (10, ("5", 5), ("0", 0), ("7", 7)),
    "baseline": (None, ("a b", Path("a b")), ("c", Path("c")), ('"d"', Path("d"))),
    "exit_zero": (False, ("", True), ("1", True), ("true", True)),
    "heatmap": (False, ("", True), ("1", True), ("true", True)),
    "html": (None, ("a b", Path("a b")), ("c", Path("c")), ('"d"', Path("d"))),
    "no_cache": (False, ("", True), ("1", True), ("true", True)),
    "max_rise": (0.05, ("0", 0.0), ("1.5", 1.5), ("2", 2.0)),
    "format": (
        TableFormat.TEXT,
        ("csv", TableFormat.CSV),
        ("jsonl", TableFormat.JSONL),
        ('"json"', TableFormat.JSON),
    ),
}


def _parse(*arguments: str) -> dict[str, Any]:
    command: Any = typer.main.get_command(app)
    child = command.commands["score"]
    context = child.make_context("score", list(arguments), default_map=Settings(all_options))
    return dict(context.params)


def test_the_table_has_every_option_that_others_do_not_have() -> None:
    shared = set(all_options("complete")) - {"format"}
    assert sorted(VALUES) == sorted(set(all_options("score")) - shared)


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
    option = f"--{name.replace('_', '-')}"
    assert _parse(f"{option}={flag}" if flag else option)[name] == from_flag


def test_paths_are_read_one_by_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert _parse("a", "b c", "--lines", "--", "-d")["paths"] == [
        *(Path("a"), Path("b c"), Path("-d"))
    ]
