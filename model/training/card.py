"""Writes the built-in model's card from the reports of training and evaluation; measures nothing.

Run as `python -m training.card DIR --run NAME` after `evaluate` has written DIR/evaluation.json.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

from training.baselines import LineCopier, NgramWriter
from training.paths import WORK

LINEAGE = Path(__file__).with_name("lineage.toml")
BITS_GOAL, LOOP_GOAL, PARSE_GOAL = 0.80, 0.10, 0.90
REST_GOAL, INFILLED_REST_GOAL, LINE_GOAL = 0.35, 0.40, 0.08
_WAYS = {"complete": "`complete`", "psm": "`infill`, PSM", "spm": "`infill`, SPM"}
_SETS = {"rests_of_lines": "rest of a line, exact", "whole_lines": "whole line, exact"}
_RAN = "of_those_that_ran_to_their_end"
_GUARD = "cut_by_the_loop_guard"


def share(measured: dict[str, Any] | None) -> str:
    """In per cent with its interval and cases; nothing for what was not measured."""
    if measured is None:
        return ""
    low, high = (100 * value for value in measured["interval_95"])
    return f"{100 * measured['share']:.1f} % ({low:.1f} to {high:.1f}), {measured['cases']} cases"


def bits(measured: dict[str, Any]) -> str:
    """Bits per byte with the interval."""
    low, high = measured["interval_95"]
    return f"{measured['bits_per_byte']:.3f} ({low:.3f} to {high:.3f})"


def table(rows: list[list[str]]) -> str:
    """Lines of a table."""
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def measures(report: dict[str, Any]) -> str:
    """The table beside the two baselines."""
    ngrams, copier = (report["baselines"][name] for name in (NgramWriter.name, LineCopier.name))
    written = [one["completions"] for one in (report, ngrams, copier)]
    ours = written[0]
    rows = [
        ["bits per byte", *(bits(one["bits_per_byte"]["all"]) for one in (report, ngrams)), ""],
        ["100-token completions cut by the loop guard", share(ours[_GUARD]), "", ""],
        ["... of the others: parse", *(share(one[_RAN]) for one in written)],
    ]
    for name, text in _SETS.items():
        for way, asked in _WAYS.items():
            others = [share(one[name].get(way)) for one in (ngrams, copier)]
            rows.append([f"{text}: {asked}", share(report[name][way]), *others])
    return table(rows)


def packages(report: dict[str, Any]) -> dict[str, Any]:
    """Bits per byte by package, without the sum of all."""
    return {name: one for name, one in report["bits_per_byte"].items() if name != "all"}


def package_rows(report: dict[str, Any]) -> str:
    """The table of packages."""
    rows = packages(report).items()
    return table([[name, str(one["files"]), bits(one)] for name, one in rows])


def goals(report: dict[str, Any]) -> str:
    """The table of goals, and by how much they are missed."""
    reached = report["bits_per_byte"]["all"]["bits_per_byte"]
    looped = report["completions"][_GUARD]["share"]
    parsed = report["completions"][_RAN]["share"]
    rests, whole = report["rests_of_lines"], report["whole_lines"]
    low, high = whole["spm_minus_psm"]["interval_95"]
    late = report["late_positions"]
    alike = "no difference can be seen" if low <= 0 <= high else "missed: they differ"
    later = "missed: it gets worse" if late["change_interval_95"][0] > 0 else "met"
    missed = verdict(BITS_GOAL - reached, f"{reached - BITS_GOAL:.2f}")
    limit = f"at most {100 * LOOP_GOAL:.0f} % end by the loop guard"
    rows = [
        [f"at most {BITS_GOAL:.2f} bits per byte", f"{reached:.3f}", missed],
        shares(limit, looped, LOOP_GOAL - looped),
        *(
            shares(f"{text}: at least {100 * wanted:.0f} %", found, found - wanted)
            for text, wanted, found in (
                ("rest of a line by `complete`", REST_GOAL, rests["complete"]["share"]),
                ("rest of a line by `infill`", INFILLED_REST_GOAL, best(rests)),
                ("whole line by `infill`", LINE_GOAL, best(whole)),
                ("parse, of those that ran to their end", PARSE_GOAL, parsed),
            )
        ),
        ["PSM and SPM alike on whole lines", both(whole), alike],
        ["no drop after position 1024", f"{late['change']:+.3f} nats a token", later],
    ]
    return table(rows)


def shares(text: str, reached: float, margin: float) -> list[str]:
    """A goal that is a share."""
    return [text, f"{100 * reached:.1f} %", verdict(margin, f"{-100 * margin:.0f} points")]


def best(lines: dict[str, Any]) -> float:
    """The share of the better order of infilling."""
    return float(max(lines["psm"]["share"], lines["spm"]["share"]))


def both(lines: dict[str, Any]) -> str:
    """Both orders in per cent."""
    return " and ".join(f"{100 * lines[order]['share']:.1f} %" for order in ("psm", "spm"))


def verdict(margin: float, missed: str) -> str:
    """Met, or missed by so much."""
    return "met" if margin >= 0 else f"missed by {missed}"


def change(late: dict[str, Any]) -> str:
    """What later positions cost, with the interval."""
    low, high = late["change_interval_95"]
    return f"{late['change']:+.3f} ({low:+.3f} to {high:+.3f})"


def samples(report: dict[str, Any]) -> str:
    """The first cases, as they came."""
    rows = [
        [text, code(example["line"]), code(example["written"])]
        for name, text in (("rests_of_lines", "rest of a line"), ("whole_lines", "whole line"))
        for example in report[name]["spm"]["examples"]
    ]
    shown = report["completions"]["examples"][0]
    prompt = "\n".join(shown["end_of_prompt"].split("\n")[-4:])
    lines = f"{prompt}<|>{shown['completion']}".split("\n")
    indented = "\n".join(f"    {line}".rstrip() for line in lines)
    header = "| gap | what was there | what was written |\n|---|---|---|\n"
    return f"`complete`, from <|> on:\n\n{indented}\n\n`infill`, SPM:\n\n{header}{table(rows)}\n"


def code(text: str) -> str:
    """A line as code in a table."""
    return f"`` {text.replace('|', chr(92) + '|')} ``" if text else "(nothing)"


def lineage(earlier: list[dict[str, Any]], last: dict[str, Any]) -> list[dict[str, Any]]:
    """Every part of the training: those before the last report, and its machines."""
    counted = sum(machine["tokens"] for machine in last["machines"].values())
    before = sum(part["tokens"] for part in earlier)
    if before + counted != last["tokens"]:
        raise SystemExit(f"card: {before} + {counted} tokens are not the run's {last['tokens']}")
    here = [
        {"what": "trunk, decayed", "processor": name, **machine}
        for name, machine in last["machines"].items()
    ]
    return [*earlier, *here]


def card(
    report: dict[str, Any], last: dict[str, Any], parts: list[dict[str, Any]], command: str
) -> str:
    """The whole card.

    Args:
        report: of the evaluation.
        last: report of the run whose weights these are.
        parts: all parts of the training, as `lineage` lists them.
        command: that measured.
    """
    late, everything = report["late_positions"], report["bits_per_byte"]["all"]
    tokens, parameters = int(last["tokens"]), int(last["parameters"])
    template = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    return template.format(
        parameters=f"{parameters:,}",
        tokens=f"{tokens:,}",
        hours=f"{sum(part['hours'] for part in parts):.1f}",
        packages=", ".join(packages(report)),
        command=command,
        measures=measures(report),
        package_rows=package_rows(report),
        bytes=f"{everything['bytes']:,}",
        files=everything["files"],
        early=f"{late['nats_a_token_at_512_to_1023']:.3f}",
        late=f"{late['nats_a_token_at_1024_to_1535']:.3f}",
        change=change(late),
        late_files=late["files"],
        goals=goals(report),
        samples=samples(report),
        millions=f"{tokens / 1e6:.1f}",
        a_parameter=f"{tokens / parameters:.2f}",
        lineage=table(
            [
                [part["what"], f"{part['tokens']:,}", f"{part['hours']:.2f}", part["processor"]]
                for part in parts
            ]
        ),
        corpus=last["corpus_sha256"][:16],
        tokenizer=last["tokenizer_sha256"][:16],
        seed=last["options"]["seed"],
        torch=last["torch"],
    )


def main() -> None:
    """Read the reports, write the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--run", required=True)
    options = parser.parse_args()
    paths = [WORK / "runs" / options.run / "report.json", options.directory / "evaluation.json"]
    last, report = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
    earlier = tomllib.loads(LINEAGE.read_text(encoding="utf-8"))["run"]
    cases, lines = report["completions"]["cases"], report["whole_lines"]["complete"]["cases"]
    command = f"python -m training.evaluate --cases {cases} --gaps {lines}"
    text = card(report, last, lineage(earlier, last), command)
    (options.directory / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
