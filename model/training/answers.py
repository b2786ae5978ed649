"""Judges what was written where a line, or the rest of one, had been removed."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from training.intervals import ratio_interval, share_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.held_out import Gap

_FIRST_WORD = re.compile(r"\w+|\S")
SHOWN = 3


def first_word(line: str) -> str:
    """The first name, number or sign of a line."""
    found = _FIRST_WORD.search(line)
    return found[0] if found else ""


def similarity(written: str, wanted: str) -> float:
    """Twice the characters in matching blocks over those of both lines, 0 to 1.

    Ratcliff and Metzener (1988), as `difflib` computes it.
    """
    return SequenceMatcher(None, written, wanted, autojunk=False).ratio()


def judge(cases: Sequence[Gap], texts: Sequence[str]) -> dict[str, Any]:
    """Shares of exact answers and of right first words, mean similarity, some examples.

    Spaces at the ends of a line do not count.
    """
    written = [text.strip() for text in texts]
    wanted = [case.line.strip() for case in cases]
    pairs = list(zip(written, wanted, strict=True))
    alike = [similarity(here, there) for here, there in pairs]
    shown = range(0, len(cases), max(1, len(cases) // SHOWN))
    return {
        **share_of([here == there for here, there in pairs]),
        "first_word": share_of([first_word(here) == first_word(there) for here, there in pairs]),
        "edit_similarity": {
            "mean": round(sum(alike) / max(1, len(alike)), 4),
            "interval_95": ratio_interval(alike, [1.0] * len(alike)) if alike else [],
        },
        "empty": sum(not text for text in written),
        "examples": [{"line": wanted[i], "written": written[i]} for i in shown],
    }


def difference(cases: Sequence[Gap], first: Sequence[str], second: Sequence[str]) -> dict[str, Any]:
    """By how much more of the same cases the second answers are exact, in pairs."""
    more = [
        float(there.strip() == case.line.strip()) - float(here.strip() == case.line.strip())
        for case, here, there in zip(cases, first, second, strict=True)
    ]
    return {
        "mean": round(sum(more) / max(1, len(more)), 4),
        "interval_95": ratio_interval(more, [1.0] * len(more)) if more else [],
        "second_better": sum(value > 0 for value in more),
        "first_better": sum(value < 0 for value in more),
    }
