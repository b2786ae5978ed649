"""The card of the built-in model says what its reports say."""

import json
from pathlib import Path
from typing import Any

import pytest

from training import card

MODEL = Path(__file__).parents[2] / "model" / "pocket_coder"


@pytest.fixture
def report() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((MODEL / "evaluation.json").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture
def orders() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((MODEL / "orders.json").read_text(encoding="utf-8"))
    return loaded


def test_the_tables_of_the_shipped_card_are_those_of_the_shipped_reports(
    report: dict[str, Any], orders: dict[str, Any]
) -> None:
    shipped = (MODEL / "README.md").read_text(encoding="utf-8")
    for part in (card.measures(report), card.package_rows(report), card.goals(report, orders)):
        assert part in shipped
    assert card.change(report["late_positions"]) in shipped


def test_a_goal_is_met_or_missed_by_so_much(report: dict[str, Any], orders: dict[str, Any]) -> None:
    report["bits_per_byte"]["all"]["bits_per_byte"] = 0.95
    report["completions_that_parse"]["share"] = 0.871
    report["infills_psm"] |= {"share": 0.12, "interval_95": [0.08, 0.17]}
    report["infills_spm"] |= {"share": 0.26, "interval_95": [0.16, 0.31]}
    for order, share in (("psm", 0.3), ("spm", 0.4)):
        orders[order]["first_word"] |= {"share": share, "interval_95": [share - 0.1, share + 0.1]}
    report["late_positions"] |= {"change": -0.01, "change_interval_95": [-0.03, 0.01]}
    bits, infills, parsed, alike, late = card.goals(report, orders).splitlines()
    assert bits.endswith("| 0.950 | met |")
    assert infills.endswith("| 26.0 % | met |")
    assert parsed.endswith("| 87.1 % | missed by 3 points |")
    reached = "| 12.0 % and 26.0 % of whole lines, 30 % and 40 % of first words |"
    assert alike.endswith(f"{reached} no difference can be seen |")
    assert late.endswith("| -0.010 nats a token | met |")


@pytest.mark.parametrize("differs", ["whole lines", "first words"])
def test_orders_that_differ_miss_their_goal(
    report: dict[str, Any], orders: dict[str, Any], differs: str
) -> None:
    if differs == "whole lines":
        first, second = report["infills_psm"], report["infills_spm"]
    else:
        first, second = (orders[order]["first_word"] for order in ("psm", "spm"))
    first |= {"share": 0.26, "interval_95": [0.21, 0.31]}
    second |= {"share": 0.12, "interval_95": [0.08, 0.17]}
    assert card.goals(report, orders).splitlines()[3].endswith("| missed: intervals do not meet |")


def test_a_card_counts_the_minutes_of_all_runs_and_the_tokens_of_the_last(
    report: dict[str, Any], orders: dict[str, Any]
) -> None:
    run = {
        "tokens": 5_000_000,
        "parameters": 14_629_376,
        "minutes": 98.2,
        "options": {"seed": 11},
        "corpus_sha256": "a" * 64,
        "tokenizer_sha256": "b" * 64,
        "torch": "2.13.0",
    }
    runs = [run, run | {"tokens": 9_700_000, "minutes": 110.0}]
    text = card.card(report, orders, runs, "the command")
    assert "9,700,000 tokens of permissively licensed Python, in 208 minutes" in text
    assert "5.0 times what this model read" in text
    assert "read 9.7 million tokens, 0.66 for each of its parameters" in text
