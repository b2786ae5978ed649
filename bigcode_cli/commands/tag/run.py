"""Searches texts one after the other, and reports, redacts or records what is found."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigcode_cli.commands.tag.advice import advice
from bigcode_cli.commands.tag.baselines import Baseline
from bigcode_cli.commands.tag.findings import Finding, TagEntry
from bigcode_cli.commands.tag.fingerprints import Fingerprints
from bigcode_cli.commands.tag.masking import MaskedLine, spans_by_line
from bigcode_cli.commands.tag.options import TagFormat
from bigcode_cli.commands.tag.redact import redacted
from bigcode_cli.commands.tag.reports import TagReport
from bigcode_cli.commands.tag.suppressions import Allowances, Comments
from bigcode_cli.files.encodings import AnyDecoder
from bigcode_cli.files.results import (
    Entry,
    FileError,
    Totals,
    byte_counter,
    open_progress,
    report_all,
)
from bigcode_cli.files.sources import MAX_BYTES, KeptSource, Source, document_of, keep_text
from bigcode_cli.framework import output
from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.output import Notes, plural
from bigcode_cli.io.atomic_files import atomic_write, in_place_target
from gpt_bigcode.errors import GPTBigCodeError
from gpt_bigcode.text_form import without_line_end, without_mark

if TYPE_CHECKING:
    from bigcode_cli.files.progress import Progress
    from gpt_bigcode.labeling.options import TagOptions
    from gpt_bigcode.labeling.results import Span, Tagging
    from gpt_bigcode.labeling.text_tagger import TextTagger

Load = Callable[[], "TextTagger"]
SECRETS = frozenset({"KEY", "PASSWORD"})
"""Labels of what must be revoked, not only removed."""


class TagTotals(Totals):
    """The totals of all files.

    Attributes:
        searched: the files that were searched.
        with_findings: those with findings.
        labels: how often each label was found.
    """

    def __init__(self) -> None:
        super().__init__("searched")
        self.searched: list[str] = []
        self.with_findings: list[str] = []
        self.labels: Counter[str] = Counter()

    def add(self, entry: Entry) -> None:
        """See `Totals`."""
        super().add(entry)
        if not isinstance(entry, TagEntry):
            return
        if entry.status == "ok":
            self.searched.append(entry.path)
        if entry.findings:
            self.with_findings.append(entry.path)
        self.counts["findings"] += len(entry.findings)
        self.counts["allowed"] += entry.allowed
        self.counts["known"] += entry.known
        self.counts["redacted"] += entry.redacted or 0
        self.labels.update(finding.span.label for finding in entry.findings)

    def to_dict(self) -> dict[str, Any]:
        """See `Totals`."""
        names = ("findings", "allowed", "known", "redacted")
        counts = {name: self.counts[name] for name in names}
        return super().to_dict() | counts | {"labels": dict(sorted(self.labels.items()))}


@dataclass(frozen=True, kw_only=True)
class TagRun:
    """One call of the command.

    Attributes:
        options: which spans are findings.
        allowances: what the user allows.
        baseline: what is known; None: nothing.
        fingerprints: how findings are called.
        format: how they are shown.
        update: findings are written into the baseline.
        notes: where notes go.
    """

    options: "TagOptions"
    allowances: Allowances
    baseline: Baseline | None
    fingerprints: Fingerprints
    format: TagFormat
    update: bool
    notes: Notes

    def leaves_out(self, path: str) -> bool:
        """Whether a file is not to be searched: excluded, or the baseline itself."""
        is_baseline = self.baseline is not None and self.baseline.is_at(path)
        return is_baseline or self.allowances.exclude(path)

    def search(self, texts: Sequence[Source], load: Load) -> TagTotals:
        """Search the texts and write the report.

        Args:
            texts: without any, no model is loaded.
            load: loads the model.
        """
        model = load() if texts else None
        kept = [keep_text(text) for text in texts] if self.format is TagFormat.TEXT else texts
        progress = open_progress(texts, "tagging", quiet=self.notes.quiet)
        entries = iter(()) if model is None else self._search(kept, model, progress)
        return self._report(texts, entries, model, progress)

    def rewrite(self, texts: Sequence[Source], load: Load) -> TagTotals:
        """Redact files in place, and report how much was replaced."""
        model = load() if texts else None
        entries = iter(()) if model is None else self._rewrite(texts, model)
        return self._report(texts, entries, model, None)

    def filter(self, text: Source, load: Load) -> None:
        """Write one text to stdout, redacted."""
        model = load()
        result = output.Result()
        count = 0

        def wanted(span: "Span") -> bool:
            nonlocal count
            count += (chosen := self._is_open(text.path, span))
            return chosen

        try:
            with closing(text.open()) as stream:
                for piece in redacted(stream, model, self.options, wanted):
                    result.write_bytes(piece)
        except Failure as failure:
            raise Failure(failure.slug, f"{text.name}: {failure}", hint=failure.hint) from None
        except OSError as error:
            if error.filename is None:
                raise
            raise Failure("input", f"{text.name}: {error.strerror}") from None
        result.close()
        self.notes.detail(f"{count} redacted")

    def _report(
        self,
        texts: Sequence[Source],
        entries: Iterator[TagEntry],
        model: "TextTagger | None",
        progress: "Progress | None",
    ) -> TagTotals:
        report = TagReport(self.format)
        totals = TagTotals()
        found: set[tuple[str, str, str]] = set()
        update = self.baseline if self.update else None
        if update is not None:
            entries = (self._remembered(entry, found) for entry in entries)
        report_all(texts, entries, report, totals, self.notes, progress)
        if update is not None:
            self._write_baseline(update, found, totals)
        elif totals.counts["findings"]:
            self._advise(totals)
        origin: dict[str, str | None] = {"model": None, "revision": None}
        if model is not None:
            origin = {"model": model.name, "revision": model.revision}
        report.close(totals.to_dict() | origin)
        return totals

    def _advise(self, totals: TagTotals) -> None:
        count, files = totals.counts["findings"], len(totals.with_findings)
        self.notes.note(f"{plural(count, 'finding')} in {plural(files, 'file')}")
        baseline = None if self.baseline is None else str(self.baseline.file)
        secrets = not SECRETS.isdisjoint(totals.labels)
        for line in advice(totals.with_findings, secrets=secrets, baseline=baseline):
            self.notes.note(line)

    def _search(
        self, texts: Sequence[Source], model: "TextTagger", progress: "Progress | None"
    ) -> Iterator[TagEntry]:
        from gpt_bigcode.labeling.options import TagOptions

        comments, advance = [Comments(text.path) for text in texts], byte_counter(progress)
        decoders = [AnyDecoder() for _ in texts]
        documents = (
            document_of(text, one.watch(replace(text, decoder=decoder).pieces(advance)))
            for text, one, decoder in zip(texts, comments, decoders, strict=True)
        )
        # Every span is needed: what is not reported must not be shown either. Labels that are
        # asked for are named, so that the model refuses those that it does not have.
        named = {*(self.options.labels or ()), *self.options.min_scores}
        every = TagOptions(min_score=0.0, min_scores=dict.fromkeys(named, 0.0))
        outcomes = model.tag_many(documents, every)
        rows = zip(texts, comments, decoders, outcomes, strict=True)
        for text, one, decoder, outcome in rows:
            if isinstance(outcome, Exception):
                yield _failed(text, outcome, alone=len(texts) == 1)
            else:
                yield self._judged(text, one, _placed(outcome, decoder))

    def _judged(self, text: Source, comments: Comments, tagging: "Tagging") -> TagEntry:
        spans, allowed, known = [], 0, 0
        for span in filter(self.options.accept, tagging.spans):
            if text.added is not None and not _is_added(span, text.added):
                continue
            if self._is_allowed(span, comments):
                allowed += 1
            elif self._is_known(text.path, span.label, span.text):
                known += 1
            else:
                spans.append(span)
        held = text.take() if isinstance(text, KeptSource) else ""
        lines = without_mark(held).split("\n") if spans else []
        wanted = {span.start_line for span in spans if span.start_line <= len(lines)}
        masked = {
            number: MaskedLine(without_line_end(lines[number - 1]), number, touching)
            for number, touching in spans_by_line(tagging.spans, wanted).items()
        }
        return TagEntry(
            path=text.path,
            windows=tagging.windows,
            findings=tuple(self._finding(span, masked.get(span.start_line)) for span in spans),
            allowed=allowed,
            known=known,
        )

    def _is_allowed(self, span: "Span", comments: Comments) -> bool:
        named = self.options.labels is not None  # who asks for names gets those of authors too
        attributed = not named and comments.attribute(span)
        return attributed or comments.allow(span) or self.allowances.allow(span)

    def _finding(self, span: "Span", line: MaskedLine | None) -> Finding:
        from gpt_bigcode.labeling.rules.providers import provider_of

        return Finding(
            span=span,
            fingerprint=self.fingerprints.of(span.label, span.text),
            provider=provider_of(span.text) if span.label == "KEY" else None,
            masked=None if line is None else line.around(span),
        )

    def _is_known(self, path: str, label: str, text: str) -> bool:
        if self.baseline is None or self.update:
            return False
        fingerprint = self.fingerprints.of(label, text)
        return self.baseline.entry(path, label, fingerprint) in self.baseline.known

    def _is_open(self, path: str, span: "Span") -> bool:
        """Whether a span is to be redacted: what a text says of itself does not count here."""
        return not self.allowances.allow(span) and not self._is_known(path, span.label, span.text)

    def _rewrite(self, texts: Sequence[Source], model: "TextTagger") -> Iterator[TagEntry]:
        for text in texts:
            try:
                yield TagEntry(path=text.path, redacted=self._rewritten(text, model))
            except (Failure, GPTBigCodeError) as error:
                yield _failed(text, error, alone=len(texts) == 1)

    def _rewritten(self, text: Source, model: "TextTagger") -> int:
        """Redact one file; how many spans were replaced."""
        from io import BytesIO

        target = in_place_target(Path(text.path), MAX_BYTES)
        spans: list[Span] = []

        def wanted(span: "Span") -> bool:
            chosen = self._is_open(text.path, span)
            spans.extend([span] * chosen)
            return chosen

        new = b"".join(redacted(BytesIO(target.data), model, self.options, wanted))
        atomic_write(target, new)
        return len(spans)

    def _remembered(self, entry: TagEntry, found: set[tuple[str, str, str]]) -> TagEntry:
        """Move the findings of a file to what the baseline is to hold: path, label and text."""
        found |= {(entry.path, one.span.label, one.span.text) for one in entry.findings}
        return replace(entry, findings=(), known=len(entry.findings))

    def _write_baseline(
        self, baseline: Baseline, found: set[tuple[str, str, str]], totals: TagTotals
    ) -> None:
        count, written = baseline.update(found, totals.searched, self.fingerprints)
        what = "written" if written else "unchanged"
        self.notes.note(f"{baseline.file}: {what}, {plural(count, 'finding')}")


def _failed(text: Source, error: Exception, *, alone: bool) -> TagEntry:
    fault = FileError.of(text, error, alone=alone)
    # What was written for one file alone names it once more.
    detail = fault.detail.removeprefix(f"{text.path}: ")
    return TagEntry(path=text.path, fault=replace(fault, detail=detail))


def _placed(tagging: "Tagging", decoder: AnyDecoder) -> "Tagging":
    """The same spans by the bytes of the file, which need not be UTF-8."""
    if decoder.is_plain:
        return tagging
    place = decoder.file_offset
    spans = (replace(one, start=place(one.start), end=place(one.end)) for one in tagging.spans)
    return replace(tagging, spans=tuple(spans))


def _is_added(span: "Span", added: Sequence[range]) -> bool:
    """Whether one of the lines of a span is among the added ones."""
    last = span.end_line
    return any(lines.start <= last and span.start_line < lines.stop for lines in added)
