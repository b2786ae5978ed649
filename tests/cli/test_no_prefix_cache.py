"""Two calls on the same file: the second starts warm, and writes the same bytes."""

import re
import stat
from pathlib import Path

import pytest

from program import Run

LINES = "".join(f"def name_{number}(value):\n    return value + {number}\n" for number in range(40))
END = "def name_40(value):\n    return"
WARM = re.compile(r"prompt cache: (\d+) tokens reused")


@pytest.fixture
def folder(run: Run) -> Path:
    return Path(run.environment["HOME"]) / ".cache" / "bigcode" / "prefixes"


@pytest.mark.parametrize("command", ["complete", "infill"])
def test_the_second_call_starts_warm(run: Run, folder: Path, command: str) -> None:
    arguments = [command, "-v", "--max-tokens=8", "a.py"]
    if command == "infill":
        arguments += ["--at=70:1", "--order=psm"]
    (run.folder / "a.py").write_text(LINES + END, "utf-8")
    cold = run(*arguments, "--no-prefix-cache")
    assert not folder.exists()
    first, second = run(*arguments), run(*arguments)
    assert cold.status == first.status == second.status == 0
    assert cold.stdout == first.stdout == second.stdout != b""
    found = WARM.search(second.stderr)
    assert found is not None
    # Whole blocks; what is left after them too, where it takes long to compute.
    (whole,) = re.findall(r"prompt: (\d+) tokens", second.stderr)
    assert int(found[1]) % 256 == 0 or found[1] == whole
    assert not WARM.search(first.stderr + cold.stderr)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert b"name_" not in path.read_bytes()
    (run.folder / "a.py").write_text(LINES + "# another end\n" + END, "utf-8")
    edited = run(*arguments)
    assert WARM.search(edited.stderr)
    assert edited.stdout == run(*arguments, "--no-prefix-cache").stdout


def test_it_can_be_switched_off_for_good(run: Run, folder: Path) -> None:
    (run.folder / "a.py").write_text(LINES + END, "utf-8")
    done = run("complete", "--max-tokens=1", "a.py", env={"BIGCODE_NO_PREFIX_CACHE": "1"})
    assert done.status == 0
    assert not folder.exists()
