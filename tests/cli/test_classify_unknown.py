"""`bigcode classify`: when a label is named, when it is `unknown`, and what file names add."""

from pathlib import Path

import pytest

from program import Run
from scripted_models import write_classifier


def test_where_the_model_is_not_sure_the_label_is_unknown(run: Run, tmp_path: Path) -> None:
    """All labels see the last byte alike, so that each has a third, or less."""
    model = write_classifier(tmp_path / "even", {"C": b"c", "D": b"c", "E": b"c"})
    (run.folder / "a").write_text("x c")
    done = run("classify", "-m", model, "a")
    assert done.stdout.startswith(b"a: unknown (best guess: ")
    done = run("classify", "-m", model, "a", "--format", "json", "--expect", "C")
    entry = done.json["files"][0]
    assert (done.status, entry["label"], entry["findings"]) == (1, "unknown", ["not C"])
    assert entry["score"] < 0.5
    assert done.json["summary"]["labels"] == {"unknown": 1}
    rows = run("classify", "-m", model, "a", "--format", "csv").stdout.decode().splitlines()
    assert ",unknown,0." in rows[1]
    assert b"unknown" not in run("classify", "-m", model, "a", "--min-score", "0.1").stdout
    assert b"unknown" not in run("classify", "-m", model, "a", "--top", "3").stdout
    assert run("classify", "-m", model, "a", "--strict").status == 0


def test_the_checkpoint_says_from_which_score_on_a_label_is_named(run: Run, tmp_path: Path) -> None:
    (run.folder / "a").write_text("x c")
    for threshold, said in ((0.2, b"a: C 0."), (0.99, b"a: unknown (best guess: C 0.")):
        model = write_classifier(
            tmp_path / str(threshold),
            {"C": b"c", "D": b"d", "E": b"e"},
            classification={"threshold": threshold},
        )
        done = run("classify", "-m", model, "a")
        assert done.stdout.startswith(said)
        assert run("classify", "-m", model, "a", "--min-score", "0.5").stdout.startswith(b"a: C 0.")


def test_a_label_for_everything_else_is_no_guess(run: Run, tmp_path: Path) -> None:
    """A model that has learnt the label `unknown` is as sure of it as it may be."""
    model = write_classifier(
        tmp_path / "other",
        {"unknown": b"u", "C": b"c", "D": b"d"},
        classification={"threshold": 0.999},
    )
    (run.folder / "a").write_text("x u")
    assert run("classify", "-m", model, "a").stdout.startswith(b"a: unknown 0.")
    assert run("classify", "-m", model, "a", "--expect", "Unknown").status == 0
    assert run("classify", "-m", model, "a", "--expect", "c").status == 1


@pytest.mark.parametrize(
    ("name", "options", "label"),
    [
        ("a.d", [], "C"),
        ("a.d", ["--names"], "D"),
        ("a.c", ["--names"], "C"),
        ("a.py", ["--names"], "C"),  # no label of this model
        ("a", ["--names"], "C"),
    ],
)
def test_names_of_files_decide_between_labels_that_are_close(
    name: str, options: list[str], label: str, run: Run, tmp_path: Path
) -> None:
    model = write_classifier(tmp_path / "near", {"C": b"c", "D": b"d"}, sharp=1.0)
    (run.folder / name).write_text("x c")
    done = run("classify", "-m", model, name, *options, "--format", "json", "--min-score", "0.1")
    scores = done.json["files"][0]["scores"]
    assert done.json["files"][0]["label"] == label
    assert sum(scores.values()) == pytest.approx(1)
