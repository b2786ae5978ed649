"""How findings are shown: as lines with the masked source, JSON, JSONL, CSV or SARIF."""

from typing import Any

from bigcode_cli.commands.tag.findings import TagEntry, describe
from bigcode_cli.commands.tag.options import TagFormat
from bigcode_cli.files.results import Report
from bigcode_cli.framework.output import safe

COLUMNS = (
    *("path", "label", "start", "end", "start_line", "start_column", "end_line", "end_column"),
    *("score", "fingerprint"),
)


class TagReport(Report[TagEntry]):
    """Writes entries as they arrive; SARIF at the end."""

    def __init__(self, format_: TagFormat) -> None:
        super().__init__(format_, COLUMNS)
        self._entries: list[TagEntry] = []

    def add(self, entry: TagEntry) -> None:
        """See `Report`."""
        if self._format == TagFormat.SARIF:
            self._entries.append(entry)
        else:
            super().add(entry)

    def close(self, summary: dict[str, Any]) -> None:
        """See `Report`."""
        if self._format == TagFormat.SARIF:
            from bigcode_cli.commands.tag.sarif import sarif_log

            self.result.write_json(sarif_log(self._entries), indent=2)
        super().close(summary)

    def rows(self, entry: TagEntry) -> list[dict[str, Any]]:
        """See `Report`."""
        return [{"path": entry.path} | finding.to_dict() for finding in entry.findings]

    def write_end(self, summary: dict[str, Any]) -> None:
        """Write nothing: the findings are all there is to read."""

    def write_text(self, entry: TagEntry) -> None:
        """See `Report`."""
        path = safe(entry.path)
        if entry.redacted is not None and entry.status == "ok":
            self.result.write(f"{path}: {entry.redacted} redacted\n")
        for finding in entry.findings:
            place = f"{path}:{finding.span.start_line}:{finding.span.start_column}"
            self.result.write(f"{place}: {describe(finding)}\n")
            if finding.masked is not None:
                self.result.write(f"    {finding.masked}\n")
