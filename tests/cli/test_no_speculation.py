"""`--no-speculation`: the same bytes, with and without guesses, from every place that sets it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from program import Run

Scripted = Callable[..., Path]
TEXT = "".join(f"    self.name_{letter} = name_{letter}\n" for letter in "abcdefghijklmnop")


@pytest.fixture
def arguments(scripted: Scripted, run: Run) -> list[str]:
    """Writes lines that are alike."""
    (run.folder / "a.py").write_text("#\n", "utf-8")
    model = scripted(TEXT, sharp=30.0)
    return ["complete", "--max-tokens=400", "-v", "-m", str(model), "a.py"]


def test_guesses_change_no_byte(run: Run, arguments: list[str]) -> None:
    guessed, plain = run(*arguments), run(*arguments, "--no-speculation")
    assert guessed.status == plain.status == 0
    assert guessed.stdout == plain.stdout == TEXT.encode()
    assert "draft tokens accepted" not in plain.stderr


def test_json_counts_them(run: Run, arguments: list[str]) -> None:
    done = run(*arguments, "--format=json")
    timings = done.json["timings"]
    assert 0 <= timings["accepted_tokens"] <= timings["drafted_tokens"]
    note = re.search(r"(\d+) of (\d+) draft tokens accepted", done.stderr)
    counted = (timings["accepted_tokens"], timings["drafted_tokens"])
    assert (note is not None) == (timings["drafted_tokens"] > 0)
    assert note is None or (int(note[1]), int(note[2])) == counted


def test_it_can_be_set_for_good(run: Run, arguments: list[str]) -> None:
    config = Path(run.environment["HOME"]) / ".config" / "bigcode"
    config.mkdir(parents=True)
    (config / "config.toml").write_text("no-speculation = true\n", "utf-8")
    for env in ({}, {"BIGCODE_NO_SPECULATION": "1"}):
        done = run(*arguments, "--format=json", env=env)
        assert done.json["timings"]["drafted_tokens"] == 0
        assert done.json["choices"][0]["text"] == TEXT
        (config / "config.toml").unlink(missing_ok=True)


def test_a_gap_is_filled_alike_with_guesses_of_any_kind(run: Run, scripted: Scripted) -> None:
    (run.folder / "a.py").write_text("#\n", "utf-8")
    words = ("infill", "--offset=2", "--max-tokens=200", "-m", scripted(TEXT, sharp=30.0), "a.py")
    plain = run(*words, "--no-speculation")
    assert plain.status == 0
    assert len(plain.stdout) > 100
    assert run(*words).stdout == plain.stdout
    drafted = run(*words, "--draft=pocket-coder")
    assert (drafted.status, drafted.stdout) == (3, b"")
    assert "error[draft-mismatch]" in drafted.stderr
