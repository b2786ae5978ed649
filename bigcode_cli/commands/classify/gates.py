"""When a file is not what it should be: another label than expected, or one that is too unlikely.

Knows nothing of how labels are computed or shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bigcode_cli.commands.classify.options import LabelGateOptions
from bigcode_cli.files.verdict import Judgement, Verdict
from bigcode_cli.framework.errors import UsageFailure

if TYPE_CHECKING:
    from gpt_bigcode.labeling.results import Classification
    from gpt_bigcode.labeling.text_classifier import ClassifierDescription

_MOST_NAMES = 12


@dataclass(frozen=True, kw_only=True)
class LabelGates:
    """The limits of one call.

    Attributes:
        expected: labels of which a file must have one; without any, all are right.
        min_score: how likely the label must be.
    """

    expected: tuple[str, ...] = ()
    min_score: float | None = None

    @classmethod
    def of(cls, options: LabelGateOptions) -> "LabelGates":
        """The gates of a command line."""
        return cls(expected=tuple(options.expect or ()), min_score=options.min_score)

    def check_model(self, name: str, model: "ClassifierDescription") -> None:
        """Refuse gates that no file can pass with this model.

        Raises:
            UsageFailure: labels that the model does not know, or a model without labels.
        """
        from gpt_bigcode.labeling.results import Problem

        if model.problem is Problem.REGRESSION:
            given = {"--expect": self.expected or None, "--min-score": self.min_score}
            option = next((name for name, value in given.items() if value is not None), None)
            if option is not None:
                raise UsageFailure(f"{option}: {name} gives numbers, no labels")
        for label in self.expected:
            if label not in model.names:
                hint = _hint(label, model.names)
                raise UsageFailure(f"--expect: {label!r} is no label of {name}", hint=hint)

    def judge(self, result: "Classification") -> Judgement | None:
        """The verdict on a file; None if there are no gates."""
        if not self.expected and self.min_score is None:
            return None
        holding = dict(result.labels)
        right = {label: score for label, score in holding.items() if label in self.expected}
        findings = []
        if self.expected and not right:
            findings.append(f"not {' or '.join(self.expected)}")
        elif not holding:
            findings.append("no label")
        score = max((right or holding).values(), default=None)
        if score is not None and self.min_score is not None and score < self.min_score:
            findings.append(f"{score:.3f} is below {self.min_score:g}")
        return Judgement(Verdict.FAIL if findings else Verdict.PASS, tuple(findings))


def _hint(label: str, names: Sequence[str]) -> str:
    """Name the label that was meant, or the first ones that there are."""
    from difflib import get_close_matches

    folded = {name.casefold(): name for name in names}
    near = get_close_matches(label.casefold(), folded, n=1)
    if near:
        return f"did you mean {folded[near[0]]}?"
    more = ", …" if len(names) > _MOST_NAMES else ""
    return f"its labels are {', '.join(names[:_MOST_NAMES])}{more}"
