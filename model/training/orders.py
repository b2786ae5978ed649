"""Compares the two orders of infilling on the same gaps, case by case.

Knows nothing of training. Run as `python -m training.orders DIR`; goes on after a kill, prints a
JSON report. Far from exact answers can still be told apart: by how they begin, and by their edits.
"""

from __future__ import annotations

import argparse
import json
import re
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_bigcode.completion.options import InfillOptions, InfillOrder
from gpt_bigcode.completion.text_model import TextModel
from gpt_bigcode.stopping.scope import Scope
from training.documents import read_records
from training.evaluate import LINE_TOKENS, journal_of, measured_files
from training.held_out import Gap, gaps
from training.intervals import ratio_interval, share_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_FIRST_WORD = re.compile(r"\w+|\S")
SHOWN = 5


def first_word(line: str) -> str:
    """The first name, number or sign of a line."""
    found = _FIRST_WORD.search(line)
    return found[0] if found else ""


def similarity(written: str, wanted: str) -> float:
    """Twice the characters in matching blocks over those of both lines, 0 to 1.

    Ratcliff and Metzener (1988), as `difflib` computes it.
    """
    return SequenceMatcher(None, written, wanted, autojunk=False).ratio()


def judged(cases: Sequence[Gap], texts: Sequence[str]) -> dict[str, list[float]]:
    """What each answer reached, by measure."""
    pairs = [(text.strip(), case.line) for text, case in zip(texts, cases, strict=True)]
    return {
        "exact": [float(written == wanted) for written, wanted in pairs],
        "first_word": [
            float(first_word(written) == first_word(wanted)) for written, wanted in pairs
        ],
        "first_three_characters": [float(written[:3] == wanted[:3]) for written, wanted in pairs],
        "edit_similarity": [similarity(written, wanted) for written, wanted in pairs],
        "empty": [float(not written) for written, _ in pairs],
    }


def report(cases: Sequence[Gap], answers: Mapping[InfillOrder, Sequence[str]]) -> dict[str, Any]:
    """Each order's measures, and how much more SPM reaches than PSM on the same gaps."""
    found = {order: judged(cases, texts) for order, texts in answers.items()}
    ones = [1.0] * len(cases)
    more = {
        measure: [
            there - here
            for here, there in zip(found[InfillOrder.PSM][measure], values, strict=True)
        ]
        for measure, values in found[InfillOrder.SPM].items()
    }
    return {
        "gaps": len(cases),
        **{
            order.value: {name: summary(name, values) for name, values in measures.items()}
            for order, measures in found.items()
        },
        "spm_minus_psm": {
            name: {
                "mean": round(sum(values) / len(values), 4),
                "interval_95": ratio_interval(values, ones),
                "spm_better": sum(value > 0 for value in values),
                "psm_better": sum(value < 0 for value in values),
            }
            for name, values in more.items()
        },
        "examples": [
            {"line": case.line} | {order.value: texts[number] for order, texts in answers.items()}
            for number, case in enumerate(cases[:SHOWN])
        ],
    }


def summary(name: str, values: Sequence[float]) -> dict[str, Any]:
    """A share, or a mean, with its interval."""
    if name != "edit_similarity":
        return share_of([value > 0 for value in values])
    mean = round(sum(values) / len(values), 4)
    return {
        "cases": len(values),
        "mean": mean,
        "interval_95": ratio_interval(values, [1.0] * len(values)),
    }


def main() -> None:
    """Reads the options, fills the gaps in both orders, prints the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--gaps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    files = measured_files(options.directory, options.split)
    journal = journal_of("orders-", files, [options.gaps, options.seed])
    cases = gaps(read_records(options.split), options.gaps, options.seed)
    model = TextModel.load(options.directory)

    def fill_in(order: InfillOrder) -> Callable[[Gap], str]:
        asked = InfillOptions(max_tokens=LINE_TOKENS, until=Scope.LINE, order=order)
        return lambda gap: model.infill(gap.prefix, gap.suffix, asked).choices[0].text

    answers = {order: journal.each(order, cases, fill_in(order)) for order in InfillOrder}
    print(json.dumps(report(cases, answers), indent=1))
    journal.finish()


if __name__ == "__main__":
    main()
