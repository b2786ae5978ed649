"""How labels are shown: a line a file and a table of folders, JSON, JSONL or CSV.

Knows nothing of how they were computed or judged.
"""

import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bigcode_cli.commands.classify.folder_counts import FolderCounts, shown_counts
from bigcode_cli.files.file_errors import Fault
from bigcode_cli.files.options import TableFormat
from bigcode_cli.files.verdict import Judgement, bytes_of_name, csv_rows
from bigcode_cli.framework.output import Result, safe, write_table

if TYPE_CHECKING:
    from gpt_bigcode.labeling.results import Classification, LabelScores, WindowLabels

FILE_COLUMNS = (
    *("path", "status", "reason", "label", "score", "tokens", "bytes", "windows", "verdict"),
)
WINDOW_COLUMNS = ("path", "start", "end", "tokens", "label", "score")
NO_LABEL = "no label"


@dataclass(frozen=True, kw_only=True)
class LabelEntry:
    """What is reported of one file.

    Attributes:
        path: its name, as the system spells it.
        result: its labels; None if there are none.
        fault: why.
        judgement: what the gates say.
    """

    path: str
    result: "Classification | None" = None
    fault: Fault | None = None
    judgement: Judgement | None = None

    @property
    def status(self) -> str:
        """One of ok, skipped, error."""
        return "ok" if self.fault is None else self.fault.status

    @property
    def verdict(self) -> str | None:
        """Whether the file passed the gates, if there are any."""
        return None if self.judgement is None else self.judgement.verdict.value


class LabelReport:
    """Writes entries as they come, or all together where the format asks for it."""

    def __init__(self, format_: TableFormat, *, top: int | None, windows: bool) -> None:
        self._format = format_
        self._top, self._windows = top, windows
        self._result = Result()
        self._files: list[dict[str, Any]] = []
        self._folders = FolderCounts()
        if format_ is TableFormat.CSV:
            self._columns = WINDOW_COLUMNS if windows else FILE_COLUMNS
            self._result.write(",".join(self._columns) + "\n")

    def add(self, entry: LabelEntry) -> None:
        """Take what is to be reported of a file."""
        match self._format:
            case TableFormat.TEXT:
                self._write_text(entry)
            case TableFormat.JSON:
                self._files.append(self._document(entry))
            case TableFormat.JSONL:
                self._result.write_json(self._document(entry), indent=None)
            case TableFormat.CSV:
                self._result.write(csv_rows(self._columns, self._rows(entry)))

    def close(self, summary: dict[str, Any]) -> None:
        """Write what belongs at the end: for people at a terminal, a table of the folders."""
        if self._format is TableFormat.JSON:
            self._result.write_json({"files": self._files, "summary": summary}, indent=2)
        elif self._format is TableFormat.TEXT and summary["classified"] > 1:
            total = _total(summary)
            if sys.stdout.isatty() and summary["labels"] is not None:
                rows = [*self._folders.rows(), ("total", str(summary["classified"]), total)]
                self._result.write("\n")
                write_table(("FOLDER", "FILES", "LABELS"), rows)
            else:
                self._result.write(f"{summary['classified']} files: {total}\n")
        self._result.close()

    def _document(self, entry: LabelEntry) -> dict[str, Any]:
        values: dict[str, Any] = {"path": entry.path, "status": entry.status}
        values |= bytes_of_name(entry.path)
        if entry.fault is not None:
            values |= {"reason": entry.fault.reason, "detail": entry.fault.detail}
        result = entry.result
        if result is None:
            return values | {"label": None, "score": None, "scores": {}, "windows": 0}
        values |= self._values(result)
        values |= {"tokens": result.tokens, "bytes": result.bytes, "windows": result.windows}
        if self._windows:
            values["window_labels"] = [
                {"start": window.start, "end": window.end, "tokens": window.tokens}
                | self._values(window)
                for window in result.window_labels
            ]
        if entry.judgement is not None:
            values |= {"verdict": entry.verdict, "findings": list(entry.judgement.findings)}
        return values

    def _values(self, part: "LabelScores") -> dict[str, Any]:
        """The labels of a file or a window; what only some problems have is only there for them."""
        from gpt_bigcode.labeling.results import Problem

        values: dict[str, Any] = {"label": part.label, "score": part.score}
        if part.problem is Problem.REGRESSION:
            values["value"] = part.number
        if part.problem is Problem.MULTI_LABEL:
            values["labels"] = [name for name, _ in part.labels]
        return values | {"scores": dict(part.ranked[: self._top])}

    def _rows(self, entry: LabelEntry) -> list[dict[str, Any]]:
        """The lines of a CSV: one for each label that is shown."""
        result = entry.result
        if self._windows:
            parts = () if result is None else result.window_labels
            return [
                {"path": entry.path, "start": part.start, "end": part.end, "tokens": part.tokens}
                | pair
                for part in parts
                for pair in self._pairs(part)
            ]
        row: dict[str, Any] = {"path": entry.path, "status": entry.status}
        if entry.fault is not None:
            row["reason"] = entry.fault.reason
        if result is None:
            return [row]
        row |= {"tokens": result.tokens, "bytes": result.bytes, "windows": result.windows}
        return [row | {"verdict": entry.verdict} | pair for pair in self._pairs(result)]

    def _pairs(self, part: "LabelScores") -> list[dict[str, Any]]:
        shown = self._shown(part)
        return [{"label": name, "score": score} for name, score in shown] or [{}]

    def _shown(self, part: "LabelScores") -> list[tuple[str, float]]:
        """The labels that are written where not all are."""
        from gpt_bigcode.labeling.results import Problem

        if self._top is not None:
            return part.ranked[: self._top]
        return part.ranked if part.problem is Problem.REGRESSION else part.labels

    def _write_text(self, entry: LabelEntry) -> None:
        if entry.result is None:
            return
        path = safe(entry.path)
        for window in entry.result.window_labels:
            self._result.write(f"{path}: {_place(window)}: {self._text(window)}\n")
        findings = "" if entry.judgement is None else "; ".join(("", *entry.judgement.findings))
        self._result.write(f"{path}: {self._text(entry.result)}{safe(findings)}\n")
        self._folders.add(entry.path, entry.result.label or NO_LABEL)

    def _text(self, part: "LabelScores") -> str:
        if part.number is not None:
            return f"{part.number:.6g}"
        shown = self._shown(part)
        return ", ".join(f"{safe(name)} {score:.3f}" for name, score in shown) or NO_LABEL


def _place(window: "WindowLabels") -> str:
    return f"bytes {window.start}-{window.end}"


def _total(summary: dict[str, Any]) -> str:
    """What all files come to, and how many of them failed the gates."""
    if summary["labels"] is None:
        return f"mean {summary['mean']:.6g}" if summary["mean"] is not None else "numbers"
    failed = f"; {summary['failed']} failed" if summary["failed"] else ""
    return safe(shown_counts(Counter(summary["labels"]))) + failed
