"""Every option of every command is used by a test that runs the real program and checks something.

The tests are read, not run: an option counts if a test function spells it, itself or through the
fixtures, functions and constants that it names, together with the words of the command.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pytest
import typer

from bigcode_cli.app import app

TESTS = Path(__file__).resolve().parents[1]
FOLDERS = ("cli", "corpus", "project", "server")
_PROCESS = frozenset({"BIGCODE", "Run", "subprocess"})
_OF_EVERY_COMMAND = frozenset({"--help"})


def _commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    waiting: list[tuple[tuple[str, ...], Any]] = [((), typer.main.get_command(app))]
    while waiting:
        words, command = waiting.pop()
        yield words, command
        waiting += [
            ((*words, name), child) for name, child in getattr(command, "commands", {}).items()
        ]


def _options() -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Each command's words, and the spellings of each of its options."""
    found = []
    for words, command in _commands():
        context = typer.Context(command, info_name=words[-1] if words else "bigcode")
        found += [
            (words, tuple(parameter.opts))
            for parameter in command.get_params(context)
            if parameter.param_type_name == "option" and not _OF_EVERY_COMMAND & set(parameter.opts)
        ]
    return found


@dataclass(frozen=True)
class _Folder:
    """The tests of a folder, and what they may name: definitions by module and name."""

    path: Path

    @cached_property
    def modules(self) -> dict[str, dict[str, ast.AST]]:
        return {file.stem: dict(_definitions(file)) for file in sorted(self.path.glob("*.py"))}

    @cached_property
    def shared(self) -> dict[str, ast.AST]:
        """What is defined in modules that are no tests."""
        names: dict[str, ast.AST] = {}
        for module, definitions in self.modules.items():
            if not module.startswith("test_"):
                names |= definitions
        return names

    def reach(self, module: str, name: str) -> tuple[set[str], set[str]]:
        """The texts and the names that a definition reaches."""
        known = self.shared | self.modules[module]
        texts: set[str] = set()
        names, waiting = {name}, [name]
        while waiting:
            node = known.get(waiting.pop())
            if node is not None:
                spelled, named = _words(node)
                texts |= spelled
                waiting += named - names
                names |= named
        return texts, names


@cache
def _words(node: ast.AST) -> tuple[frozenset[str], frozenset[str]]:
    """The texts and the names that a definition holds itself."""
    texts, names = set(), set()
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            texts.add(part.value)
        found = getattr(part, "id", None) or getattr(part, "arg", None)
        if isinstance(found, str):
            names.add(found)
    return frozenset(texts), frozenset(names)


def _definitions(file: Path) -> Iterator[tuple[str, ast.AST]]:
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name, node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                for part in ast.walk(target):
                    if isinstance(part, ast.Name):
                        yield part.id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value


@pytest.fixture(scope="module")
def reached() -> list[set[str]]:
    """The texts of every test that runs a process and asserts something."""
    found = []
    for folder in (_Folder(TESTS / name) for name in FOLDERS):
        for module, definitions in folder.modules.items():
            for name, node in definitions.items():
                asserts = any(isinstance(part, ast.Assert) for part in ast.walk(node))
                if name.startswith("test_") and asserts:
                    texts, names = folder.reach(module, name)
                    if names & _PROCESS:
                        found.append(texts)
    return found


def test_an_option_is_used_by_a_test(reached: list[set[str]]) -> None:
    untested = []
    for words, spellings in _options():
        values = tuple(f"{name}=" for name in spellings)
        used = any(
            set(words) <= texts and any(t in spellings or t.startswith(values) for t in texts)
            for texts in reached
        )
        if not used:
            untested.append(" ".join([*words, spellings[0]]))
    assert untested == []


def test_an_option_that_no_test_uses_would_be_found(reached: list[set[str]]) -> None:
    assert len(reached) > 100
    assert not any("--no-such-switch" in texts for texts in reached)
