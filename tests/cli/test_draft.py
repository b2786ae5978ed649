"""`--draft`: another model guesses, the same bytes come out; one with other tokens is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from program import Run
from scripted_models import encode, write_checkpoint

TEXT = "".join(f"    self.name_{letter} = name_{letter}\n" for letter in "abcdefghij")


@pytest.fixture
def arguments(scripted: Callable[..., Path], run: Run) -> list[str]:
    (run.folder / "a.py").write_text("#\n", "utf-8")
    model = scripted(TEXT, sharp=30.0)
    return ["complete", "--max-tokens=400", "--format=json", "-m", str(model), "a.py"]


@pytest.mark.parametrize("guesses", [TEXT, TEXT.upper(), ""])
def test_whatever_it_guesses_the_text_is_the_model_s(
    run: Run, arguments: list[str], guesses: str, tmp_path: Path
) -> None:
    draft = write_checkpoint(
        tmp_path / "draft", script=encode(guesses), at=len(encode("#\n")), sharp=30.0
    )
    done = run(*arguments, "--draft", draft)
    assert (done.status, done.stderr) == (0, "")
    assert done.json["choices"][0]["text"] == TEXT


def test_another_tokenizer_is_refused(run: Run, arguments: list[str], tmp_path: Path) -> None:
    draft = write_checkpoint(tmp_path / "draft", script=encode("a"))
    path = draft / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(tokenizer), "utf-8")
    done = run(*arguments, "--draft", draft)
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr.startswith("bigcode: error[draft-mismatch]: draft model ")


def test_what_does_not_go_together_is_a_usage_error(run: Run, arguments: list[str]) -> None:
    done = run(*arguments, "--draft=pocket-coder", "--no-speculation")
    assert (done.status, done.stdout) == (2, b"")
    missing = run(*arguments, "--draft=./nowhere")
    assert (missing.status, missing.stdout) == (3, b"")
    assert "error[model-missing]" in missing.stderr


def test_several_samples_are_written_plainly(run: Run, arguments: list[str]) -> None:
    done = run(*arguments, "--draft=pocket-coder", "--samples=2")
    assert done.status == 0
    assert "--draft is ignored" in done.stderr
