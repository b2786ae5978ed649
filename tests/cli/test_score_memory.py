"""How much memory `bigcode score` needs: as much for a large file as for a small one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from program import BIGCODE, TIMEOUT_SECONDS, Run
from scripted_models import SPECIAL_TOKENS, encode, write_checkpoint

# A byte that no UTF-8 has lends its id to a token of 2, 4, 8 ... 512 letters.
_FREE_BYTE, _MERGES = 0xF5, 9
_LINE = "x" * 1023 + "\n"
_PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=sys.stdout)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(done.returncode)
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Its tokens are up to 512 letters long, so that megabytes are scored in seconds."""
    folder = write_checkpoint(tmp_path / "long", script=encode("x"), positions=128, sharp=1.0)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    vocabulary, merges = tokenizer["model"]["vocab"], tokenizer["model"]["merges"]
    spelled = {number: text for text, number in vocabulary.items()}
    for place in range(_MERGES):
        number, half = len(SPECIAL_TOKENS) + _FREE_BYTE + place, "x" * 2**place
        del vocabulary[spelled[number]]
        vocabulary[2 * half] = number
        merges.append([half, half])
    path.write_text(json.dumps(tokenizer), "utf-8")
    return folder


def _peak_kib(run: Run, *arguments: str | Path) -> tuple[int, dict[str, int]]:
    command = [sys.executable, "-c", _PEAK, BIGCODE, "score", *arguments, "--format", "jsonl"]
    done = subprocess.run(
        command,
        cwd=run.folder,
        env=run.environment,
        capture_output=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
    return int(done.stderr), json.loads(done.stdout.splitlines()[-1])


def test_memory_does_not_grow_with_the_file(run: Run, model: Path) -> None:
    peaks = {}
    for megabytes in (1, 6):
        count = megabytes * 10**6 // len(_LINE)
        (run.folder / "a.txt").write_text(_LINE * count, "utf-8")
        peaks[megabytes], entry = _peak_kib(run, "-m", model, "--no-cache", "a.txt")
        assert entry["bytes"] == count * len(_LINE)
        assert entry["tokens"] == count * 11  # 512 + 256 + ... + 1 letters, and the line end
    assert abs(peaks[6] - peaks[1]) < 3 * 1024  # the text itself would be 5 MB more


def test_h2_many_files_need_the_memory_of_one(run: Run, model: Path) -> None:
    names = [f"{number}.txt" for number in range(200)]
    for number, name in enumerate(names):
        (run.folder / name).write_text(f"{_LINE * 8}{number}\n", "utf-8")
    one, _ = _peak_kib(run, "-m", model, "--no-cache", names[0])
    many, _ = _peak_kib(run, "-m", model, "--no-cache", *names)
    assert many < 1.3 * one
