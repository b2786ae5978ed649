"""The language classifier's card says what its reports say."""

import json
from pathlib import Path
from typing import Any

import pytest

from training.languages import card

MODEL = Path(__file__).parents[2] / "model" / "pocket_languages"


@pytest.fixture
def report() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((MODEL / "evaluation.json").read_text(encoding="utf-8"))
    return loaded


def test_the_tables_of_the_shipped_card_are_those_of_the_shipped_report(
    report: dict[str, Any],
) -> None:
    shipped = (MODEL / "README.md").read_text(encoding="utf-8")
    for part in (card.kinds(report), card.languages(report), card.verdict(report)):
        assert part in shipped
    assert card.worst(report["files"]) in shipped
    assert card.confusions(report["snippets_of_3_lines"]) in shipped


def test_a_goal_is_met_or_missed_by_so_much(report: dict[str, Any]) -> None:
    report["files"]["share"], report["snippets_of_3_lines"]["share"] = 0.97, 0.875
    said = "The goals: 97 % of whole files (met), 90 % of snippets of 3 lines (2.5 points short)."
    assert card.verdict(report) == said


def test_a_language_without_snippets_has_empty_cells(report: dict[str, Any]) -> None:
    del report["snippets_of_3_lines"]["languages"]["TOML"]
    (row,) = [row for row in card.languages(report).splitlines() if row.startswith("| TOML |")]
    assert row.endswith("| - | - | - |")
    assert row.count("|") == 8


def with_certainty(report: dict[str, Any]) -> dict[str, Any]:
    """The parts of a report that the shipped one, which is older, does not have."""
    part: dict[str, Any] = {"cases": 50, "share": 0.84, "interval_95": [0.71, 0.92]}
    part |= {"mean_of_languages": 0.8, "languages": {"Pug": part}}
    part["confusions"] = [{"is": "Pug", "said": "YAML", "cases": 3}]
    for name in card.KINDS:
        report[name]["labels_of_magika"] = {"ours": part, "magika": part | {"share": 0.8}}
        report["older"][name] = part | {"ours": part | {"share": 0.9}}
        report[name]["best_guess"] = part
    report["older"]["labels"] = 37
    foreign = {f"foreign_{name}": part for name in card.KINDS}
    return report | {
        "certainty": {"cases": 4000, "calibration_error": 0.021, "threshold": 0.62, **foreign}
    }


def test_the_card_says_what_scores_mean(report: dict[str, Any]) -> None:
    text = card.certain(with_certainty(report))
    assert "calibration error is 0.021 on all of 4,000 cases; a label below 0.62" in text
    assert "in 1 languages that were never trained on" in text
    assert "whole files 84.0 % (71.0 to 92.0) of 50, mean of languages 80.0 %" in text
    assert "Pug taken for YAML (3)." in text
    assert "snippets of 3 lines 84.0 % (71.0 to 92.0), magika 80.0 %" in text


def test_the_version_before_is_compared_on_its_own_languages(report: dict[str, Any]) -> None:
    text = card.beside_the_version_before(with_certainty(report))
    assert text.startswith("Only the 37 languages of the version before: whole files 90.0 % (71.0")
    assert "snippets of 3 lines 90.0 % (71.0 to 92.0), the version before 84.0 %" in text


def test_a_card_names_the_runs_it_was_trained_in(report: dict[str, Any]) -> None:
    report = with_certainty(report)
    run = {
        "tokens": 1_234_567,
        "options": {"seed": 5},
        "tokenizer_sha256": "b" * 64,
        "torch": "2.13.0",
    }
    held_out = {name: {"files": 90} for name in card.NAMES} | {"INI": {"files": 9}}
    held_out["C"] = {"files": 83}
    corpus = {"splits": {"test": {"languages": held_out}, "train": {"sha256": "a" * 64}}}
    text = card.card(report, [run, run], corpus, 4321)
    assert "1,234,567, then 1,234,567 tokens" in text
    assert "| parameters | 4,321, bfloat16 |" in text
    assert "INI (9), C (83), " in text
