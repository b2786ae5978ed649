"""A labelled part of a line."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """Characters start .. end - 1 of a line have a label, with this probability."""

    label: str
    start: int
    end: int
    score: float

    def overlaps(self, other: "Mark") -> bool:
        """Whether both share a character."""
        return self.start < other.end and other.start < self.end
