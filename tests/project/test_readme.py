"""What the README shows is what the program prints."""

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
