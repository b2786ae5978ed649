"""How scores are shown: a line for each file, JSON, JSONL or CSV."""

from dataclasses import asdict, dataclass
from heapq import nlargest
from math import log
from typing import TYPE_CHECKING, Any

from bigcode_cli.commands.score.options import ScoringOptions, ViewOptions
from bigcode_cli.files.results import Entry, Report
from bigcode_cli.framework.options import TableFormat
from bigcode_cli.framework.output import plural, safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bigcode_cli.commands.score.html_page import Page
    from bigcode_cli.commands.score.views import ShownLine
    from gpt_bigcode.scoring.results import LineScore, NllStats, Score, TokenScore

FILE_COLUMNS = (
    *("path", "status", "reason", "tokens", "bytes", "nll", "bits_per_byte", "perplexity"),
    *("windows", "verdict"),
)
LINE_COLUMNS = ("path", "line", "start", "end", "tokens", "bytes", "nll", "bits_per_byte")
WORST_COLUMNS = (*LINE_COLUMNS, "text")
TOKEN_COLUMNS = ("path", "line", "start", "end", "id", "logprob")
_LONGEST_SHOWN = 160
"""Characters of a line that are shown in a list."""


@dataclass(frozen=True, kw_only=True)
class ScoreEntry(Entry):
    """The report on one file.

    Attributes:
        score: its values; None if there are none.
        added: those of its added lines, where only they are judged.
        known: the bits per byte to compare with.
        text: its text, or the beginning, if it is shown.
    """

    score: "Score | None" = None
    added: "NllStats | None" = None
    known: float | None = None
    text: str | None = None

    @property
    def judged(self) -> "NllStats | None":
        """The value that the gates judge."""
        return self.score if self.added is None else self.added

    @property
    def bits(self) -> float:
        """The bits per byte to sort by; -1.0 if nothing was scored."""
        bits = None if self.judged is None else self.judged.bits_per_byte
        return -1.0 if bits is None else bits

    def to_dict(self) -> dict[str, Any]:
        """Return plain values in the order of the report."""
        values = super().to_dict() | nll_values(self.score)
        values["windows"] = 0 if self.score is None else self.score.windows
        if self.added is not None:
            values["added"] = nll_values(self.added)
        if self.known is not None:
            values["baseline_bits_per_byte"] = self.known
        if self.gate_result is not None:
            values["verdict"] = self.gate_result.verdict.value
            values["findings"] = list(self.gate_result.findings)
        return values


def nll_values(part: "NllStats | None") -> dict[str, Any]:
    """Return the numbers of a text; null if nothing was scored."""
    if part is None:
        return {"tokens": 0, "bytes": 0, "nll": None, "bits_per_byte": None, "perplexity": None}
    return {
        "tokens": part.tokens,
        "bytes": part.bytes,
        "nll": part.nll if part.tokens else None,
        "bits_per_byte": part.bits_per_byte,
        "perplexity": part.perplexity,
    }


class ScoreReport(Report[ScoreEntry]):
    """Writes entries as they arrive; with --sort, at the end, the most surprising first."""

    def __init__(
        self, options: ScoringOptions, table: ViewOptions, page: "Page | None" = None
    ) -> None:
        columns: Sequence[str] = FILE_COLUMNS
        if options.lines or options.tokens:
            columns = LINE_COLUMNS if options.lines else TOKEN_COLUMNS
        if table.worst is not None:
            columns = WORST_COLUMNS
        super().__init__(table.format, columns)
        self._page = page
        self._lines, self._tokens = options.lines, options.tokens
        self._heatmap = None
        if table.heatmap:
            from bigcode_cli.commands.score.heatmap import Heatmap

            self._heatmap = Heatmap(self.result)
        self._sort, self._most = table.sort, table.worst
        self._waiting: list[ScoreEntry] = []
        self._worst: list[tuple[float, str, ShownLine]] = []

    def add(self, entry: ScoreEntry) -> None:
        """See `Report`."""
        if self._page is not None:
            self._page.add(entry)
        if self._most is not None and entry.score is not None and entry.text is not None:
            from bigcode_cli.commands.score.views import most_surprising, shown_lines

            lines = most_surprising(shown_lines(entry.text, entry.score))[: self._most]
            found = [(line.bits_per_byte, entry.path, line) for line in lines]
            self._worst = nlargest(self._most, self._worst + found, key=lambda one: one[0])
        if self._sort:
            self._waiting.append(entry)
        else:
            super().add(entry)

    def close(self, summary: dict[str, Any]) -> None:
        """See `Report`."""
        if self._page is not None:
            self._page.write(summary)
        for entry in sorted(self._waiting, key=lambda entry: -entry.bits):
            super().add(entry)
        worst = [_worst_values(path, line) for _, path, line in self._worst]
        if self._most is not None and self._format == TableFormat.CSV:
            self.write_rows(worst)
        elif self._most is not None:
            summary = summary | {"worst": worst}
        super().close(summary)

    def document(self, entry: ScoreEntry) -> dict[str, Any]:
        """See `Report`."""
        values = entry.to_dict()
        if self._lines and entry.score is not None:
            values["lines"] = [_line_values(line) for line in self._chosen_lines(entry)]
        if self._tokens and entry.score is not None:
            values["token_scores"] = [asdict(token) for token in entry.score.token_scores]
        return values

    def rows(self, entry: ScoreEntry) -> list[dict[str, Any]]:
        """See `Report`."""
        path = {"path": entry.path}
        if self._most is not None:
            return []
        if self._lines:
            return [path | _line_values(line) for line in self._chosen_lines(entry)]
        if self._tokens:
            tokens = entry.score.token_scores if entry.score is not None else ()
            return [path | asdict(token) for token in tokens]
        return [entry.to_dict()]

    def write_text(self, entry: ScoreEntry) -> None:
        """See `Report`."""
        if entry.score is None:
            return
        path = safe(entry.path)
        if self._heatmap is not None and entry.text is not None:
            self.result.write(f"{path}\n")
            self._heatmap.write(entry.text, entry.score)
        if self._lines:
            for line in self._chosen_lines(entry):
                self.result.write(f"{path}:{line.line}: {_line_text(line)}\n")
        if self._tokens:
            for token in entry.score.token_scores:
                self.result.write(f"{path}:{token.line}: {_token_text(token)}\n")
        self.result.write(f"{path}: {describe(entry)}\n")

    def write_end(self, summary: dict[str, Any]) -> None:
        """See `Report`."""
        for bits, path, line in self._worst:
            text = safe(_shortened(line))
            self.result.write(f"{safe(path)}:{line.score.line}: {bits:.3f} bits/byte: {text}\n")
        if summary["scored"] > 1:
            self.result.write(f"{summary['scored']} files: {numbers(summary)}\n")

    def _chosen_lines(self, entry: ScoreEntry) -> "Sequence[LineScore]":
        """Return all lines; with --sort, those that are not blank, the most surprising first."""
        lines = () if entry.score is None else entry.score.lines
        if not self._sort:
            return lines
        data = (entry.text or "").encode()
        telling = [line for line in lines if line.end > len(data) or not _is_blank(data, line)]
        return sorted(telling, key=lambda line: -(line.bits_per_byte or 0.0))


def _is_blank(data: bytes, line: "LineScore") -> bool:
    return not data[line.start : line.end].strip()


def describe(entry: ScoreEntry) -> str:
    """Describe the result of a scored file."""
    what = "" if entry.added is None else "added lines: "
    findings = () if entry.gate_result is None else entry.gate_result.findings
    return "; ".join([f"{what}{numbers(nll_values(entry.judged))}", *findings])


def numbers(values: dict[str, Any]) -> str:
    """Format `nll_values` for people."""
    if values["bits_per_byte"] is None:
        return "nothing to score"
    perplexity = values["perplexity"]
    shown = "too large to show" if perplexity is None else f"{perplexity:.4g}"
    bits = f"{values['bits_per_byte']:.3f} bits/byte"
    return f"{bits}, perplexity {shown}, {plural(values['tokens'], 'token')}"


def _line_values(line: "LineScore") -> dict[str, Any]:
    return {
        "line": line.line,
        "start": line.start,
        "end": line.end,
        "tokens": line.tokens,
        "bytes": line.bytes,
        "nll": line.nll,
        "bits_per_byte": line.bits_per_byte,
    }


def _worst_values(path: str, line: "ShownLine") -> dict[str, Any]:
    return {"path": path} | _line_values(line.score) | {"text": line.text}


def _shortened(line: "ShownLine") -> str:
    text = line.text.strip()
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]} ..."


def _line_text(line: "LineScore") -> str:
    bits = line.bits_per_byte
    if bits is None:
        return "nothing to score"
    return f"{bits:.3f} bits/byte, {line.nll / log(2):.2f} bits, {plural(line.tokens, 'token')}"


def _token_text(token: "TokenScore") -> str:
    return f"bytes {token.start}-{token.end}: {-token.logprob / log(2):.2f} bits"
