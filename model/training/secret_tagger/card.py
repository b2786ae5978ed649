"""Writes the model card from the reports of the evaluation and of the training; measures nothing.

Run as `python -m training.secret_tagger.card DIR --run NAME` after `evaluate` has written
DIR/evaluation.json. `--before NAME` names the run that the last one began with.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from training.secret_tagger.planting import LABELS
from training.secret_tagger.shape import POSITIONS
from training.secret_tagger.sources import HOME

F1_GOAL, FALSE_GOAL = 0.90, 1.0
_PROGRAMS = ("pocket_secrets", "detect-secrets")


def rows(planted: dict[str, Any]) -> str:
    """The table of labels."""
    text = ""
    for name in (*LABELS, "all"):
        row = planted[name]
        values = " | ".join(f"{row['exact'][field]:.3f}" for field in ("precision", "recall", "f1"))
        low, high = row["exact"]["interval"]
        title = name if name == "all" else f"`{name}`"
        text += f"| {title} | {row['known']} | {values} | {row['overlap']['f1']:.3f}"
        text += f" | {low:.3f} to {high:.3f} |\n"
    return text


def clean(report: dict[str, Any]) -> str:
    """What was found in real files."""
    by_label = report["spans_by_label"]
    kinds = ", ".join(f"{name} {by_label[name]}" for name in LABELS if by_label[name]) or "none"
    low, high = report["outside_interval"]
    return (
        f"{report['spans']} spans in {report['lines']:,} lines ({kinds}). Without the lines that a"
        " rule takes for credits,\n  addresses or assigned secrets, where a span may well be right:"
        f" {report['spans_outside_doubtful_lines']}, or"
        f" {report['outside_per_1000_lines']:.2f} per 1,000 lines ({low:.2f} to {high:.2f})."
    )


def verdict(report: dict[str, Any]) -> str:
    """Which goals are met, and by how much the others are missed."""
    exact = report["planted"]["all"]["exact"]
    met = exact["f1"] >= F1_GOAL
    far = "is met" if met else f"is missed by {F1_GOAL - exact['f1']:.3f}"
    text = f"**The goal of an exact span F1 of {F1_GOAL:.2f} {far}: {exact['f1']:.3f}.** At most"
    text += f" {FALSE_GOAL:.0f} false span in 1,000 clean lines:"
    for kind, name in (("clean_python", "Python"), ("clean_other", "other formats")):
        rate = report[kind]["outside_per_1000_lines"]
        said = "met" if rate <= FALSE_GOAL else "missed"
        text += f" {said} for {name} ({rate:.2f})" + ("," if name == "Python" else ".")
    return text


def card(report: dict[str, Any], runs: list[dict[str, Any]]) -> str:
    """The whole card; the last run is the one whose weights these are."""
    last, lines = runs[-1], report["by_line"]
    ours, theirs = (lines[program]["recall"] for program in _PROGRAMS)
    false = [lines[program]["lines_flagged_without_a_finding"] for program in _PROGRAMS]
    delay = last["options"]["delay"]
    keys = report["keys_by_shape"]
    return (
        Path(__file__)
        .with_name("card.md")
        .read_text(encoding="utf-8")
        .format(
            parameters=f"{last['parameters']:,}",
            delay=delay,
            window=POSITIONS - delay,
            tokens=f"{sum(run['tokens'] for run in runs):,}",
            minutes=f"{sum(run['minutes'] for run in runs):.0f}",
            runs=len(runs),
            verdict=verdict(report),
            every=report["every"],
            files=report["planted"]["files"],
            rows=rows(report["planted"]),
            python_f1=f"{report['planted_python']['all']['exact']['f1']:.3f}",
            python_known=report["planted_python"]["all"]["known"],
            seen=keys["seen"],
            unseen=keys["unseen"],
            clean_python=clean(report["clean_python"]),
            clean_other=clean(report["clean_other"]),
            lines="".join(
                f"| `{name}` | {ours[name]:.3f} | {theirs[name]:.3f} |\n" for name in LABELS
            ),
            false_lines=", ".join(
                f"{false[0][kind]} against {false[1][kind]} in {kind}" for kind in false[0]
            ),
            stream=last["stream_sha256"][:16],
            tokenizer=last["tokenizer_sha256"][:16],
            seed=last["options"]["seed"],
            torch=last["torch"],
        )
    )


def main() -> None:
    """Reads the reports, writes the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--run", required=True)
    parser.add_argument("--before", action="append", default=[], help="runs that it began with")
    options = parser.parse_args()
    paths = [HOME / "runs" / name / "report.json" for name in (*options.before, options.run)]
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    report = json.loads((options.directory / "evaluation.json").read_text(encoding="utf-8"))
    (options.directory / "README.md").write_text(card(report, runs), encoding="utf-8")


if __name__ == "__main__":
    main()
