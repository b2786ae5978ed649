"""What `score`, `classify` and `tag` share: verdicts, errors, entries of files, reports, totals."""

import base64
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bigcode_cli.files.sources import SKIPPED, Source
from bigcode_cli.framework import output
from bigcode_cli.framework.errors import ExitStatus, Failure, trace
from bigcode_cli.framework.options import TableFormat
from bigcode_cli.framework.output import Notes, Result, can_redraw, plural
from gpt_bigcode.errors import GPTBigCodeError

if TYPE_CHECKING:
    from bigcode_cli.files.progress import Progress


class Verdict(StrEnum):
    """The outcome of the gates for a file."""

    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    TOO_SHORT = "too-short"
    NOT_COMPARED = "not-compared"


@dataclass(frozen=True)
class GateResult:
    """The verdict on a file, and a sentence for every gate that it failed."""

    verdict: Verdict
    findings: tuple[str, ...] = ()


def bytes_of_name(path: str) -> dict[str, str]:
    """Return the name's bytes in base64 as `path_b64`, if they are not UTF-8; else nothing."""
    if not _is_no_text(path):
        return {}
    raw = path.encode("utf-8", "surrogateescape")
    return {"path_b64": base64.b64encode(raw).decode()}


def csv_rows(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    """Format rows as CSV: other keys are left out, missing ones are empty."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n", restval="")
    writer.writerows({name: _harmless(cell) for name, cell in row.items()} for row in rows)
    return text.getvalue()


def _harmless(cell: Any) -> Any:
    """Escape a cell that a spreadsheet would run as a formula; numbers and `-` are unchanged."""
    formula = isinstance(cell, str) and len(cell) > 1 and cell[0] in "=+-@\t\r"
    return f"'{cell}" if formula else cell


def _is_no_text(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


@dataclass(frozen=True, kw_only=True)
class FileError:
    """Why a file has no result.

    Attributes:
        status: skipped or error.
        reason: a slug that scripts can match.
        detail: the reason as a sentence.
    """

    status: str
    reason: str
    detail: str

    @classmethod
    def of(cls, text: Source, error: Exception, *, alone: bool) -> "FileError":
        """Classify the error of a text; errors that are not ours are raised again.

        Args:
            text: the text.
            error: what was returned instead of a result.
            alone: whether it is the only text: one that was named alone is not skipped.
        """
        if isinstance(error, Failure):
            refused = alone and text.named and error.slug != "empty"
            status = "skipped" if error.slug in SKIPPED and not refused else "error"
            trace(error)
            return cls(status=status, reason=error.slug, detail=str(error))
        if isinstance(error, GPTBigCodeError):
            trace(error)
            return cls(status="error", reason=error.slug, detail=str(error))
        raise error

    def explain(self, text: Source, notes: Notes) -> None:
        """Report it on stderr: errors always, a skipped file if it was named."""
        if self.status == "error":
            output.complain(self.reason, f"{text.name}: {self.detail}")
        elif text.named:
            notes.note(f"{text.name}: skipped: {self.detail}")
        else:
            notes.detail(f"{text.name}: skipped: {self.detail}")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The report on one file.

    Attributes:
        path: its name, as the system spells it.
        fault: why it has no result.
        gate_result: the outcome of the gates.
    """

    path: str
    fault: FileError | None = None
    gate_result: GateResult | None = None

    @property
    def status(self) -> str:
        """One of ok, skipped, error."""
        return "ok" if self.fault is None else self.fault.status

    @property
    def failed(self) -> bool:
        """Whether the file failed a gate."""
        return self.gate_result is not None and self.gate_result.verdict is Verdict.FAIL

    def to_dict(self) -> dict[str, Any]:
        """Path and status, and the reason if there is no result."""
        values: dict[str, Any] = {"path": self.path, "status": self.status}
        values |= bytes_of_name(self.path)
        if self.fault is not None:
            values |= {"reason": self.fault.reason, "detail": self.fault.detail}
        return values


AnyEntry = TypeVar("AnyEntry", bound=Entry)


class Report(ABC, Generic[AnyEntry]):
    """Writes entries as they arrive, or all at the end for `json`; commands fill in the rest."""

    def __init__(self, format_: str, columns: Sequence[str]) -> None:
        """Write the heading of a CSV.

        Args:
            format_: one of `TableFormat`.
            columns: of the CSV.
        """
        self.result = Result()
        self._format = format_
        self._columns = columns
        self._documents: list[dict[str, Any]] = []
        if format_ == TableFormat.CSV:
            self.result.write(",".join(columns) + "\n")

    def document(self, entry: AnyEntry) -> dict[str, Any]:
        """The JSON object of a file."""
        return entry.to_dict()

    @abstractmethod
    def rows(self, entry: AnyEntry) -> Iterable[dict[str, Any]]:
        """The rows of a file in the CSV, by column."""

    @abstractmethod
    def write_text(self, entry: AnyEntry) -> None:
        """Write the lines of a file for people."""

    @abstractmethod
    def write_end(self, summary: dict[str, Any]) -> None:
        """Write the summary for people."""

    def add(self, entry: AnyEntry) -> None:
        """Add the entry of a file."""
        if self._format == TableFormat.JSON:
            self._documents.append(self.document(entry))
        elif self._format == TableFormat.JSONL:
            self.result.write_json(self.document(entry), indent=None)
        elif self._format == TableFormat.CSV:
            self.write_rows(self.rows(entry))
        else:
            self.write_text(entry)

    def write_rows(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write rows of the CSV."""
        self.result.write(csv_rows(self._columns, rows))

    def close(self, summary: dict[str, Any]) -> None:
        """Write the end of the report."""
        if self._format == TableFormat.JSON:
            self.result.write_json({"files": self._documents, "summary": summary}, indent=2)
        elif self._format == TableFormat.TEXT:
            self.write_end(summary)
        self.result.close()


class Totals:
    """Counts the entries of one call.

    Attributes:
        done: what was done with files, such as "scored".
        counts: of entries by status, and of those that failed.
        not_judged: sentences on what was not judged; --strict makes them errors.
    """

    def __init__(self, done: str) -> None:
        self.done = done
        self.counts: Counter[str] = Counter()
        self.not_judged: list[str] = []
        self._skipped: Counter[str] = Counter()

    @property
    def files(self) -> int:
        """How many entries there were."""
        return self.counts["ok"] + self.counts["skipped"] + self.counts["error"]

    def add(self, entry: Entry) -> None:
        """Count an entry."""
        self.counts[entry.status] += 1
        self.counts["failed"] += entry.failed
        if entry.fault is not None and entry.status == "skipped":
            self._skipped[entry.fault.reason] += 1

    def close(self, notes: Notes) -> None:
        """Report what was not judged; empty files do not count as that."""
        skipped = {reason: count for reason, count in self._skipped.items() if reason != "empty"}
        if skipped:
            reasons = ", ".join(f"{count} {SKIPPED[reason]}" for reason, count in skipped.items())
            total = f"{sum(skipped.values())} of {plural(self.files, 'file')}"
            empty = f", {self._skipped['empty']} empty" if self._skipped["empty"] else ""
            self.not_judged.insert(0, f"{total} skipped ({reasons}){empty}")
        for sentence in self.not_judged:
            notes.note(sentence)

    def exit_status(self, *, strict: bool, exit_zero: bool) -> ExitStatus:
        """Return the exit status: errors, or files not judged with `strict`, beat findings."""
        if strict and self.not_judged:
            output.complain("not-judged", f"--strict: {'; '.join(self.not_judged)}")
            return ExitStatus.FAILED
        if self.counts["error"]:
            return ExitStatus.FAILED
        found = self.counts["failed"] and not exit_zero
        return ExitStatus.FINDINGS if found else ExitStatus.DONE

    def to_dict(self) -> dict[str, Any]:
        """Return the common part of a summary."""
        return {
            "files": self.files,
            self.done: self.counts["ok"],
            "skipped": self.counts["skipped"],
            "errors": self.counts["error"],
        }


def open_progress(texts: Sequence[Source], work: str, *, quiet: bool) -> "Progress | None":
    """Start to show progress; None where nobody would see it."""
    if quiet or not can_redraw():
        return None
    from bigcode_cli.files.progress import Progress

    return Progress(texts, work)


def byte_counter(progress: "Progress | None") -> Callable[[int], None]:
    """Return a function that counts the bytes of every piece that is read."""
    return (lambda _: None) if progress is None else progress.advance


def report_all(
    texts: Sequence[Source],
    entries: Iterable[AnyEntry],
    report: Report[AnyEntry],
    totals: Totals,
    notes: Notes,
    progress: "Progress | None",
) -> None:
    """Report and count entries as they arrive, errors included.

    Args:
        texts: the files, one for each entry.
        entries: in the same order; computing them is the work that `progress` shows.
    """
    began = monotonic()
    try:
        for text, entry in zip(texts, entries, strict=True):
            if progress is not None:
                progress.finish_file()
            if entry.fault is not None:
                entry.fault.explain(text, notes)
            totals.add(entry)
            report.add(entry)
    finally:
        if progress is not None:
            progress.clear()
    notes.detail(f"{plural(len(texts), 'file')} in {monotonic() - began:.2f} s")
    totals.close(notes)
