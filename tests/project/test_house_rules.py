"""The rules of CONTRIBUTING.md that no linter checks."""

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

from bigcode_cli import __version__

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bigcode_cli", "model", "scripts", "tests", "benchmarks")
SOURCES = sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))
_MAX_FILE_LINES = 400
_MAX_FOLDER_FILES = 16
_MAX_FUNCTION_LINES = 50
_MAX_TRANSFORMER_LINES = 350


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_files_and_functions_are_short() -> None:
    long = []
    for path in SOURCES:
        text = path.read_text("utf-8")
        if text.count("\n") > _MAX_FILE_LINES:
            long.append(_name(path))
        long += [
            f"{_name(path)}: {node.name}"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            and _length(node) > _MAX_FUNCTION_LINES
        ]
    assert long == []


def test_folders_hold_few_files() -> None:
    counts = Counter(path.parent for path in SOURCES if path.is_relative_to(ROOT / "bigcode_cli"))
    counts += Counter(
        path.parent for path in SOURCES if path.is_relative_to(ROOT / "model" / "gpt_bigcode")
    )
    assert {_name(path): n for path, n in counts.items() if n > _MAX_FOLDER_FILES} == {}


def test_the_forward_pass_stays_on_few_pages() -> None:
    path = ROOT / "model" / "gpt_bigcode" / "modeling" / "transformer.py"
    assert path.read_text("utf-8").count("\n") < _MAX_TRANSFORMER_LINES


def test_no_module_is_called_a_drawer() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert [_name(path) for path in SOURCES if path.stem in drawers] == []


def test_newest_change_is_this_version() -> None:
    headings = re.findall(
        r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    assert headings[0] == __version__


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=\[ ]", name)[0]).lower()


def test_what_is_declared_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = [*project["dependencies"]]
    declared += [name for group in project["optional-dependencies"].values() for name in group]
    pinned = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    names = {_canonical(line) for line in pinned if "==" in line}
    assert sorted({_canonical(name) for name in declared} - names) == []


def test_14_pickles_are_opened_in_one_place_for_tensors_alone() -> None:
    """Nothing falls back to an unsafe load, whatever the reason."""
    pattern = re.compile(r"weights_only=False|pickle\.loads?\(|torch\.load\(")
    found = [
        f"{_name(path)}: {line.strip()}"
        for path in SOURCES
        if "tests" not in path.parts and "training" not in path.parts
        for line in path.read_text("utf-8").splitlines()
        if pattern.search(line)
    ]
    call = 'torch.load(path, map_location="cpu", weights_only=True, mmap=True)'
    assert found == [f"model/gpt_bigcode/checkpoint/pickle_reader.py: content = {call}"]
