"""Counts files by label and folder, in a table short enough for a terminal."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

_MOST_FOLDERS = 20
_MOST_LABELS = 5

Counts = Mapping[tuple[str, ...], Counter[str]]


class FolderCounts:
    """Counts labels by folder; if there are too many folders, by their parents."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, ...], Counter[str]] = {}

    def add(self, path: str, label: str) -> None:
        """Count a file."""
        self._counts.setdefault(Path(path).parent.parts, Counter())[label] += 1

    def rows(self) -> list[tuple[str, str, str]]:
        """Return folder, number of files, and the most frequent labels with their counts."""
        counts = self._shortened()
        rows = [(str(Path(*parts)), counts[parts]) for parts in sorted(counts)]
        return [(name, str(labels.total()), shown_counts(labels)) for name, labels in rows]

    def _shortened(self) -> Counts:
        depth = max(map(len, self._counts), default=0)
        counts: Counts = self._counts
        while len(counts) > _MOST_FOLDERS and depth > 1:
            depth -= 1
            merged: dict[tuple[str, ...], Counter[str]] = {}
            for parts, labels in self._counts.items():
                merged.setdefault(parts[:depth], Counter()).update(labels)
            counts = merged
        return counts


def shown_counts(labels: Counter[str]) -> str:
    """The most frequent labels: `Python 12, C 3`."""
    ranked = sorted(labels.items(), key=lambda item: (-item[1], item[0]))
    more = [("others", sum(count for _, count in ranked[_MOST_LABELS:]))]
    shown = ranked[:_MOST_LABELS] + (more if len(ranked) > _MOST_LABELS else [])
    return ", ".join(f"{label} {count}" for label, count in shown)
