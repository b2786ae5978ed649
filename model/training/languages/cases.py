"""The held-out cases that the classifier is measured on: whole files and snippets of a few lines.

Cases are a function of the test split and the seed alone.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpt_bigcode.labeling.languages import UNKNOWN
from training.languages.snippets import draw_snippet

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FILE_CHARACTERS = 20_000


@dataclass(frozen=True)
class Case:
    """A text whose language is known."""

    label: str
    package: str
    text: str


def by_language(records: Sequence[dict[str, str]], seed: int) -> dict[str, list[Case]]:
    """Every file, in seeded order; the packages of a language take turns."""
    groups: dict[str, dict[str, list[Case]]] = {}
    for record in sorted(records, key=lambda r: (r["label"], r["package"], r["path"])):
        case = Case(record["label"], record["package"], record["text"])
        groups.setdefault(case.label, {}).setdefault(case.package, []).append(case)
    ordered: dict[str, list[Case]] = {}
    for label, packages in groups.items():
        queues = list(packages.values())
        generator = random.Random(f"{seed}/{label}")
        for queue in queues:
            generator.shuffle(queue)
        ordered[label] = []
        while queues:
            ordered[label] += [queue.pop() for queue in queues]
            queues = [queue for queue in queues if queue]
    return ordered


def known_and_foreign(
    records: Sequence[dict[str, str]], names: Sequence[str]
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The files in languages that a model has labels for, and the others.

    Of a model with all LABELS the others are in languages that it was never trained on.
    """
    labels = set(names) - {UNKNOWN}
    known = [record for record in records if record["label"] in labels]
    return known, [record for record in records if record["label"] not in labels]


def files(records: Sequence[dict[str, str]], each: int, seed: int) -> list[Case]:
    """At most `each` whole files of a language, none longer than MAX_FILE_CHARACTERS."""
    short = [record for record in records if len(record["text"]) <= MAX_FILE_CHARACTERS]
    groups = by_language(short, seed)
    return [case for label in sorted(groups) for case in groups[label][:each]]


def snippets(records: Sequence[dict[str, str]], each: int, seed: int, *, lines: int) -> list[Case]:
    """At most `each` snippets of a language, one of a file before two of any."""
    found: list[Case] = []
    for label, cases in sorted(by_language(records, seed).items()):
        generator = random.Random(f"{seed}/{label}/{lines}")
        seen: set[str] = set()
        drawn: list[Case] = []
        for _ in range(4):
            for case in cases:
                text = draw_snippet(label, case.text, generator, lines=lines)
                if text is not None and text not in seen and len(drawn) < each:
                    seen.add(text)
                    drawn.append(Case(label, case.package, text))
        found += drawn
    return found
