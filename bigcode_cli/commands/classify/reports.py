"""How labels are shown: a line for each file and a table of folders, JSON, JSONL or CSV."""

import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bigcode_cli.commands.classify.folder_counts import FolderCounts, shown_counts
from bigcode_cli.commands.classify.gates import is_certain
from bigcode_cli.files.results import Entry, Report
from bigcode_cli.framework.options import TableFormat
from bigcode_cli.framework.output import safe, write_table
from gpt_bigcode.labeling.languages import UNKNOWN

if TYPE_CHECKING:
    from gpt_bigcode.labeling.results import Classification, LabelScores, WindowLabels

FILE_COLUMNS = (
    *("path", "status", "reason", "label", "score", "tokens", "bytes", "windows", "verdict"),
)
WINDOW_COLUMNS = ("path", "start", "end", "tokens", "label", "score")
NO_LABEL = "no label"


@dataclass(frozen=True, kw_only=True)
class LabelEntry(Entry):
    """The report on one file.

    Attributes:
        result: its labels; None if there are none.
        certain_from: the lowest score of a single label that is reported.
    """

    result: "Classification | None" = None
    certain_from: float = 0.0

    @property
    def verdict(self) -> str | None:
        """Whether the file passed the gates, if there are any."""
        return None if self.gate_result is None else self.gate_result.verdict.value

    @property
    def label(self) -> str:
        """The label under which the file is counted."""
        if self.result is None or self.result.label is None:
            return NO_LABEL
        return self.result.label if is_certain(self.result, self.certain_from) else UNKNOWN


class LabelReport(Report[LabelEntry]):
    """Writes entries as they arrive; on a terminal, a table of the folders follows."""

    def __init__(self, format_: TableFormat, *, top: int | None, windows: bool) -> None:
        super().__init__(format_, WINDOW_COLUMNS if windows else FILE_COLUMNS)
        self._top, self._windows = top, windows
        self._folders = FolderCounts()

    def write_end(self, summary: dict[str, Any]) -> None:
        """See `Report`."""
        if summary["classified"] < 2:
            return
        total = _total(summary)
        if sys.stdout.isatty() and summary["labels"] is not None:
            rows = [*self._folders.rows(), ("total", str(summary["classified"]), total)]
            self.result.write("\n")
            write_table(("FOLDER", "FILES", "LABELS"), rows)
        else:
            self.result.write(f"{summary['classified']} files: {total}\n")

    def document(self, entry: LabelEntry) -> dict[str, Any]:
        """See `Report`."""
        values = entry.to_dict()
        result = entry.result
        if result is None:
            return values | {"label": None, "score": None, "scores": {}, "windows": 0}
        values |= self._values(result, entry.certain_from)
        values |= {"tokens": result.tokens, "bytes": result.bytes, "windows": result.windows}
        if self._windows:
            values["window_labels"] = [
                {"start": window.start, "end": window.end, "tokens": window.tokens}
                | self._values(window, entry.certain_from)
                for window in result.window_labels
            ]
        if entry.gate_result is not None:
            values |= {"verdict": entry.verdict, "findings": list(entry.gate_result.findings)}
        return values

    def _values(self, part: "LabelScores", certain_from: float) -> dict[str, Any]:
        """Return the labels of a file or window; some fields exist only for some kinds of model."""
        from gpt_bigcode.labeling.results import Problem

        certain = is_certain(part, certain_from)
        label = part.label if certain else UNKNOWN
        values: dict[str, Any] = {"label": label, "score": part.score}
        if part.problem is Problem.REGRESSION:
            values["value"] = part.number
        if part.problem is Problem.MULTI_LABEL:
            values["labels"] = [name for name, _ in part.labels]
        return values | {"scores": dict(part.ranked[: self._top])}

    def rows(self, entry: LabelEntry) -> list[dict[str, Any]]:
        """See `Report`: one row for each label that is shown."""
        result = entry.result
        if self._windows:
            parts = () if result is None else result.window_labels
            return [
                {"path": entry.path, "start": part.start, "end": part.end, "tokens": part.tokens}
                | pair
                for part in parts
                for pair in self._pairs(part, entry.certain_from)
            ]
        row: dict[str, Any] = {"path": entry.path, "status": entry.status}
        if entry.fault is not None:
            row["reason"] = entry.fault.reason
        if result is None:
            return [row]
        row |= {"tokens": result.tokens, "bytes": result.bytes, "windows": result.windows}
        return [
            row | {"verdict": entry.verdict} | pair
            for pair in self._pairs(result, entry.certain_from)
        ]

    def _pairs(self, part: "LabelScores", certain_from: float) -> list[dict[str, Any]]:
        if self._top is None and not is_certain(part, certain_from):
            return [{"label": UNKNOWN, "score": part.score}]
        shown = self._shown(part)
        return [{"label": name, "score": score} for name, score in shown] or [{}]

    def _shown(self, part: "LabelScores") -> list[tuple[str, float]]:
        """Return the labels to print if not all are asked for."""
        from gpt_bigcode.labeling.results import Problem

        if self._top is not None:
            return part.ranked[: self._top]
        return part.ranked if part.problem is Problem.REGRESSION else part.labels

    def write_text(self, entry: LabelEntry) -> None:
        """See `Report`."""
        if entry.result is None:
            return
        path = safe(entry.path)
        for window in entry.result.window_labels:
            text = self._text(window, entry.certain_from)
            self.result.write(f"{path}: {_place(window)}: {text}\n")
        findings = "" if entry.gate_result is None else "; ".join(("", *entry.gate_result.findings))
        text = self._text(entry.result, entry.certain_from)
        self.result.write(f"{path}: {text}{safe(findings)}\n")
        self._folders.add(entry.path, entry.label)

    def _text(self, part: "LabelScores", certain_from: float) -> str:
        if part.number is not None:
            return f"{part.number:.6g}"
        shown = ", ".join(f"{safe(name)} {score:.3f}" for name, score in self._shown(part))
        if self._top is None and not is_certain(part, certain_from):
            return f"{UNKNOWN} (best guess: {shown})"
        return shown or NO_LABEL


def _place(window: "WindowLabels") -> str:
    return f"bytes {window.start}-{window.end}"


def _total(summary: dict[str, Any]) -> str:
    """Describe the totals, and how many files failed the gates."""
    if summary["labels"] is None:
        return f"mean {summary['mean']:.6g}" if summary["mean"] is not None else "numbers"
    failed = f"; {summary['failed']} failed" if summary["failed"] else ""
    return safe(shown_counts(Counter(summary["labels"]))) + failed
