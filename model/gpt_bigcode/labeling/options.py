"""What callers may ask of tagging; imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gpt_bigcode.errors import OptionError
from gpt_bigcode.labeling.results import Span

MIN_SCORE = 0.5
"""The default of `TagOptions.min_score`."""


@dataclass(frozen=True, kw_only=True)
class TagOptions:
    """Which spans are given; everything has a default.

    Attributes:
        labels: only these; None: all.
        min_score: spans below this are left out, 0 to 1.
        min_scores: the same for single labels.
    """

    labels: frozenset[str] | None = None
    min_score: float = MIN_SCORE
    min_scores: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for score in (self.min_score, *self.min_scores.values()):
            if not 0 <= score <= 1:
                raise OptionError(f"min_score: {score} is not 0 to 1")

    @property
    def named(self) -> frozenset[str]:
        """The labels that are asked for by name."""
        return (self.labels or frozenset()) | frozenset(self.min_scores)

    def accept(self, span: Span) -> bool:
        """Whether a span is to be given."""
        wanted = self.labels is None or span.label in self.labels
        return wanted and span.score >= self.min_scores.get(span.label, self.min_score)
