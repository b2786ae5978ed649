"""What `bigcode tag` found in one file; the secret itself is in no field that is shown.

Knows nothing of models and formats.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bigcode_cli.files.file_errors import Fault
from bigcode_cli.files.verdict import bytes_of_name
from bigcode_cli.framework.output import safe

if TYPE_CHECKING:
    from gpt_bigcode.labeling.spans import Span


@dataclass(frozen=True)
class Finding:
    """A span, and the fingerprint that stands for its text."""

    span: "Span"
    fingerprint: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values in the order of the report."""
        span = self.span
        return {
            "label": span.label,
            "start": span.start,
            "end": span.end,
            "start_line": span.start_line,
            "start_column": span.start_column,
            "end_line": span.end_line,
            "end_column": span.end_column,
            "score": span.score,
            "fingerprint": self.fingerprint,
        }


@dataclass(frozen=True, kw_only=True)
class TagEntry:
    """What is reported of one file.

    Attributes:
        path: its name, as the system spells it.
        fault: why there is no result.
        windows: how many the model read.
        findings: in the order of the text.
        allowed: findings that a comment or an expression allows.
        known: findings that the baseline knows.
        redacted: spans that were replaced in the file; None: that was not asked for.
    """

    path: str
    fault: Fault | None = None
    windows: int = 0
    findings: tuple[Finding, ...] = field(default=())
    allowed: int = 0
    known: int = 0
    redacted: int | None = None

    @property
    def status(self) -> str:
        """One of ok, skipped, error."""
        return "ok" if self.fault is None else self.fault.status

    def to_dict(self) -> dict[str, Any]:
        """Plain values in the order of the report."""
        values: dict[str, Any] = {"path": self.path, "status": self.status}
        values |= bytes_of_name(self.path)
        if self.fault is not None:
            values |= {"reason": self.fault.reason, "detail": self.fault.detail}
        values["windows"] = self.windows
        values["spans"] = [finding.to_dict() for finding in self.findings]
        values |= {"allowed": self.allowed, "known": self.known}
        if self.redacted is not None:
            values["redacted"] = self.redacted
        return values


def describe(finding: Finding) -> str:
    """A finding in words, without what was found."""
    span = finding.span
    label, size = safe(span.label), len(span.text)
    characters = "1 character" if size == 1 else f"{size} characters"
    return f"{label}, {characters}, score {span.score:.2f}, fingerprint {finding.fingerprint}"
