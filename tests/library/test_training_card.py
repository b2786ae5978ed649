"""The card of the built-in model says what its reports say."""

from copy import deepcopy
from typing import Any

import pytest

from training import card
from training.baselines import LineCopier, NgramWriter

PARSED = {"cases": 400, "share": 0.9, "interval_95": [0.87, 0.93]}


def lines(share: float) -> dict[str, Any]:
    measured = {"cases": 400, "share": share, "interval_95": [share - 0.02, share + 0.02]}
    shown = {"line": "total = a | b", "written": ""}
    way = {**measured, "examples": [shown]}
    return {
        **{asked: deepcopy(way) for asked in ("complete", "psm", "spm")},
        "spm_minus_psm": {"mean": 0.0, "interval_95": [-0.02, 0.02]},
    }


def measured(share: float) -> dict[str, Any]:
    """A report with every measure."""
    example = {"end_of_prompt": "import os\n\n\ndef main():\n", "completion": "    run()\n"}
    bits = {"files": 2, "bytes": 900, "bits_per_byte": 0.9, "interval_95": [0.85, 0.95]}
    return {
        "bits_per_byte": {"attrs": bits, "rich": bits | {"bits_per_byte": 0.8}, "all": bits},
        "late_positions": {
            "files": 60,
            "nats_a_token_at_512_to_1023": 2.3,
            "nats_a_token_at_1024_to_1535": 2.2,
            "change": -0.1,
            "change_interval_95": [-0.13, -0.07],
        },
        "completions": {
            **PARSED,
            "of_those_that_ran_to_their_end": dict(PARSED),
            "cut_by_the_loop_guard": PARSED | {"share": 0.5},
            "examples": [example],
        },
        "whole_lines": lines(share),
        "rests_of_lines": lines(share),
    }


@pytest.fixture
def report() -> dict[str, Any]:
    """The model's measures, with those of the baselines."""
    baselines = {name: measured(0.1) for name in (NgramWriter.name, LineCopier.name)}
    for one in baselines.values():
        for name in ("whole_lines", "rests_of_lines"):
            one[name] = {"complete": one[name]["complete"]}
    return measured(0.3) | {"baselines": baselines}


def run(earlier: list[dict[str, Any]]) -> dict[str, Any]:
    """The report of a run that read a million tokens on two machines after the earlier ones."""
    return {
        "tokens": sum(part["tokens"] for part in earlier) + 1_000_000,
        "parameters": 14_629_376,
        "machines": {
            "one": {"tokens": 400_000, "hours": 0.25},
            "another": {"tokens": 600_000, "hours": 0.5},
        },
        "options": {"seed": 11},
        "corpus_sha256": "a" * 64,
        "tokenizer_sha256": "b" * 64,
        "torch": "2.13.0",
    }


def test_every_measure_is_beside_the_baselines(report: dict[str, Any]) -> None:
    rows = card.measures(report).splitlines()
    assert rows[0] == "| bits per byte | 0.900 (0.850 to 0.950) | 0.900 (0.850 to 0.950) |  |"
    assert rows[1].startswith("| 100-token completions cut by the loop guard | 50.0 % (87.0 to")
    asked = "30.0 % (28.0 to 32.0), 400 cases"
    other = "10.0 % (8.0 to 12.0), 400 cases"
    assert f"| whole line, exact: `complete` | {asked} | {other} | {other} |" in rows
    assert f"| rest of a line, exact: `infill`, SPM | {asked} |  |  |" in rows
    assert card.package_rows(report).splitlines()[1] == "| rich | 2 | 0.800 (0.850 to 0.950) |"


def test_samples_are_shown_as_they_came(report: dict[str, Any]) -> None:
    shown = card.samples(report)
    assert "    def main():\n    <|>    run()\n" in shown
    assert "| whole line | `` total = a \\| b `` | (nothing) |" in shown


def test_a_goal_is_met_or_missed_by_so_much(report: dict[str, Any]) -> None:
    report["bits_per_byte"]["all"]["bits_per_byte"] = 0.80
    report["completions"]["cut_by_the_loop_guard"]["share"] = 0.131
    report["completions"]["of_those_that_ran_to_their_end"]["share"] = 0.871
    report["rests_of_lines"]["complete"]["share"] = 0.36
    report["rests_of_lines"]["psm"]["share"] = 0.30
    report["rests_of_lines"]["spm"]["share"] = 0.42
    report["whole_lines"]["psm"]["share"] = 0.05
    report["whole_lines"]["spm"]["share"] = 0.01
    report["whole_lines"]["spm_minus_psm"]["interval_95"] = [-0.06, -0.01]
    report["late_positions"] |= {"change": -0.01, "change_interval_95": [-0.03, 0.01]}
    bits, looped, rest, infilled, line, parsed, alike, late = card.goals(report).splitlines()
    assert bits.endswith("| 0.800 | met |")
    assert looped.endswith("| 13.1 % | missed by 3 points |")
    assert rest.endswith("| 36.0 % | met |")
    assert infilled.endswith("| 42.0 % | met |")
    assert line.endswith("| 5.0 % | missed by 3 points |")
    assert parsed.endswith("| 87.1 % | missed by 3 points |")
    assert alike.endswith("| 5.0 % and 1.0 % | missed: they differ |")
    assert late.endswith("| -0.010 nats a token | met |")


def test_a_card_counts_the_tokens_and_hours_of_every_part(report: dict[str, Any]) -> None:
    earlier = [{"what": "before", "tokens": 9_000_000, "hours": 1.5, "processor": "two cores"}]
    last = run(earlier)
    text = card.card(report, last, card.lineage(earlier, last), "the command")
    assert "10,000,000 tokens of permissively licensed Python, 0.68 for each parameter" in text
    assert "in 2.2 hours on processors" in text
    assert "| before | 9,000,000 | 1.50 | two cores |" in text
    assert "| trunk, decayed | 600,000 | 0.50 | another |" in text


def test_tokens_that_no_part_accounts_for_are_refused() -> None:
    last = run([])
    with pytest.raises(SystemExit, match="7 \\+ 1000000 tokens are not the run's 1000000"):
        card.lineage([{"what": "x", "tokens": 7, "hours": 1.0, "processor": "y"}], last)
