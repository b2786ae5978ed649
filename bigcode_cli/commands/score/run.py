"""Scores texts one after the other, judges them and reports the results."""

import os
from array import array
from base64 import b64decode, b64encode
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bigcode_cli.commands.score.gates import Gates
from bigcode_cli.commands.score.options import ScoringOptions, ViewOptions, Windowing
from bigcode_cli.commands.score.reports import ScoreEntry, ScoreReport, nll_values
from bigcode_cli.files.result_cache import CachedResults, ResultCache, StoredForm, model_scope
from bigcode_cli.files.results import (
    Entry,
    FileError,
    Totals,
    byte_counter,
    open_progress,
    report_all,
)
from bigcode_cli.files.sources import KeptSource, Source, keep_text, repository_top
from bigcode_cli.framework.options import KeptModelOptions, TableFormat
from bigcode_cli.framework.output import Notes
from bigcode_cli.models.resolve import Found

if TYPE_CHECKING:
    from bigcode_cli.commands.score.html_page import Page
    from bigcode_cli.files.progress import Progress
    from gpt_bigcode.scoring.results import NllStats, Score
    from gpt_bigcode.scoring.text_scorer import TextScorer


Load = Callable[[], "TextScorer"]
_SHARED_BYTES, _SHARED_TOKENS = 300_000, 60_000  # more do not fit into an entry of the cache
_NO_ID = -1  # of a token whose value was kept: no view but --tokens shows ids


@dataclass(frozen=True, kw_only=True)
class ScoreRun:
    """One call of the command.

    Attributes:
        options: how texts are scored.
        gates: when they fail.
        table: how results are shown.
        notes: where notes go.
        found: the model.
        model: how it runs.
        page: the page that results are also written to.
    """

    options: ScoringOptions
    gates: Gates
    table: ViewOptions
    notes: Notes
    found: Found
    model: KeptModelOptions
    page: "Page | None" = None

    def execute(self, texts: Sequence[Source], load: "Load") -> "ScoreTotals":
        """Score the texts and write the report.

        Args:
            texts: what to score.
            load: loads the model; called at the first cache miss.
        """
        origin = self._origin()
        progress = open_progress(texts, "scoring", quiet=self.table.quiet)
        shown = [keep_text(text) for text in texts] if self._keeps_texts else list(texts)
        pasts = [text.past if self.gates.head else None for text in texts]
        # A file is scored right after its version in HEAD, if it is compared with that.
        scored = [self._scored(text) for text in shown]
        work = [one for pair in zip(pasts, scored, strict=True) for one in pair if one is not None]
        by_line = any(text.added is not None for text in texts)  # of which added lines are judged
        outcomes = self._outcomes(work, load, progress, by_line=by_line)
        totals = ScoreTotals(self.gates)
        entries = self._entries(shown, pasts, iter(outcomes))
        report = ScoreReport(self.options, self.table, self.page)
        report_all(texts, entries, report, totals, self.notes, progress)
        if outcomes.found:
            self.notes.detail(f"{outcomes.found} of {len(work)} files had been scored before")
        report.close(totals.to_dict() | origin)
        return totals

    def _entries(
        self,
        texts: Sequence[Source],
        pasts: Sequence[Source | None],
        outcomes: Iterator["Score | Exception"],
    ) -> Iterator[ScoreEntry]:
        for text, past in zip(texts, pasts, strict=True):
            before = None if past is None else next(outcomes)
            old = None if isinstance(before, Exception) else before
            entry = self._entry(text, next(outcomes), old, alone=len(texts) == 1)
            yield replace(entry, text=text.take()) if isinstance(text, KeptSource) else entry

    def _scored(self, text: Source) -> Source:
        """A text as it is scored: of an excerpt only its windows, unless all values are needed."""
        whole = self._shows_texts or self.table.format is not TableFormat.TEXT
        if whole or text.past is None or self.gates.baseline is not None:
            return replace(text, added=None)
        return text

    @property
    def _shows_texts(self) -> bool:
        return self.table.heatmap or self.page is not None

    @property
    def _keeps_texts(self) -> bool:
        """Whether the text of lines is needed."""
        listed = self.options.lines and self.table.sort
        return self._shows_texts or self.table.worst is not None or listed

    def _outcomes(
        self,
        texts: Sequence[Source],
        load: "Load",
        progress: "Progress | None",
        *,
        by_line: bool,
    ) -> "CachedResults[Score]":
        # Values of lines and tokens cost nothing extra: cached once, they serve every later view.
        shared = not self.table.no_cache and all(_is_small(text) for text in texts)
        details = {
            "lines": shared or self.options.lines or self._keeps_texts or by_line,
            "tokens": shared or self.options.tokens or self._shows_texts,
        }
        window = {"mode": self.options.window.value, "stride": self.options.stride}
        scope = {
            "job": "score",
            **window,
            **details,
            **model_scope(self.found.directory, self.model),
        }
        # Token ids reveal the text: they are not cached.
        enabled = not self.table.no_cache and not self.options.tokens
        cache = ResultCache.open(scope, enabled=enabled)
        advance = byte_counter(progress)

        def compute(documents: Iterable[Iterable[str]]) -> Iterator["Score | Exception"]:
            from gpt_bigcode.scoring.results import ScoreOptions
            from gpt_bigcode.windowing.score_windows import WindowMode

            model = load()
            if hasattr(model, "on_scored"):  # not a server's: all is read before the first value
                model.on_scored, outcomes.counts_reading = advance, False
            now = model_scope(self.found.directory, self.model)
            cache.writable = scope == {**scope, **now}  # unless the model was replaced meanwhile
            mode = WindowMode(self.options.window.value)
            options = ScoreOptions(mode=mode, stride=self.options.stride, **details)
            return model.score_many(documents, options)

        form = StoredForm(_pack, partial(_unpack, whole=self._shows_texts), _is_whole)
        outcomes = CachedResults(texts, cache, form, compute, advance)
        return outcomes

    def _entry(
        self, text: Source, outcome: "Score | Exception", past: "Score | None", *, alone: bool
    ) -> ScoreEntry:
        if isinstance(outcome, Exception):
            return ScoreEntry(path=text.path, fault=FileError.of(text, outcome, alone=alone))
        from gpt_bigcode.scoring.results import NllStats, TokenScores

        added, shown = None, outcome
        if text.added is not None:
            lines = tuple(line for line in outcome.lines if _is_in(line.line, text.added))
            tokens = TokenScores.of(
                one for one in outcome.token_scores if _is_in(one.line, text.added)
            )
            added, shown = (
                NllStats.pooled(lines),
                replace(outcome, lines=lines, token_scores=tokens),
            )
        known = self.gates.known(text.path, past)
        gate_result = self.gates.judge(outcome if added is None else added, outcome, known)
        return ScoreEntry(
            path=text.path, score=shown, added=added, known=known, gate_result=gate_result
        )

    def _origin(self) -> dict[str, Any]:
        """Return what the values depend on, so that reports can be compared.

        Raises:
            OptionError: the stride does not fit this model.
        """
        from gpt_bigcode.config import GPTBigCodeConfig
        from gpt_bigcode.windowing.score_windows import ScoreWindows, WindowMode

        context = GPTBigCodeConfig.from_json_file(self.found.directory / "config.json").n_positions
        mode = WindowMode(self.options.window.value)
        plan = ScoreWindows(context_length=context, mode=mode, stride=self.options.stride)
        return {
            "model": self.found.name,
            "revision": self.found.revision,
            "window": self.options.window.value,
            "stride": plan.step if self.options.window is Windowing.STRIDED else None,
            "context_length": context,
            "directory": _directory(),
        }


def _is_small(text: Source) -> bool:
    """Tell whether the values of all tokens of a text fit into a cache entry."""
    return text.repeatable and text.size <= _SHARED_BYTES


def _is_whole(score: "Score", size: int) -> bool:
    """Whether a text of `size` bytes is one window, so that an excerpt has all values."""
    return score.windows == 1 and score.bytes == size


def _pack(score: "Score") -> dict[str, Any]:
    """Pack a score without the ids of its tokens, which reveal the text."""
    tokens = score.token_scores if score.tokens <= _SHARED_TOKENS else ()
    if tokens and tokens[-1].end - tokens[0].start != score.bytes:
        tokens = ()  # of an excerpt: they do not follow each other
    lines = [[one.tokens, one.bytes, one.nll, one.start, one.end] for one in score.lines]
    return {
        "tokens": score.tokens,
        "bytes": score.bytes,
        "nll": score.nll,
        "windows": score.windows,
        "lines": lines,
        "start": tokens[0].start if tokens else 0,
        "lengths": _encoded(array("H", (one.end - one.start for one in tokens))),
        "logprobs": _encoded(array("d", (one.logprob for one in tokens))),
    }


def _unpack(values: dict[str, Any], *, whole: bool) -> "Score":
    """Unpack a cached score.

    Raises:
        LookupError: the values of its tokens are needed, and were too many to cache.
    """
    from gpt_bigcode.scoring.results import LineScore, Score, TokenScores

    names = ("tokens", "bytes", "nll", "start", "end")
    lines = tuple(
        LineScore(line=number, **dict(zip(names, line, strict=True)))
        for number, line in enumerate(values.pop("lines"), 1)
    )
    starts = [line.start for line in lines]
    place, tokens = values.pop("start"), TokenScores()
    lengths, logprobs = _decoded("H", values.pop("lengths")), _decoded("d", values.pop("logprobs"))
    for length, logprob in zip(lengths, logprobs, strict=True):
        tokens.append(_NO_ID, place, place + length, bisect_right(starts, place), logprob)
        place += length
    if whole and len(tokens) != values["tokens"]:
        raise LookupError("values of tokens")
    return Score(**values, lines=lines, token_scores=tokens)


def _encoded(numbers: "array[Any]") -> str:
    return b64encode(numbers.tobytes()).decode()


def _decoded(kind: str, text: str) -> "array[Any]":
    return array(kind, b64decode(text, validate=True))


def _is_in(number: int, ranges: Iterable[range]) -> bool:
    return any(number in lines for lines in ranges)


class ScoreTotals(Totals):
    """The totals of all files."""

    def __init__(self, gates: Gates) -> None:
        super().__init__("scored")
        self._gates = gates
        self._unknown = 0
        self._sum: NllStats | None = None

    def add(self, entry: Entry) -> None:
        """See `Totals`."""
        super().add(entry)
        part = entry.judged if isinstance(entry, ScoreEntry) else None
        if part is not None:
            self._sum = part.pooled([part] if self._sum is None else [self._sum, part])
        self._unknown += isinstance(entry, ScoreEntry) and part is not None and entry.known is None

    def close(self, notes: Notes) -> None:
        """See `Totals`."""
        if self._gates.compare and self._unknown:
            sentence = self._gates.unknown_files(self._unknown, self.counts["ok"])
            if self._unknown == self.counts["ok"]:
                self.not_judged.append(sentence)
            else:
                notes.note(sentence)
        super().close(notes)

    def to_dict(self) -> dict[str, Any]:
        """See `Totals`."""
        compared = self.counts["ok"] - self._unknown if self._gates.compare else None
        return {
            **super().to_dict(),
            "failed": self.counts["failed"],
            **({} if compared is None else {"compared": compared}),
            **nll_values(self._sum),
        }


def _directory() -> str:
    """Return the folder that a report's paths are relative to, in a repository from its top."""
    here = os.path.realpath(os.curdir)
    top = repository_top(here)
    return here if top is None else os.path.relpath(here, top)
