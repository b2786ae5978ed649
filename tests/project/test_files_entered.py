"""How many files a reader has to open to follow one command: those whose code runs.

A file counts if code of it other than its top level runs after `bigcode_cli.app` was imported:
functions, and the bodies of classes.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENTERED = """
import sys, threading
from bigcode_cli.app import main

seen = set()

def enter(frame, event, _):
    if event == "call" and frame.f_code.co_name != "<module>":
        seen.add(frame.f_code.co_filename)

threading.setprofile(enter)
sys.setprofile(enter)
try:
    main(sys.argv[1:])
finally:
    sys.setprofile(None)
    names = ("/bigcode_cli/", "/gpt_bigcode/")
    entered = sorted(file for file in seen if any(name in file for name in names))
    print(*entered, sep="\\n", file=sys.stderr)
"""
SOURCE = "import os\n\n\ndef double(number):\n    return 2 * number\n"


@pytest.mark.parametrize(
    ("arguments", "most"),
    [(("complete", "--max-tokens", "3", "-"), 30), (("score", "{file}"), 35)],
    ids=["complete", "score"],
)
def test_a_plain_call_enters_few_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], most: int
) -> None:
    file = tmp_path / "double.py"
    file.write_text(SOURCE, "utf-8")
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        folder = tmp_path / name
        folder.mkdir(mode=0o700)
        monkeypatch.setenv(name, str(folder))
    command = [part.format(file=file) for part in arguments]
    done = subprocess.run(
        [sys.executable, "-c", ENTERED, *command],
        input=SOURCE,
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    entered = [line for line in done.stderr.splitlines() if line.endswith(".py")]
    assert done.stdout
    assert 10 < len(entered) <= most, "\n".join(entered)
