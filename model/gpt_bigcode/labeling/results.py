"""What classifying gives back: labels and scores of a text and of its windows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

HOLDS = 0.5
"""From this score on, one of several labels holds: where the training's loss draws the line."""


class Problem(StrEnum):
    """What the numbers of a classification head mean."""

    SINGLE_LABEL = "single-label"
    """One label of several: scores are probabilities that add up to 1."""
    MULTI_LABEL = "multi-label"
    """Any number of labels: each score is a probability of its own."""
    REGRESSION = "regression"
    """No labels: scores are plain numbers, such as a quality."""


@dataclass(frozen=True, kw_only=True)
class LabelScores:
    """What a head says of a text, or of a window of it.

    Attributes:
        problem: what the values mean.
        names: of the labels, in the order of the head.
        values: their scores; empty for a text without tokens.
        tokens: tokens that were read.
        bytes: their length.
    """

    problem: Problem
    names: Sequence[str]
    values: tuple[float, ...]
    tokens: int
    bytes: int

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """Labels and scores, the highest first; a regression's in the order of the head."""
        pairs = list(zip(self.names, self.values, strict=False))
        if self.problem is Problem.REGRESSION:
            return pairs
        return sorted(pairs, key=lambda pair: -pair[1])

    @property
    def labels(self) -> list[tuple[str, float]]:
        """The labels that hold, with their scores, the highest first.

        Of a single-label problem exactly one; of a multi-label one those of at least `HOLDS`; of a
        regression none.
        """
        if self.problem is Problem.SINGLE_LABEL:
            return self.ranked[:1]
        if self.problem is Problem.MULTI_LABEL:
            return [(name, score) for name, score in self.ranked if score >= HOLDS]
        return []

    @property
    def label(self) -> str | None:
        """The label that holds with the highest score; None if none does."""
        return self.labels[0][0] if self.labels else None

    @property
    def score(self) -> float | None:
        """The score of `label`."""
        return self.labels[0][1] if self.labels else None

    @property
    def number(self) -> float | None:
        """The number that a regression with one output gives; else None."""
        one = self.problem is Problem.REGRESSION and len(self.values) == 1
        return self.values[0] if one else None


@dataclass(frozen=True, kw_only=True)
class WindowLabels(LabelScores):
    """A window by itself: bytes start .. end - 1 of the file."""

    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Classification(LabelScores):
    """A text.

    Attributes:
        windows: how many it was read in.
        window_labels: each of them, where they were asked for.
    """

    windows: int
    window_labels: tuple[WindowLabels, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Span:
    """A labelled piece of a text, without white space at its edges.

    Attributes:
        label: its kind.
        start: its first byte in the file; a byte order mark counts.
        end: the byte after it.
        start_line: its line, from 1; only a line feed ends a line.
        start_column: its place in the line in characters, from 1; a byte order mark is not counted.
        end_line: the line of the place after it.
        end_column: the column of that place.
        score: how sure the model is: the upper median of the probabilities of the pieces that it
            labelled so, which neither a missed piece nor a lucky one moves.
        text: what it holds; left out of `repr`, so that no message shows it.
    """

    label: str
    start: int
    end: int
    start_line: int
    start_column: int
    end_line: int
    end_column: int
    score: float
    text: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Tagging:
    """What was found in a text.

    Attributes:
        spans: in the order of the text; they do not overlap.
        tokens: its tokens.
        windows: how many the model read.
    """

    spans: tuple[Span, ...]
    tokens: int
    windows: int


@dataclass(frozen=True, kw_only=True)
class Advance:
    """A part of a text that is being read is done with.

    Attributes:
        spans: those that were completed since the last one.
        offset: no later span begins before this byte of the file.
    """

    spans: tuple[Span, ...]
    offset: int
