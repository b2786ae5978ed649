"""The gates of `classify`: an unexpected label, or too low a score."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bigcode_cli.commands.classify.options import LabelGateOptions
from bigcode_cli.files.results import GateResult, Verdict
from bigcode_cli.framework.errors import UsageFailure
from gpt_bigcode.labeling.languages import UNKNOWN, aliases

if TYPE_CHECKING:
    from gpt_bigcode.labeling.description import ClassifierDescription
    from gpt_bigcode.labeling.results import Classification, LabelScores

_MOST_NAMES = 12


@dataclass(frozen=True, kw_only=True)
class LabelGates:
    """The limits of one call.

    Attributes:
        expected: the accepted labels; empty: all.
        min_score: the lowest score that passes.
        threshold: of the model: from which score on a single label is sure enough to be named.
    """

    expected: tuple[str, ...] = ()
    min_score: float | None = None
    threshold: float = 0.0

    @property
    def certain_from(self) -> float:
        """The lowest score of a single label that is reported; below it the label is unknown."""
        return self.threshold if self.min_score is None else self.min_score

    @classmethod
    def of(cls, options: LabelGateOptions) -> "LabelGates":
        """Return the gates of a command line."""
        return cls(expected=tuple(options.expect or ()), min_score=options.min_score)

    def for_model(self, name: str, model: "ClassifierDescription") -> "LabelGates":
        """Return the gates with the expected labels as this model spells them.

        Raises:
            UsageFailure: the model does not know a label, or has no labels.
        """
        from gpt_bigcode.labeling.results import Problem

        if model.problem is Problem.REGRESSION:
            given = {"--expect": self.expected or None, "--min-score": self.min_score}
            option = next((name for name, value in given.items() if value is not None), None)
            if option is not None:
                raise UsageFailure(f"{option}: {name} predicts numbers, not labels")
        expected = tuple(_spelled(one, name, model) for one in self.expected)
        return replace(self, expected=expected, threshold=model.threshold)

    def judge(self, result: "Classification") -> GateResult | None:
        """Judge a file; None if there are no gates."""
        if not self.expected and self.min_score is None:
            return None
        # A score below --min-score is a finding of its own; the label may still be right.
        counts = self.min_score is not None or is_certain(result, self.certain_from)
        predicted = dict(result.labels) if counts else {}
        right = {label: score for label, score in predicted.items() if label in self.expected}
        findings = []
        if self.expected and not right:
            findings.append(f"not {' or '.join(self.expected)}")
        elif not predicted and counts:
            findings.append("no label")
        score = max((right or predicted).values(), default=None)
        if score is not None and self.min_score is not None and score < self.min_score:
            findings.append(f"score {score:.3f} is below {self.min_score:g}")
        return GateResult(Verdict.FAIL if findings else Verdict.PASS, tuple(findings))


def is_certain(result: "LabelScores", certain_from: float) -> bool:
    """Tell whether the label of a single-label model is certain enough to be reported."""
    from gpt_bigcode.labeling.results import Problem

    if result.problem is not Problem.SINGLE_LABEL or result.score is None:
        return True
    # A model may have learnt a label for everything else; that it is unsure of it says no more.
    return result.score >= certain_from or result.label == UNKNOWN


def _spelled(label: str, name: str, model: "ClassifierDescription") -> str:
    """Return a label as the model spells it, ignoring case, spaces, hyphens and underscores."""
    if label in model.names:
        return label
    folded = {_folded(known): known for known in model.names}
    wanted = _folded(label)
    meant = {_folded(alias): label for alias, label in aliases()}.get(wanted, "")
    found = folded.get(wanted) or folded.get(_folded(meant))
    if found is None:
        hint = _hint(label, model.names)
        raise UsageFailure(f"--expect: {label!r} is not a label of {name}", hint=hint)
    return found


def _folded(label: str) -> str:
    return re.sub(r"[\s_-]", "", label.casefold())


def _hint(label: str, names: Sequence[str]) -> str:
    """Suggest the label that was meant, or list the first ones."""
    from difflib import get_close_matches

    folded = {name.casefold(): name for name in names}
    near = get_close_matches(label.casefold(), folded, n=1)
    if near:
        return f"did you mean {folded[near[0]]}?"
    more = ", …" if len(names) > _MOST_NAMES else ""
    return f"its labels are {', '.join(names[:_MOST_NAMES])}{more}"
