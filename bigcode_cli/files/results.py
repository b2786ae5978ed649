"""What `score`, `classify` and `tag` share: an entry for each file, the report, the totals."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bigcode_cli.files.file_errors import Fault
from bigcode_cli.files.options import TableFormat
from bigcode_cli.files.progress import Progress
from bigcode_cli.files.sources import Source
from bigcode_cli.files.verdict import Judgement, Verdict, bytes_of_name, csv_rows
from bigcode_cli.framework.errors import ExitStatus
from bigcode_cli.framework.output import Notes, Result, complain


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is reported of one file.

    Attributes:
        path: its name, as the system spells it.
        fault: why there is no result.
        judgement: what the gates say.
    """

    path: str
    fault: Fault | None = None
    judgement: Judgement | None = None

    @property
    def status(self) -> str:
        """One of ok, skipped, error."""
        return "ok" if self.fault is None else self.fault.status

    @property
    def failed(self) -> bool:
        """Whether the exit status is to say that there are findings."""
        return self.judgement is not None and self.judgement.verdict is Verdict.FAIL

    def to_dict(self) -> dict[str, Any]:
        """Path and status, and the reason if there is no result."""
        values: dict[str, Any] = {"path": self.path, "status": self.status}
        values |= bytes_of_name(self.path)
        if self.fault is not None:
            values |= {"reason": self.fault.reason, "detail": self.fault.detail}
        return values


AnyEntry = TypeVar("AnyEntry", bound=Entry)


class Report(Generic[AnyEntry]):
    """Writes entries as they come, or all at the end for `json`; a command fills in the rest."""

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

    def rows(self, entry: AnyEntry) -> Iterable[dict[str, Any]]:
        """The rows of a file in the CSV, by column."""
        raise NotImplementedError

    def write_text(self, entry: AnyEntry) -> None:
        """Write the lines of a file for people."""
        raise NotImplementedError

    def write_end(self, summary: dict[str, Any]) -> None:
        """Write what belongs below the lines for people."""

    def add(self, entry: AnyEntry) -> None:
        """Take what is to be reported of a file."""
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
        """Write what belongs at the end."""
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
        not_judged: what was not judged, as sentences; for --strict these are errors.
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
        """Say what was not judged; an empty file holds nothing that could be."""
        skipped = {reason: count for reason, count in self._skipped.items() if reason != "empty"}
        if skipped:
            reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
            total = f"{sum(skipped.values())} of {plural(self.files, 'file')}"
            self.not_judged.insert(0, f"{total} skipped ({reasons})")
        for sentence in self.not_judged:
            notes.note(sentence)

    def exit_status(self, *, strict: bool, exit_zero: bool) -> ExitStatus:
        """An error beats a finding; with `strict`, what was not judged is an error."""
        if strict and self.not_judged:
            complain("not-judged", f"--strict: {'; '.join(self.not_judged)}")
            return ExitStatus.FAILED
        if self.counts["error"]:
            return ExitStatus.FAILED
        found = self.counts["failed"] and not exit_zero
        return ExitStatus.FINDINGS if found else ExitStatus.DONE

    def to_dict(self) -> dict[str, Any]:
        """The beginning of a summary."""
        return {
            "files": self.files,
            self.done: self.counts["ok"],
            "skipped": self.counts["skipped"],
            "errors": self.counts["error"],
        }


def plural(count: int, word: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def report_all(
    texts: Sequence[Source],
    entries: Iterable[AnyEntry],
    report: Report[AnyEntry],
    totals: Totals,
    notes: Notes,
    progress: Progress,
) -> None:
    """Report and count entries as they come, and say what went wrong.

    Args:
        texts: the files, one for each entry.
        entries: in the same order; computing them is the work that `progress` shows.
    """
    try:
        for text, entry in zip(texts, entries, strict=True):
            progress.clear()
            if entry.fault is not None:
                entry.fault.explain(text, notes)
            totals.add(entry)
            report.add(entry)
    finally:
        progress.clear()
    totals.close(notes)
