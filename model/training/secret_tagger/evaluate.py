"""Measures an exported tagger on the held-out cases, beside detect-secrets on the same files.

Run as `python -m training.secret_tagger.evaluate DIR`; prints a JSON
report. The library's own path is used, as in the tool.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_bigcode.labeling.text_tagger import TextTagger
from training.output import file_hash, note
from training.secret_tagger import cases
from training.secret_tagger.planting import LABELS, Finding
from training.secret_tagger.scoring import (
    Tally,
    f1_interval,
    ignorable,
    lines_of,
    overlaps,
    rate_interval,
    unseen_shapes,
)
from training.secret_tagger.sources import HOME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from training.secret_tagger.cases import Case

    Pair = tuple[Case, tuple[Finding, ...]]


def findings_of(tagger: TextTagger, text: str) -> tuple[Finding, ...]:
    """What the tool finds, in characters."""
    raw = text.encode()
    return tuple(
        Finding(len(raw[: span.start].decode()), len(raw[: span.end].decode()), span.label)
        for span in tagger.tag(text).spans
    )


def planted_report(chosen: Sequence[Pair]) -> dict[str, Any]:
    """Exact and overlapping spans of planted values; 95 % intervals over the files."""
    every, tallies = Tally(), [Tally() for _ in chosen]
    for tally, (case, found) in zip(tallies, chosen, strict=True):
        tally.add(case.planted, found)
        every.add(case.planted, found)
    report = every.report()
    for name, row in report.items():
        for kind in ("exact", "overlap"):
            labels = LABELS if name == "all" else (name,)
            row[kind]["interval"] = f1_interval(tallies, kind, labels)
    return {"files": len(chosen), **report}


def unseen_report(chosen: Sequence[Pair]) -> dict[str, Any]:
    """Recall of keys in the shapes of providers that were never trained on, and of the others."""
    pattern = unseen_shapes()
    counts: Counter[str] = Counter()
    for case, found in chosen:
        for finding in case.planted.findings:
            if finding.label != "KEY":
                continue
            text = case.planted.text[finding.start : finding.end]
            group = "unseen" if pattern.fullmatch(text) else "seen"
            counts[group] += 1
            counts[group + " exact"] += finding in found
            counts[group + " overlap"] += any(
                one.label == "KEY" and overlaps(one, finding) for one in found
            )
    return {
        group: {
            "keys": counts[group],
            "exact_recall": round(counts[group + " exact"] / max(1, counts[group]), 4),
            "overlap_recall": round(counts[group + " overlap"] / max(1, counts[group]), 4),
        }
        for group in ("seen", "unseen")
    }


def clean_report(chosen: Sequence[Pair]) -> dict[str, Any]:
    """Spans in real files as they are: all, and those on lines that should hold none."""
    lines = sum(case.planted.text.count("\n") for case, _ in chosen)
    every: Counter[str] = Counter()
    false: Counter[str] = Counter()
    for case, found in chosen:
        every.update(one.label for one in found)
        false.update(one.label for one in found if not ignorable(one, case.planted))
    return {
        "files": len(chosen),
        "lines": lines,
        "spans": sum(every.values()),
        "spans_by_label": {label: every[label] for label in LABELS},
        "spans_outside_doubtful_lines": sum(false.values()),
        "outside_by_label": {label: false[label] for label in LABELS},
        "per_1000_lines": round(1000 * sum(every.values()) / max(1, lines), 3),
        "outside_per_1000_lines": round(1000 * sum(false.values()) / max(1, lines), 3),
        "outside_interval": rate_interval(sum(false.values()), lines),
    }


def line_report(chosen: Sequence[Pair], flagged: Callable[[int], set[int]]) -> dict[str, Any]:
    """By lines, as scanners of lines report: recall by label; flagged lines without a finding."""
    known: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    wrong = {"planted files": 0, "clean files": 0}
    for place, (case, _) in enumerate(chosen):
        text, lines = case.planted.text, flagged(place)
        true = {line for finding in case.planted.findings for line in lines_of(finding, text)}
        doubtful = {text.count("\n", 0, low) + 1 for low, _ in case.planted.doubtful}
        kind = "clean files" if case.kind.startswith("clean") else "planted files"
        wrong[kind] += len(lines - true - doubtful)
        for finding in case.planted.findings:
            known[finding.label] += 1
            hit[finding.label] += bool(lines & lines_of(finding, text))
    return {
        "recall": {label: round(hit[label] / max(1, known[label]), 4) for label in LABELS},
        "lines_flagged_without_a_finding": wrong,
    }


def lines_by_detect_secrets(path: Path, every: int) -> Callable[[int], set[int]]:
    """What `training.secret_tagger.baseline` has written, by the place among the chosen cases."""
    flagged = json.loads(path.read_text(encoding="utf-8"))["lines"]
    return lambda place: set(flagged.get(str(place * every), ()))


def find_all(tagger: TextTagger, chosen: Iterable[Case]) -> list[Pair]:
    """Every case with what was found in it."""
    found = []
    for number, case in enumerate(chosen):
        found.append((case, findings_of(tagger, case.planted.text)))
        if number % 50 == 0:
            note(f"{number} files")
    return found


def write_spans(found: Sequence[Pair], path: Path) -> None:
    """The spans on clean files with their lines, to be judged by hand."""
    with path.open("w", encoding="utf-8") as stream:
        for case, spans in found:
            text = case.planted.text
            for one in spans if case.kind.startswith("clean") else ():
                start = text.rfind("\n", 0, one.start) + 1
                line = text[start : text.find("\n", one.end)]
                doubt = "doubtful" if ignorable(one, case.planted) else "plain"
                value = text[one.start : one.end]
                stream.write(f"{doubt}\t{one.label}\t{value!r}\t{case.name}\t{line[:200]!r}\n")


def measure(found: list[Pair]) -> dict[str, Any]:
    """All measures of the tagger alone."""
    planted = [pair for pair in found if not pair[0].kind.startswith("clean")]
    return {
        "planted": planted_report(planted),
        "planted_python": planted_report([p for p in planted if p[0].form == "python"]),
        "keys_by_shape": unseen_report(planted),
        "clean_python": clean_report([p for p in found if p[0].kind == "clean python"]),
        "clean_other": clean_report([p for p in found if p[0].kind == "clean other"]),
    }


def main() -> None:
    """Reads the options, measures, prints the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--split", choices=cases.SPLITS, default="test")
    parser.add_argument("--every", type=int, default=1, help="3: every third (odd alone)")
    options = parser.parse_args()
    started = time.monotonic()
    tagger = TextTagger.load(options.directory)
    found = find_all(tagger, cases.load(options.split)[:: options.every])
    write_spans(found, HOME / f"clean-spans-{options.split}.tsv")
    ours = [
        {line for one in spans for line in lines_of(one, case.planted.text)}
        for case, spans in found
    ]
    report = {
        "model": options.directory.resolve().name,
        "split": options.split,
        "every": options.every,
        "cases_sha256": file_hash(cases.path_of(options.split)),
        **measure(found),
        "by_line": {"pocket_secrets": line_report(found, lambda number: ours[number])},
    }
    baseline = HOME / f"detect-secrets-{options.split}.json"
    if baseline.exists():
        report["by_line"]["detect-secrets"] = line_report(
            found, lines_by_detect_secrets(baseline, options.every)
        )
    report["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
