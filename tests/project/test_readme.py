"""What the README shows is what the program prints."""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_demo_prints_what_the_readme_shows() -> None:
    program = str(Path(sys.executable).with_name("bigcode"))
    done = subprocess.run(
        ["sh", str(ROOT / "scripts" / "demo.sh"), program],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stderr == ""
    shown = textwrap.indent(done.stdout.strip("\n"), "    ")
    assert shown in README


def test_every_command_of_the_program_has_an_example() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "bigcode_cli", "--help"], capture_output=True, text=True, check=True
    ).stdout
    commands = [line.split()[0] for line in listed.partition("Commands:\n")[2].splitlines() if line]
    commands = commands[: commands.index("Every")]
    assert "complete" in commands
    assert [name for name in commands if f"\n    bigcode {name} " not in README] == []


def _check_examples(script: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(script), "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_the_examples_are_what_the_model_writes() -> None:
    assert _check_examples(ROOT / "scripts" / "readme_examples.py") == (0, "")
    shown = README.partition("readme_examples.py -->")[2].partition("<!-- end")[0]
    assert shown.count("$ bigcode complete ") == shown.count("$ bigcode infill ") == 3
    assert shown.count("«") == shown.count("»") == 6


def test_an_example_that_was_edited_is_found(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts" / "readme_examples.py"
    shutil.copy(ROOT / "scripts" / "readme_examples.py", script)
    head, marker, tail = README.partition("readme_examples.py -->")
    flattered = head + marker + tail.replace("«", "«better ", 1)
    (tmp_path / "README.md").write_text(flattered, "utf-8")
    assert _check_examples(script) == (1, "README.md: run: python scripts/readme_examples.py\n")
    (tmp_path / "README.md").write_text("no markers\n", "utf-8")
    status, said = _check_examples(script)
    assert status == 1
    assert said.endswith(" are missing\n")
