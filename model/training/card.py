"""Writes the built-in model's card from the reports of training and evaluation; measures nothing.

Run as `python -m training.card DIR --run NAME` after `evaluate` has written DIR/evaluation.json and
`orders` DIR/orders.json. `--before NAME` names a run that the last one began with.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from training.baselines import LineCopier, NgramWriter
from training.paths import WORK
from training.shape import configuration

NGRAM_TOKENS = 48_500_000  # of the training split
BITS_GOAL, INFILL_GOAL, PARSE_GOAL = 0.95, 0.25, 0.90
ORDER = configuration().extra["infilling"]["order"]  # what `infill` reads this model's gaps in
_NONE = "no probabilities"


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


def measures(report: dict[str, Any]) -> str:
    """The table beside the two baselines."""
    ngrams, copier = (report["baselines"][name] for name in (NgramWriter.name, LineCopier.name))
    whole = "of_those_with_a_whole_line"
    parsed = [one["completions_that_parse"] for one in (report, ngrams, copier)]
    rows = [
        [
            "bits per byte of Python",
            *(bits(one["bits_per_byte"]["all"]) for one in (report, ngrams)),
            _NONE,
        ],
        ["100-token completions that parse", *map(share, parsed)],
        ["... of those that finish a line", *(share(one[whole]) for one in parsed)],
        ["... without healing the prompt's last token", share(report["without_healing"]), "", ""],
        [
            "single lines filled in exactly, PSM order",
            *(share(one) for one in (report["infills_psm"], ngrams["infills"], copier["infills"])),
        ],
        ["... in SPM order", share(report["infills_spm"]), "", ""],
        [
            "... without the text behind the gap",
            share(report["infills_without_the_suffix"]),
            "",
            "",
        ],
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def packages(report: dict[str, Any]) -> dict[str, Any]:
    """Bits per byte by package, without the sum of all."""
    return {name: one for name, one in report["bits_per_byte"].items() if name != "all"}


def package_rows(report: dict[str, Any]) -> str:
    """The table of packages."""
    return "".join(
        f"| {name} | {one['files']} | {bits(one)} |\n" for name, one in packages(report).items()
    )


def apart(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two intervals do not meet."""
    (low, high), (other_low, other_high) = first["interval_95"], second["interval_95"]
    return bool(low > other_high or other_low > high)


def goals(report: dict[str, Any], orders: dict[str, Any]) -> str:
    """The table of goals, and by how much they are missed."""
    reached = report["bits_per_byte"]["all"]["bits_per_byte"]
    parsed = report["completions_that_parse"]["share"]
    psm, spm, filled = (report[f"infills_{order}"] for order in ("psm", "spm", ORDER))
    first, other_first = (orders[order]["first_word"] for order in ("psm", "spm"))
    differ = apart(psm, spm) or apart(first, other_first)
    late = report["late_positions"]
    worse = late["change_interval_95"][0] > 0
    rows = [
        [
            f"at most {BITS_GOAL} bits per byte",
            f"{reached:.3f}",
            verdict(BITS_GOAL - reached, f"{reached - BITS_GOAL:.2f}"),
        ],
        [
            f"at least {100 * INFILL_GOAL:.0f} % of single lines filled in exactly",
            f"{100 * filled['share']:.1f} %",
            verdict(filled["share"] - INFILL_GOAL, points(INFILL_GOAL - filled["share"])),
        ],
        [
            f"at least {100 * PARSE_GOAL:.0f} % of completions parse",
            f"{100 * parsed:.1f} %",
            verdict(parsed - PARSE_GOAL, points(PARSE_GOAL - parsed)),
        ],
        [
            "PSM and SPM equally good",
            f"{both(psm, spm, 1)} of whole lines, {both(first, other_first, 0)} of first words",
            "missed: intervals do not meet" if differ else "no difference can be seen",
        ],
        [
            "no drop after position 1024",
            f"{late['change']:+.3f} nats a token",
            "missed: it gets worse" if worse else "met",
        ],
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def both(psm: dict[str, Any], spm: dict[str, Any], digits: int) -> str:
    """Two shares in per cent."""
    return f"{100 * psm['share']:.{digits}f} % and {100 * spm['share']:.{digits}f} %"


def points(difference: float) -> str:
    """A difference of shares in points."""
    return f"{100 * difference:.0f} points"


def verdict(margin: float, missed: str) -> str:
    """Met, or missed by so much."""
    return "met" if margin >= 0 else f"missed by {missed}"


def change(late: dict[str, Any]) -> str:
    """What later positions cost, with the interval."""
    low, high = late["change_interval_95"]
    return f"{late['change']:+.3f} ({low:+.3f} to {high:+.3f})"


def card(
    report: dict[str, Any], orders: dict[str, Any], runs: list[dict[str, Any]], command: str
) -> str:
    """The whole card; the last run is the one whose weights these are."""
    last, late, everything = runs[-1], report["late_positions"], report["bits_per_byte"]["all"]
    tokens, parameters = int(last["tokens"]), int(last["parameters"])
    template = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    return template.format(
        parameters=f"{parameters:,}",
        tokens=f"{tokens:,}",
        minutes=f"{sum(run['minutes'] for run in runs):.0f}",
        packages=", ".join(packages(report)),
        command=command,
        ngram_times=f"{NGRAM_TOKENS / tokens:.1f}",
        measures=measures(report),
        empty_healed=report["completions_that_parse"]["empty"],
        empty_plain=report["without_healing"]["empty"],
        empty_psm=report["infills_psm"]["empty"],
        empty_spm=report["infills_spm"]["empty"],
        package_rows=package_rows(report),
        bytes=f"{everything['bytes']:,}",
        files=everything["files"],
        early=f"{late['nats_a_token_at_512_to_1023']:.3f}",
        late=f"{late['nats_a_token_at_1024_to_1535']:.3f}",
        change=change(late),
        late_files=late["files"],
        goals=goals(report, orders),
        gaps=orders["gaps"],
        order=ORDER.upper(),
        similarity=" and ".join(
            f"{orders[order]['edit_similarity']['mean']:.2f}" for order in ("psm", "spm")
        ),
        millions=f"{tokens / 1e6:.1f}",
        a_parameter=f"{tokens / parameters:.2f}",
        corpus=last["corpus_sha256"][:16],
        tokenizer=last["tokenizer_sha256"][:16],
        seed=last["options"]["seed"],
        torch=last["torch"],
    )


def main() -> None:
    """Reads the reports, writes the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--run", required=True)
    parser.add_argument("--before", action="append", default=[], help="runs that it began with")
    options = parser.parse_args()
    paths = [WORK / "runs" / name / "report.json" for name in (*options.before, options.run)]
    paths += [options.directory / name for name in ("evaluation.json", "orders.json")]
    *runs, report, orders = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
    cases, gaps = (report[name]["cases"] for name in ("completions_that_parse", "infills_psm"))
    command = f"python -m training.evaluate --cases {cases} --gaps {gaps}"
    text = card(report, orders, runs, command)
    (options.directory / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
