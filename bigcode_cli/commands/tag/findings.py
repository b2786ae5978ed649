"""The findings of `bigcode tag` in a file; no field that is shown contains a secret."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bigcode_cli.files.results import Entry
from bigcode_cli.framework.output import plural, safe

if TYPE_CHECKING:
    from gpt_bigcode.labeling.results import Span


@dataclass(frozen=True)
class Finding:
    """A span, and the fingerprint of its text.

    Attributes:
        span: the span.
        fingerprint: see `fingerprints`.
        provider: the provider of a key, if its prefix tells.
        masked: its line, masked; None if the line was not kept.
    """

    span: "Span"
    fingerprint: str
    provider: str | None = None
    masked: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values in the order of the report."""
        span = self.span
        values = {
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
        return values if self.provider is None else values | {"provider": self.provider}


@dataclass(frozen=True, kw_only=True)
class TagEntry(Entry):
    """The report on one file.

    Attributes:
        windows: the number of windows.
        findings: in the order of the text.
        allowed: how many findings are allowed by a comment, an expression or as an author's name.
        known: how many findings are in the baseline.
        redacted: how many spans were replaced in the file; None without --in-place.
    """

    windows: int = 0
    findings: tuple[Finding, ...] = field(default=())
    allowed: int = 0
    known: int = 0
    redacted: int | None = None

    @property
    def failed(self) -> bool:
        """See `Entry`."""
        return bool(self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values in the order of the report."""
        values = super().to_dict() | {
            "windows": self.windows,
            "spans": [finding.to_dict() for finding in self.findings],
            "allowed": self.allowed,
            "known": self.known,
        }
        return values if self.redacted is None else values | {"redacted": self.redacted}


def describe(finding: Finding) -> str:
    """Describe a finding without its text."""
    span = finding.span
    label = safe(span.label)
    kind = label if finding.provider is None else f"{label} ({finding.provider})"
    characters = plural(len(span.text), "character")
    return f"{kind}, {characters}, score {span.score:.2f}, fingerprint {finding.fingerprint}"
