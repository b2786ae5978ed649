"""The rules of CONTRIBUTING.md that no linter checks."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from bigcode_cli import __version__

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bigcode_cli", "model", "scripts", "tests", "benchmarks")
SOURCES = sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))
JOBS = sorted(
    path.parent.name
    for path in (ROOT / "bigcode_cli").glob("*/__init__.py")
    if path.parent.name not in {"commands", "hub", "git"}
)
_MAX_FILE_LINES = 400
_MAX_FUNCTION_LINES = 50
_MAX_TRANSFORMER_LINES = 350


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= _MAX_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert length <= _MAX_FUNCTION_LINES, node.name


def test_the_forward_pass_stays_on_few_pages() -> None:
    path = ROOT / "model" / "gpt_bigcode" / "transformer.py"
    assert path.read_text("utf-8").count("\n") < _MAX_TRANSFORMER_LINES


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_no_module_is_called_a_drawer(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def test_newest_change_is_this_version() -> None:
    headings = re.findall(
        r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    assert headings[0] == __version__


def test_readme_names_every_file_of_the_tree() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    folders = ("model/gpt_bigcode", "bigcode_cli", "bigcode_cli/commands", "scripts", "benchmarks")
    listed = [path for name in folders for path in (ROOT / name).glob("*.py")]
    missing = [_name(p) for p in listed if p.name != "__init__.py" and p.name not in readme]
    assert missing == []


@pytest.mark.parametrize("folder", JOBS)
def test_readme_names_every_file_of_a_job(folder: str) -> None:
    """Files of several jobs have the same names, so each must stand below its own folder."""
    tree = (ROOT / "README.md").read_text("utf-8").partition("\n    bigcode_cli/ ")[2]
    listed = re.search(rf"^ {{6}}{folder}/.*\n((?: {{8}}.*\n)*)", tree, re.MULTILINE)
    assert listed is not None
    files = {path.name for path in (ROOT / "bigcode_cli" / folder).iterdir() if path.is_file()}
    assert set(re.findall(r"[a-z_]+\.(?:py|css)\b", listed[1])) == files - {"__init__.py"}


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
    assert found == [f"model/gpt_bigcode/unpickling.py: content = {call}"]
