"""`bigcode score --staged --max-rise`: added lines against what is around their place in HEAD."""

from pathlib import Path

import pytest

from git_repository import ENVIRONMENT, Repository
from program import Outcome, Run
from scripted_models import encode, numbered_lines, write_checkpoint

GOOD = numbered_lines(12)  # what the model expects
BAD = "@@ -1 +1 @@ %^&*()\n"
GATE = ("--staged", "--max-bits-per-byte", "1", "--format", "json")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "numbered"
    return write_checkpoint(folder, script=encode(numbered_lines(40)), positions=512)


@pytest.fixture
def repository(run: Run) -> Repository:
    return Repository.create(run.folder)


def test_max_rise_compares_added_lines_with_the_file_in_head(
    run: Run, model: Path, repository: Repository
) -> None:
    def gate(*arguments: str) -> Outcome:
        options = ("--staged", "--max-rise", "3", "--format", "json", *arguments)
        return run("score", "-m", model, *options, env=ENVIRONMENT)

    repository.stage("good.py", GOOD)
    repository.stage("strange.csv", BAD * 3)
    repository.stage("new.py", GOOD)
    repository.git("rm", "--quiet", "--cached", "new.py")
    repository.commit()
    repository.stage("good.py", GOOD + BAD)
    repository.stage("strange.csv", BAD * 4)
    repository.stage("new.py", BAD)
    done = gate()
    entries = {entry["path"]: entry for entry in done.json["files"]}
    verdicts = {path: entry["verdict"] for path, entry in entries.items()}
    assert verdicts == {"good.py": "fail", "strange.csv": "pass", "new.py": "not-compared"}
    assert done.status == 1
    finding = entries["good.py"]["findings"][0]
    assert " above the lines around them in HEAD (0.000); at most 3" in finding
    assert entries["good.py"]["baseline_bits_per_byte"] < 0.01
    assert done.json["summary"]["compared"] == 2
    assert done.stderr == "bigcode: note: 1 of 3 files without enough in HEAD\n"
    assert gate("strange.csv", "--strict").status == 0
    done = gate("new.py", "--strict")
    assert done.status == 3
    assert (
        "error[not-judged]: --strict: nothing was compared: no file has enough text in HEAD"
        in done.stderr
    )


def test_of_a_long_file_only_the_windows_of_added_lines_are_scored(
    run: Run, model: Path, repository: Repository
) -> None:
    """What is reported is the same as where the whole file is scored, as for JSON."""
    old = numbered_lines(40) + BAD * 60 + numbered_lines(40)
    new = old.replace(BAD, "!! odd\n" + BAD, 1)
    repository.stage("a.py", old)
    repository.commit()
    repository.stage("a.py", new)
    options = ("--staged", "--max-rise", "0.5", "--no-cache")
    whole = run("score", "-m", model, *options, "--format", "json", env=ENVIRONMENT)
    entry = whole.json["files"][0]
    done = run("score", "-m", model, *options, env=ENVIRONMENT)
    said = done.stdout.decode()
    assert done.status == whole.status
    assert f"added lines: {entry['added']['bits_per_byte']:.3f} bits/byte" in said
    assert entry["findings"] == [] or entry["findings"][0] in said
    # The rest of the file is another kind of text: what is around the place is compared.
    bits = entry["bits_per_byte"]
    assert abs(entry["baseline_bits_per_byte"] - bits) > 0.5


def test_a_file_that_was_scored_is_not_computed_again_when_it_is_staged(
    run: Run, model: Path, repository: Repository
) -> None:
    repository.stage("a.py", GOOD)
    repository.commit()
    repository.stage("a.py", GOOD + BAD)
    for revision in ("HEAD", ""):
        (run.folder / "copy.py").write_bytes(repository.git("show", f"{revision}:a.py"))
        run("score", "-m", model, "copy.py")
    done = run("score", "-v", "-m", model, *GATE, "--max-rise", "3", env=ENVIRONMENT)
    assert done.status == 1
    assert "2 of 2 files had been scored before" in done.stderr
    assert " s to load" not in done.stderr


def test_a_gate_that_fails_says_how_to_see_the_lines(
    run: Run, model: Path, repository: Repository
) -> None:
    repository.stage("a.py", GOOD)
    repository.commit()
    repository.stage("a.py", GOOD + "value_13 = 169\n" + BAD)
    gate = ("score", "-m", model, "--staged", "--max-rise", "3")
    done = run(*gate, env=ENVIRONMENT)
    assert done.status == 1
    call = "run `bigcode score --staged --worst 10`"
    assert done.stderr == f"bigcode: note: {call} to see the most surprising lines\n"
    done = run(*gate, "--worst", "1", env=ENVIRONMENT)
    assert done.stdout.decode().splitlines()[1].startswith("a.py:14: ")
    assert done.stdout.decode().endswith(" bits/byte: @@ -1 +1 @@ %^&*()\n")
    assert done.stderr == ""


def test_a_handful_of_tokens_in_head_is_no_past(
    run: Run, model: Path, repository: Repository
) -> None:
    """Their mean is chance: noise in a new file must not pass because of it."""
    repository.stage("a.py", "@@@\n")
    repository.commit()
    repository.stage("a.py", "@@@\n" + BAD)
    options = ("--staged", "--max-rise", "3", "--format", "json")
    done = run("score", "-m", model, *options, env=ENVIRONMENT)
    assert (done.status, done.json["files"][0]["verdict"]) == (0, "not-compared")
    assert "note: nothing was compared: no file has enough text in HEAD" in done.stderr
    done = run("score", "-m", model, *options, "--min-tokens", "2", env=ENVIRONMENT)
    assert done.json["files"][0]["verdict"] == "pass"
