"""The README is short and names what there is; samples are what the built-in model writes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = (ROOT / "model" / "pocket_coder" / "SAMPLES.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
_MOST_LINES = 200
_MOST_TREE_LINES = 30


def test_the_demo_completes_a_real_file() -> None:
    program = str(Path(sys.executable).with_name("bigcode"))
    done = subprocess.run(
        ["sh", str(ROOT / "scripts" / "demo.sh"), program],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stderr == ""
    shown, command, completed = done.stdout.partition("\n$ bigcode complete ")
    assert command
    assert shown.startswith("$ cat examples/inventory.py\n")
    assert (ROOT / "examples" / "inventory.py").read_text("utf-8") in shown
    assert completed.count("\n") > 2


def test_every_command_of_the_program_has_an_example() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "bigcode_cli", "--help"], capture_output=True, text=True, check=True
    ).stdout
    section = listed.partition("\nCommands:\n")[2].partition("\n\n")[0]
    commands = re.findall(r"^  (\w+)  ", section, re.MULTILINE)
    assert {"complete", "models"} <= set(commands)
    shown = set(re.findall(r"^    bigcode (\w+)", README, re.MULTILINE))
    assert [name for name in commands if name not in shown] == []


def test_it_is_short_and_its_tree_has_every_folder() -> None:
    assert README.count("\n") <= _MOST_LINES
    tree = re.search(r"\n## The tree\n\n((?: {4}.*\n)+)", README)
    assert tree is not None
    assert tree[1].count("\n") <= _MOST_TREE_LINES
    packages = (ROOT / "bigcode_cli", ROOT / "model" / "gpt_bigcode")
    folders = {path.parent.name for package in packages for path in package.glob("*/__init__.py")}
    assert [name for name in sorted(folders) if f" {name}/" not in tree[1]] == []


def test_every_file_that_is_linked_is_there() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_samples_are_what_the_model_writes() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "model_samples.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert SAMPLES.count("$ bigcode complete ") == SAMPLES.count("$ bigcode infill ") == 3
    assert SAMPLES.count("\n    ") > 30


def test_a_sample_that_was_edited_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import model_samples

    page = tmp_path / "SAMPLES.md"
    monkeypatch.setattr(model_samples, "SAMPLES", page)
    monkeypatch.setattr(model_samples, "samples", lambda _program: SAMPLES)
    monkeypatch.setattr("sys.argv", ["model_samples.py", "--check"])
    page.write_text(SAMPLES.replace("\n    «", "\n    «better ", 1), "utf-8")
    assert model_samples.main() == 1
    assert capsys.readouterr() == ("", "SAMPLES.md: run: python scripts/model_samples.py\n")
    page.write_text(SAMPLES, "utf-8")
    assert model_samples.main() == 0
