"""When a file is too surprising: above a limit, or worse than in an earlier report.

Knows nothing of how values are computed or shown.
"""

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigcode_cli.commands.score.options import GateOptions
from bigcode_cli.files.verdict import Judgement, Verdict
from bigcode_cli.framework.errors import Failure, UsageFailure

if TYPE_CHECKING:
    from gpt_bigcode.scoring.results import Surprise


@dataclass(frozen=True, kw_only=True)
class Gates:
    """The limits of one call.

    Attributes:
        max_bits_per_byte: see `GateOptions`.
        min_tokens: files with fewer are not judged.
        baseline: path -> bits per byte of an earlier report; None: there is none.
        max_rise: how much worse a file may have become.
        model: what made the baseline, where it says so.
    """

    max_bits_per_byte: float | None = None
    min_tokens: int = 0
    baseline: dict[str, float] | None = None
    max_rise: float = 0.0
    model: str | None = field(default=None)

    @classmethod
    def of(cls, options: GateOptions) -> "Gates":
        """The gates of a command line.

        Raises:
            Failure: `baseline`: the file cannot be read or is no report.
        """
        baseline, model = None, None
        if options.baseline is not None:
            baseline, model = _read_baseline(options.baseline)
        return cls(
            max_bits_per_byte=options.max_bits_per_byte,
            min_tokens=options.min_tokens,
            baseline=baseline,
            max_rise=options.max_rise,
            model=model,
        )

    def check_model(self, name: str) -> None:
        """Refuse to compare the values of two models.

        Raises:
            UsageFailure: the baseline says that another one made it.
        """
        if self.model is not None and self.model != name:
            raise UsageFailure(f"--baseline: was made with the model {self.model}, this is {name}")

    def judge(self, path: str, judged: "Surprise", whole: "Surprise") -> Judgement | None:
        """The verdict on a file; None if there are no gates.

        Args:
            path: its name in the report.
            judged: the value of what is to be judged, such as its added lines.
            whole: the value of the file, which a baseline has.
        """
        if self.max_bits_per_byte is None and self.baseline is None:
            return None
        if judged.tokens < self.min_tokens:
            return Judgement(Verdict.TOO_SHORT)
        findings = []
        value = judged.bits_per_byte
        limit = math.inf if self.max_bits_per_byte is None else self.max_bits_per_byte
        if value is not None and value > limit:
            findings.append(f"{value:.3f} bits/byte is above {limit:g}")
        known = (self.baseline or {}).get(os.path.normpath(path))
        value = whole.bits_per_byte
        if known is not None and value is not None and value - known > self.max_rise:
            findings.append(f"{value - known:.3f} bits/byte above the baseline's {known:.3f}")
        verdict = Verdict.FAIL if findings else Verdict.PASS
        return Judgement(verdict, tuple(findings))


def _read_baseline(path: Path) -> tuple[dict[str, float], str | None]:
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8"
        raise Failure("baseline", f"{path}: {reason}") from None
    try:
        entries, model = _parse_report(text)
        values = {
            os.path.normpath(entry["path"]): float(entry["bits_per_byte"])
            for entry in entries
            if entry["status"] == "ok" and entry["bits_per_byte"] is not None
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        hint = "bigcode score --format json PATH... > FILE makes one"
        raise Failure("baseline", f"{path}: is no report of bigcode score", hint=hint) from None
    return values, model


def _parse_report(text: str) -> tuple[list[dict[str, Any]], str | None]:
    """The files of a report in JSON or JSONL, and the model that it names."""
    try:
        document = json.loads(text)
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()], None
    if "files" in document:
        return document["files"], document.get("summary", {}).get("model")
    return [document], None
