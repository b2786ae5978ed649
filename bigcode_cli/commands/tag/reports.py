"""How findings are shown: a line a finding, JSON, JSONL, CSV or SARIF.

Knows nothing of how they were found or judged.
"""

from typing import Any

from bigcode_cli.commands.tag.findings import TagEntry, describe
from bigcode_cli.commands.tag.options import TagFormat
from bigcode_cli.files.verdict import csv_rows
from bigcode_cli.framework.output import Result, safe

COLUMNS = (
    *("path", "label", "start", "end", "start_line", "start_column", "end_line", "end_column"),
    *("score", "fingerprint"),
)


class TagReport:
    """Writes entries as they come, or all together where the format asks for it."""

    def __init__(self, format_: TagFormat) -> None:
        self._format = format_
        self._result = Result()
        self._files: list[dict[str, Any]] = []
        self._entries: list[TagEntry] = []
        if format_ is TagFormat.CSV:
            self._write_rows([dict(zip(COLUMNS, COLUMNS, strict=True))])

    def add(self, entry: TagEntry) -> None:
        """Take what is to be reported of a file."""
        match self._format:
            case TagFormat.TEXT:
                self._write_text(entry)
            case TagFormat.JSON:
                self._files.append(entry.to_dict())
            case TagFormat.JSONL:
                self._result.write_json(entry.to_dict(), indent=None)
            case TagFormat.CSV:
                path = {"path": entry.path}
                self._write_rows([path | finding.to_dict() for finding in entry.findings])
            case TagFormat.SARIF:
                self._entries.append(entry)

    def close(self, summary: dict[str, Any]) -> None:
        """Write what belongs at the end."""
        if self._format is TagFormat.JSON:
            self._result.write_json({"files": self._files, "summary": summary}, indent=2)
        elif self._format is TagFormat.SARIF:
            from bigcode_cli.commands.tag.sarif import sarif_log

            self._result.write_json(sarif_log(self._entries), indent=2)
        self._result.close()

    def _write_rows(self, rows: list[dict[str, Any]]) -> None:
        self._result.write(csv_rows(COLUMNS, rows))

    def _write_text(self, entry: TagEntry) -> None:
        path = safe(entry.path)
        if entry.redacted is not None:
            if entry.status == "ok":
                self._result.write(f"{path}: {entry.redacted} redacted\n")
            return
        for finding in entry.findings:
            span = finding.span
            place = f"{path}:{span.start_line}:{span.start_column}"
            self._result.write(f"{place}: {describe(finding)}\n")
