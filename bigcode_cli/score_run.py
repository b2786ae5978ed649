"""Scores texts one after the other: hands them to the model, judges and reports what comes back.

Knows nothing of the command line.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bigcode_cli import output
from bigcode_cli.failures import ExitStatus, Failure
from bigcode_cli.gates import Gates, Verdict
from bigcode_cli.output import Notes
from bigcode_cli.progress import Progress
from bigcode_cli.reports import Entry, Report, surprise_values
from bigcode_cli.score_options import ScoringOptions, TableOptions, Window
from bigcode_cli.sources import SKIPPED, Source
from gpt_bigcode.errors import GPTBigCodeError

if TYPE_CHECKING:
    from gpt_bigcode.scores import Score, Surprise
    from gpt_bigcode.scoring import TextScorer


@dataclass(frozen=True, kw_only=True)
class ScoreRun:
    """One call of the command.

    Attributes:
        options: how texts are scored.
        gates: when they are too surprising.
        table: how results are shown.
        notes: where the notes go.
    """

    options: ScoringOptions
    gates: Gates
    table: TableOptions
    notes: Notes

    def execute(self, texts: Sequence[Source], load: Callable[[], "TextScorer"]) -> ExitStatus:
        """Score the texts and write the report; an error beats a finding.

        Args:
            texts: what to score; without any, no model is loaded.
            load: loads the model.
        """
        progress = Progress(sum(text.size for text in texts), quiet=self.table.quiet)
        model = load() if texts else None
        outcomes = () if model is None else self._outcomes(texts, model, progress)
        report = Report(self.table.format, lines=self.options.lines, tokens=self.options.tokens)
        total = _Total()
        try:
            for text, outcome in zip(texts, outcomes, strict=True):
                entry = self._entry(text, outcome, alone=len(texts) == 1)
                progress.clear()
                self._explain(text, entry)
                report.add(entry)
                total.add(entry)
        finally:
            progress.clear()
        report.close(total.to_dict() | self._origin(model))
        return total.status

    def _outcomes(
        self, texts: Sequence[Source], model: "TextScorer", progress: Progress
    ) -> Iterator["Score | Exception"]:
        from gpt_bigcode.scoring import ScoreOptions
        from gpt_bigcode.windows import WindowMode

        options = ScoreOptions(
            mode=WindowMode(self.options.window.value),
            stride=self.options.stride,
            # Added lines are judged by the values of lines.
            lines=self.options.lines or any(text.added is not None for text in texts),
            tokens=self.options.tokens,
        )
        return model.score_many((text.pieces(progress.advance) for text in texts), options)

    def _entry(self, text: Source, outcome: "Score | Exception", *, alone: bool) -> Entry:
        if isinstance(outcome, Failure):
            # The only file that somebody asked for is not passed over.
            refused = alone and text.named and outcome.slug != "empty"
            status = "skipped" if outcome.slug in SKIPPED and not refused else "error"
            return Entry(path=text.path, status=status, reason=outcome.slug, detail=str(outcome))
        if isinstance(outcome, GPTBigCodeError):
            return Entry(path=text.path, status="error", reason=outcome.slug, detail=str(outcome))
        if isinstance(outcome, Exception):
            raise outcome
        return self._judged(text, outcome)

    def _judged(self, text: Source, score: "Score") -> Entry:
        from gpt_bigcode.scores import Surprise

        added, shown = None, score
        if text.added is not None:
            lines = tuple(line for line in score.lines if _is_in(line.line, text.added))
            tokens = tuple(one for one in score.token_scores if _is_in(one.line, text.added))
            added, shown = Surprise.pooled(lines), replace(score, lines=lines, token_scores=tokens)
        return Entry(
            path=text.path,
            status="ok",
            score=shown,
            added=added,
            judgement=self.gates.judge(text.path, score if added is None else added, score),
        )

    def _explain(self, text: Source, entry: Entry) -> None:
        if entry.status == "error":
            output.complain(str(entry.reason), f"{entry.path}: {entry.detail}")
        elif entry.status == "skipped" and text.named:
            self.notes.note(f"{entry.path}: skipped: {entry.detail}")
        elif entry.status == "skipped":
            self.notes.detail(f"{entry.path}: skipped: {entry.detail}")

    def _origin(self, model: "TextScorer | None") -> dict[str, Any]:
        """What made the values, so that a report can be compared with another."""
        if model is None:
            return {"model": None, "revision": None}
        context = model.scorer.context_length
        stride = self.options.stride or max(context // 2, 1)
        return {
            "model": model.name,
            "revision": model.revision,
            "window": self.options.window.value,
            "stride": stride if self.options.window is Window.STRIDED else None,
            "context_length": context,
        }


def _is_in(number: int, ranges: Iterable[range]) -> bool:
    return any(number in lines for lines in ranges)


class _Total:
    """What all files come to."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._sum: Surprise | None = None

    @property
    def status(self) -> ExitStatus:
        """An error beats a finding."""
        if self.counts["error"]:
            return ExitStatus.FAILED
        return ExitStatus.FINDINGS if self.counts[Verdict.FAIL] else ExitStatus.DONE

    def add(self, entry: Entry) -> None:
        self.counts[entry.status] += 1
        if entry.judgement is not None:
            self.counts[entry.judgement.verdict] += 1
        if entry.score is not None:
            part = entry.score if entry.added is None else entry.added
            self._sum = part.pooled([part] if self._sum is None else [self._sum, part])

    def to_dict(self) -> dict[str, Any]:
        return {
            "files": self.counts["ok"] + self.counts["skipped"] + self.counts["error"],
            "scored": self.counts["ok"],
            "skipped": self.counts["skipped"],
            "errors": self.counts["error"],
            "failed": self.counts[Verdict.FAIL],
            **surprise_values(self._sum),
        }
