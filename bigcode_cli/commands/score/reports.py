"""How scores are shown: a line a file, JSON, JSONL or CSV.

Knows nothing of how they were computed or judged.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bigcode_cli.commands.score.heatmap import Heatmap
from bigcode_cli.commands.score.options import ViewOptions
from bigcode_cli.files.file_errors import Fault
from bigcode_cli.files.options import TableFormat
from bigcode_cli.files.verdict import Judgement, bytes_of_name, csv_rows
from bigcode_cli.framework.output import Result, safe

if TYPE_CHECKING:
    from gpt_bigcode.scoring.results import LineScore, Score, Surprise, TokenScore

FILE_COLUMNS = (
    *("path", "status", "reason", "tokens", "bytes", "nll", "bits_per_byte", "perplexity"),
    *("windows", "verdict"),
)
LINE_COLUMNS = ("path", "line", "start", "end", "tokens", "bytes", "nll", "bits_per_byte")
TOKEN_COLUMNS = ("path", "line", "start", "end", "id", "logprob")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is reported of one file.

    Attributes:
        path: its name, as the system spells it.
        score: its values; None if there are none.
        fault: why.
        added: those of its added lines, where only they are judged.
        judgement: what the gates say.
        text: what was read, or its beginning, where it is to be shown.
    """

    path: str
    score: "Score | None" = None
    fault: Fault | None = None
    added: "Surprise | None" = None
    judgement: Judgement | None = None
    text: str | None = None

    @property
    def status(self) -> str:
        """One of ok, skipped, error."""
        return "ok" if self.fault is None else self.fault.status

    def to_dict(self) -> dict[str, Any]:
        """Plain values in the order of the report."""
        values: dict[str, Any] = {"path": self.path, "status": self.status}
        values |= bytes_of_name(self.path)
        if self.fault is not None:
            values |= {"reason": self.fault.reason, "detail": self.fault.detail}
        values |= surprise_values(self.score)
        values["windows"] = 0 if self.score is None else self.score.windows
        if self.added is not None:
            values["added"] = surprise_values(self.added)
        if self.judgement is not None:
            values["verdict"] = self.judgement.verdict.value
            values["findings"] = list(self.judgement.findings)
        return values


def surprise_values(part: "Surprise | None") -> dict[str, Any]:
    """The numbers of a text; null where nothing was scored."""
    if part is None:
        return {"tokens": 0, "bytes": 0, "nll": None, "bits_per_byte": None, "perplexity": None}
    return {
        "tokens": part.tokens,
        "bytes": part.bytes,
        "nll": part.nll if part.tokens else None,
        "bits_per_byte": part.bits_per_byte,
        "perplexity": part.perplexity,
    }


class Report:
    """Writes entries as they come, or all together where the format asks for it."""

    def __init__(self, table: ViewOptions, *, lines: bool, tokens: bool) -> None:
        self._format = table.format
        self._lines, self._tokens = lines, tokens
        self._result = Result()
        self._heatmap = Heatmap(self._result) if table.heatmap else None
        self._files: list[dict[str, Any]] = []
        if table.format is TableFormat.CSV:
            columns = LINE_COLUMNS if lines else TOKEN_COLUMNS if tokens else FILE_COLUMNS
            self._columns = columns
            self._write_rows([dict(zip(columns, columns, strict=True))])

    def add(self, entry: Entry) -> None:
        """Take what is to be reported of a file."""
        match self._format:
            case TableFormat.TEXT:
                self._write_text(entry)
            case TableFormat.JSON:
                self._files.append(self._document(entry))
            case TableFormat.JSONL:
                self._result.write_json(self._document(entry), indent=None)
            case TableFormat.CSV:
                self._write_rows(self._rows(entry))

    def close(self, summary: dict[str, Any]) -> None:
        """Write what belongs at the end."""
        if self._format is TableFormat.JSON:
            self._result.write_json({"files": self._files, "summary": summary}, indent=2)
        elif self._format is TableFormat.TEXT and summary["scored"] > 1:
            self._result.write(f"{summary['scored']} files: {numbers(summary)}\n")
        self._result.close()

    def _document(self, entry: Entry) -> dict[str, Any]:
        values = entry.to_dict()
        if self._lines and entry.score is not None:
            values["lines"] = [_line_values(line) for line in entry.score.lines]
        if self._tokens and entry.score is not None:
            values["token_scores"] = [asdict(token) for token in entry.score.token_scores]
        return values

    def _rows(self, entry: Entry) -> list[dict[str, Any]]:
        path = {"path": entry.path}
        if self._lines:
            lines = entry.score.lines if entry.score is not None else ()
            return [path | _line_values(line) for line in lines]
        if self._tokens:
            tokens = entry.score.token_scores if entry.score is not None else ()
            return [path | asdict(token) for token in tokens]
        return [entry.to_dict()]

    def _write_rows(self, rows: list[dict[str, Any]]) -> None:
        self._result.write(csv_rows(self._columns, rows))

    def _write_text(self, entry: Entry) -> None:
        if entry.score is None:
            return
        path = safe(entry.path)
        if self._heatmap is not None and entry.text is not None:
            self._result.write(f"{path}\n")
            self._heatmap.write(entry.text, entry.score)
        if self._lines:
            for line in entry.score.lines:
                self._result.write(f"{path}:{line.line}: {_line_text(line)}\n")
        if self._tokens:
            for token in entry.score.token_scores:
                self._result.write(f"{path}:{token.line}: {_token_text(token)}\n")
        self._result.write(f"{path}: {describe(entry)}\n")


def describe(entry: Entry) -> str:
    """What came out for a file that was scored, as half a sentence."""
    judged = entry.score if entry.added is None else entry.added
    what = "" if entry.added is None else "added lines: "
    findings = () if entry.judgement is None else entry.judgement.findings
    return "; ".join([f"{what}{numbers(surprise_values(judged))}", *findings])


def numbers(values: dict[str, Any]) -> str:
    """The values of `surprise_values` for people."""
    if values["bits_per_byte"] is None:
        return "nothing to score"
    perplexity = values["perplexity"]
    shown = "beyond measure" if perplexity is None else f"{perplexity:.4g}"
    bits = f"{values['bits_per_byte']:.3f} bits/byte"
    return f"{bits}, perplexity {shown}, {values['tokens']} tokens"


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


def _line_text(line: "LineScore") -> str:
    bits = line.bits_per_byte
    shown = "nothing to score" if bits is None else f"{bits:.3f} bits/byte"
    return f"{shown}, nll {line.nll:.3f}, {line.tokens} tokens"


def _token_text(token: "TokenScore") -> str:
    return f"bytes {token.start}-{token.end}: logprob {token.logprob:.3f}"
