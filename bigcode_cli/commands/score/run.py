"""Scores texts one after the other: hands them to the model, judges and reports what comes back.

Knows nothing of the command line.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from bigcode_cli.commands.score.gates import Gates
from bigcode_cli.commands.score.html_page import Page
from bigcode_cli.commands.score.options import ScoringOptions, ViewOptions, Window
from bigcode_cli.commands.score.reports import Entry, Report, surprise_values
from bigcode_cli.commands.score.views import keep_text
from bigcode_cli.files.file_errors import Fault
from bigcode_cli.files.progress import Progress
from bigcode_cli.files.result_cache import Memory, Remembered, ResultCache, model_scope
from bigcode_cli.files.sources import Source
from bigcode_cli.files.verdict import Verdict
from bigcode_cli.framework.errors import ExitStatus
from bigcode_cli.framework.options import KeptModelOptions
from bigcode_cli.framework.output import Notes
from bigcode_cli.models.resolve import Found

if TYPE_CHECKING:
    from gpt_bigcode.scoring.results import Score, Surprise
    from gpt_bigcode.scoring.text_scorer import TextScorer


@dataclass(frozen=True, kw_only=True)
class ScoreRun:
    """One call of the command.

    Attributes:
        options: how texts are scored.
        gates: when they are too surprising.
        table: how results are shown.
        notes: where the notes go.
        found: the model.
        model: how it runs.
        page: the file that the results are also written to, as a page.
    """

    options: ScoringOptions
    gates: Gates
    table: ViewOptions
    notes: Notes
    found: Found
    model: KeptModelOptions
    page: Page | None = None

    def execute(self, texts: Sequence[Source], load: Callable[[], "TextScorer"]) -> ExitStatus:
        """Score the texts and write the report; an error beats a finding.

        Args:
            texts: what to score.
            load: loads the model; called if there is a text whose values are not known yet.
        """
        origin = self._origin()
        progress = Progress(sum(text.size for text in texts), quiet=self.table.quiet)
        kept = [keep_text(text) for text in texts] if self._shows_texts else []
        outcomes = self._outcomes(kept or texts, load, progress)
        report = Report(self.table, lines=self.options.lines, tokens=self.options.tokens)
        total = _Total()
        try:
            for place, outcome in enumerate(outcomes):
                text = texts[place]
                entry = self._entry(text, outcome, alone=len(texts) == 1)
                if kept:
                    entry = replace(entry, text=kept[place].take())
                progress.clear()
                if entry.fault is not None:
                    entry.fault.explain(text, self.notes)
                report.add(entry)
                total.add(entry)
                if self.page is not None:
                    self.page.add(entry)
        finally:
            progress.clear()
        if outcomes.found:
            self.notes.detail(f"{outcomes.found} of {len(texts)} files had been scored before")
        summary = total.to_dict() | origin
        if self.page is not None:
            self.page.write(summary)
        report.close(summary)
        return total.status

    @property
    def _shows_texts(self) -> bool:
        return self.table.heatmap or self.page is not None

    def _outcomes(
        self, texts: Sequence[Source], load: Callable[[], "TextScorer"], progress: Progress
    ) -> "Remembered[Score]":
        details = {
            # Added lines are judged by the values of lines.
            "lines": self.options.lines
            or self._shows_texts
            or any(text.added is not None for text in texts),
            "tokens": self.options.tokens or self._shows_texts,
        }
        window = {"mode": self.options.window.value, "stride": self.options.stride}
        scope = {
            "job": "score",
            **window,
            **details,
            **model_scope(self.found.directory, self.model),
        }
        # The ids of its tokens are a text: they are not kept.
        enabled = not self.table.no_cache and not details["tokens"]
        cache = ResultCache.open(scope, enabled=enabled)

        def compute(documents: Iterable[Iterator[str]]) -> Iterator["Score | Exception"]:
            from gpt_bigcode.scoring.text_scorer import ScoreOptions
            from gpt_bigcode.scoring.windows import WindowMode

            model = load()
            now = model_scope(self.found.directory, self.model)
            cache.writable = scope == {**scope, **now}  # not if it was replaced meanwhile
            mode = WindowMode(self.options.window.value)
            options = ScoreOptions(mode=mode, stride=self.options.stride, **details)
            return model.score_many(documents, options)

        return Remembered(texts, Memory(cache, asdict, _unpack), compute, progress.advance)

    def _entry(self, text: Source, outcome: "Score | Exception", *, alone: bool) -> Entry:
        if isinstance(outcome, Exception):
            return Entry(path=text.path, fault=Fault.of(text, outcome, alone=alone))
        return self._judged(text, outcome)

    def _judged(self, text: Source, score: "Score") -> Entry:
        from gpt_bigcode.scoring.results import Surprise

        added, shown = None, score
        if text.added is not None:
            lines = tuple(line for line in score.lines if _is_in(line.line, text.added))
            tokens = tuple(one for one in score.token_scores if _is_in(one.line, text.added))
            added, shown = Surprise.pooled(lines), replace(score, lines=lines, token_scores=tokens)
        return Entry(
            path=text.path,
            score=shown,
            added=added,
            judgement=self.gates.judge(text.path, score if added is None else added, score),
        )

    def _origin(self) -> dict[str, Any]:
        """What makes the values, so that a report can be compared with another.

        Raises:
            OptionError: a stride that this model cannot have.
        """
        from gpt_bigcode.config import GPTBigCodeConfig
        from gpt_bigcode.scoring.windows import WindowMode, WindowPlan

        context = GPTBigCodeConfig.from_json_file(self.found.directory / "config.json").n_positions
        mode = WindowMode(self.options.window.value)
        plan = WindowPlan(context_length=context, mode=mode, stride=self.options.stride)
        return {
            "model": self.found.name,
            "revision": self.found.revision,
            "window": self.options.window.value,
            "stride": plan.step if self.options.window is Window.STRIDED else None,
            "context_length": context,
        }


def _unpack(values: dict[str, Any]) -> "Score":
    from gpt_bigcode.scoring.results import LineScore, Score

    lines = tuple(LineScore(**line) for line in values.pop("lines"))
    return Score(**values | {"lines": lines, "token_scores": ()})


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
