"""Writes the model card from the reports of corpus, training and evaluation; measures nothing.

Run as `python -m training.languages.card DIR --run NAME` after `evaluate` has written
DIR/evaluation.json. `--before NAME` names a run that the last one began with.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from gpt_bigcode.labeling.languages import LANGUAGES
from training.languages.sources import HOME, read_manifest

GOALS = {"files": 0.97, "snippets_of_3_lines": 0.90}
KINDS = {
    "files": "whole files (of at most 20,000 characters)",
    "snippets_of_10_lines": "snippets of 10 lines",
    "snippets_of_3_lines": "snippets of 3 lines",
}
NAMES = tuple(language.name for language in LANGUAGES)
_WORST, _CONFUSIONS, _THINNEST = 5, 8, 6


def share(measured: dict[str, Any]) -> str:
    """In per cent with its interval."""
    low, high = (100 * value for value in measured["interval_95"])
    return f"{100 * measured['share']:.1f} % ({low:.1f} to {high:.1f})"


def kinds(report: dict[str, Any]) -> str:
    """The table of files and snippets, beside magika; each also without its rule of certainty."""
    text = ""
    for name, title in KINDS.items():
        ours = report[name]
        peer, guess = ours["magika"], ours["magika_best_guess"]
        text += f"| {title}, {ours['cases']:,} cases | {share(ours)}"
        text += f" | {100 * ours['mean_of_languages']:.1f} %"
        text += f" | {100 * ours['best_guess']['share']:.1f} % | {share(peer)}"
        text += f" | {100 * peer['mean_of_languages']:.1f} % | {100 * guess['share']:.1f} % |\n"
    return text


def beside_the_version_before(report: dict[str, Any]) -> str:
    """Both versions on the languages that the version before knows."""
    parts = [
        f"{title.partition(' (')[0]} {share(before['ours'])}, the version before {share(before)}"
        f" of {before['cases']:,}"
        for before, title in ((report["older"][name], title) for name, title in KINDS.items())
    ]
    return (
        f"Only the {report['older']['labels']} languages of the version before: {'; '.join(parts)}."
    )


def verdict(report: dict[str, Any]) -> str:
    """Which goals are met, and by how much the others are missed."""
    parts = []
    for name, goal in GOALS.items():
        missed = 100 * (goal - report[name]["share"])
        said = "met" if missed <= 0 else f"{missed:.1f} points short"
        parts.append(f"{100 * goal:.0f} % of {KINDS[name].partition(' (')[0]} ({said})")
    return "The goals: " + ", ".join(parts) + "."


def certain(report: dict[str, Any]) -> str:
    """What scores mean, and what languages become that were never trained on."""
    told = report["certainty"]
    text = (
        f"Scores: their expected calibration error is {told['calibration_error']:.3f} on all of"
        f" {told['cases']:,} cases; a label below {told['threshold']:g} is `unknown`. Of texts in"
        f" {len(told['foreign_files']['languages'])} languages that were never trained on,"
        " `unknown` are:"
    )
    parts = [
        f"{title.partition(' (')[0]} {share(told[f'foreign_{name}'])}"
        f" of {told[f'foreign_{name}']['cases']}, mean of languages"
        f" {100 * told[f'foreign_{name}']['mean_of_languages']:.1f} %"
        for name, title in KINDS.items()
    ]
    named = confusions(told["foreign_files"])
    shared = [
        f"{title.partition(' (')[0]} {share(report[name]['labels_of_magika']['ours'])}, magika"
        f" {share(report[name]['labels_of_magika']['magika'])}"
        for name, title in KINDS.items()
    ]
    both = "Only languages for which magika has a label: " + "; ".join(shared)
    missed = f"What whole files in such languages are taken for most often: {named}."
    return f"{text} {'; '.join(parts)}.\n{missed}\n\n{both}.\n"


def languages(report: dict[str, Any]) -> str:
    """The table of languages."""
    text = ""
    for name in sorted(report["files"]["languages"], key=str.lower):
        cells = [name]
        for kind in GOALS:
            ours = report[kind]["languages"].get(name)
            peer = report[kind]["magika"]["languages"].get(name)
            low, high = ours["interval_95"] if ours else (0.0, 0.0)
            cells += (
                [
                    str(ours["cases"]),
                    f"{100 * ours['share']:.0f} ({100 * low:.0f}-{100 * high:.0f})",
                    f"{100 * peer['share']:.0f}" if peer else "-",
                ]
                if ours
                else ["-", "-", "-"]
            )
        text += "| " + " | ".join(cells) + " |\n"
    return text


def confusions(measured: dict[str, Any]) -> str:
    """What is taken for what most often."""
    found = measured["confusions"][:_CONFUSIONS]
    return ", ".join(f"{item['is']} taken for {item['said']} ({item['cases']})" for item in found)


def worst(measured: dict[str, Any]) -> str:
    """The languages with the lowest accuracy."""
    by_language = measured["languages"]
    names = sorted(by_language, key=lambda name: by_language[name]["share"])[:_WORST]
    return ", ".join(
        f"{name} ({100 * by_language[name]['share']:.0f} % of {by_language[name]['cases']})"
        for name in names
    )


def thinnest(corpus: dict[str, Any]) -> str:
    """The languages with the fewest held-out files."""
    held = corpus["splits"]["test"]["languages"]
    files = {name: held.get(name, {"files": 0})["files"] for name in NAMES}
    names = sorted(files, key=lambda name: files[name])[:_THINNEST]
    return ", ".join(f"{name} ({files[name]})" for name in names)


def card(
    report: dict[str, Any], runs: list[dict[str, Any]], corpus: dict[str, Any], parameters: int
) -> str:
    """The whole card; the last run is the one whose weights these are."""
    last = runs[-1]
    wrong = {name: f"{1 / max(1 - report[name]['share'], 1e-9):.0f}" for name in GOALS}
    return (
        Path(__file__)
        .with_name("card.md")
        .read_text(encoding="utf-8")
        .format(
            labels=", ".join(sorted(NAMES, key=str.lower)),
            count=len(NAMES),
            parameters=f"{parameters:,}",
            tokens=", then ".join(f"{run['tokens']:,}" for run in runs),
            verdict=verdict(report),
            kinds=kinds(report),
            certain=certain(report),
            before=beside_the_version_before(report),
            languages=languages(report),
            confused_files=confusions(report["files"]),
            confused_snippets=confusions(report["snippets_of_3_lines"]),
            wrong_files=wrong["files"],
            wrong_snippets=wrong["snippets_of_3_lines"],
            worst_files=worst(report["files"]),
            worst_snippets=worst(report["snippets_of_3_lines"]),
            thinnest=thinnest(corpus),
            packages=len(read_manifest()),
            corpus=corpus["splits"]["train"]["sha256"][:16],
            tokenizer=last["tokenizer_sha256"][:16],
            seeds=" and ".join(str(run["options"]["seed"]) for run in runs),
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
    paths += [options.directory / "evaluation.json", HOME / "report.json"]
    *runs, report, corpus = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
    parameters = int(runs[-1]["parameters"])
    text = card(report, runs, corpus, parameters)
    (options.directory / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
