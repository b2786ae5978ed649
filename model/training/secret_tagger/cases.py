"""The held-out cases: planted files with all findings known, and clean files as they are.

Knows no tokens or models. Cases are JSON lines; they are built, never committed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training.secret_tagger.passages import Passages
from training.secret_tagger.planting import Finding, Planted, cut, document
from training.secret_tagger.sources import HOME, RealFile, doubtful_lines
from training.secret_tagger.vocabulary import TEST, VALIDATION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VOCABULARIES = {"validation": VALIDATION, "test": TEST}
SPLITS = tuple(VOCABULARIES)
PLANTED_FILES = 260
DOCUMENTS = 120
CLEAN_LINES = {"python": 24_000, "other": 8_000}
MAX_CASE_CHARACTERS = 12_000


@dataclass(frozen=True)
class Case:
    """One file; a clean one has no findings."""

    name: str
    form: str
    kind: str
    planted: Planted


def path_of(split: str) -> Path:
    """Where a split's cases are."""
    return HOME / f"cases-{split}.jsonl"


def build(split: str, files: Sequence[RealFile], seed: int = 5) -> dict[str, Any]:
    """Writes the cases of a split; the test's values are of lists that are never trained on."""
    found = [*planted_cases(split, files, seed), *clean_cases(files)]
    with path_of(split).open("w", encoding="utf-8") as stream:
        for case in found:
            record = {
                "name": case.name,
                "form": case.form,
                "kind": case.kind,
                "text": case.planted.text,
                "findings": [[f.start, f.end, f.label] for f in case.planted.findings],
                "doubtful": case.planted.doubtful,
            }
            stream.write(json.dumps(record) + "\n")
    kinds = sorted({case.kind for case in found})
    return {kind: sum(case.kind == kind for case in found) for kind in kinds}


def load(split: str) -> list[Case]:
    """The cases of a split."""
    with path_of(split).open(encoding="utf-8") as stream:
        return [_case(json.loads(row)) for row in stream]


def _case(record: dict[str, Any]) -> Case:
    findings = tuple(Finding(*fields) for fields in record["findings"])
    doubtful = tuple((low, high) for low, high in record["doubtful"])
    planted = Planted(record["text"], findings, doubtful)
    return Case(record["name"], record["form"], record["kind"], planted)


def planted_cases(split: str, files: Sequence[RealFile], seed: int) -> list[Case]:
    """Real files with values planted in them, and small configuration files."""
    source = Passages(files, f"cases/{split}/{seed}", VOCABULARIES[split])
    generator = source.draw.generator
    found = []
    hosts = [file for file in files if len(file.text) > 1000]
    for number in range(PLANTED_FILES):
        wanted = "python" if number % 2 else "other"
        file = generator.choice([f for f in hosts if (f.form == "python") == (wanted == "python")])
        whole = file.text[: file.text.find("\n", MAX_CASE_CHARACTERS) + 1] or file.text
        host = Planted(whole, (), tuple(doubtful_lines(whole)))
        times = 1 + len(whole) // 1500
        planted = source.planted(host, file.form, times=times)
        found.append(Case(f"{file.package}/{file.path}", file.form, "planted", planted))
    made = [document(source.draw) for _ in range(DOCUMENTS)]
    made += [source.list_of_settings() for _ in range(DOCUMENTS // 2)]
    return found + [
        Case(f"made {number}", "document", "document", planted)
        for number, planted in enumerate(made)
    ]


def clean_cases(files: Sequence[RealFile]) -> list[Case]:
    """Real files as they are, with the lines that may hold findings marked."""
    found, lines = [], dict.fromkeys(CLEAN_LINES, 0)
    for file in files:
        kind = "python" if file.form == "python" else "other"
        if lines[kind] >= CLEAN_LINES[kind]:
            continue
        whole = Planted(file.text, (), tuple(doubtful_lines(file.text)))
        clean = cut(whole, 0, len(file.text))
        lines[kind] += file.text.count("\n")
        found.append(Case(f"{file.package}/{file.path}", file.form, f"clean {kind}", clean))
    return found
