"""What gates say of a text.

Knows nothing of what they look at.
"""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What the gates say of a file."""

    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    TOO_SHORT = "too-short"


@dataclass(frozen=True)
class Judgement:
    """The verdict on a file, and a sentence for every gate that it failed."""

    verdict: Verdict
    findings: tuple[str, ...] = ()
