"""Searches texts one after the other: hands them to the model, judges and reports what comes back.

Knows nothing of the command line.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigcode_cli.commands.tag.baselines import Baseline
from bigcode_cli.commands.tag.findings import Finding, TagEntry
from bigcode_cli.commands.tag.fingerprints import Fingerprints
from bigcode_cli.commands.tag.options import TagFormat
from bigcode_cli.commands.tag.redact import redacted
from bigcode_cli.commands.tag.reports import TagReport
from bigcode_cli.commands.tag.suppressions import Allowances, Comments
from bigcode_cli.files.encodings import AnyDecoder
from bigcode_cli.files.file_errors import Fault
from bigcode_cli.files.progress import Progress
from bigcode_cli.files.sources import MAX_BYTES, Source
from bigcode_cli.framework import output
from bigcode_cli.framework.errors import ExitStatus, Failure
from bigcode_cli.framework.output import Notes
from bigcode_cli.io.atomic_files import atomic_write, in_place_target
from gpt_bigcode.errors import GPTBigCodeError

if TYPE_CHECKING:
    from gpt_bigcode.labeling.spans import Span
    from gpt_bigcode.labeling.text_tagger import Tagging, TagOptions, TextTagger

Load = Callable[[], "TextTagger"]
_SILENCE = "a comment with `bigcode: allow` or a --baseline silences what is none"


@dataclass(frozen=True, kw_only=True)
class TagRun:
    """One call of the command.

    Attributes:
        options: which spans are findings.
        allowances: what the user allows.
        baseline: what is known; None: nothing.
        fingerprints: how findings are called.
        format: how they are shown.
        exit_zero: findings do not change the exit status.
        update: findings are written into the baseline.
        notes: where the notes go.
    """

    options: "TagOptions"
    allowances: Allowances
    baseline: Baseline | None
    fingerprints: Fingerprints
    format: TagFormat
    exit_zero: bool
    update: bool
    notes: Notes

    def leaves_out(self, path: str) -> bool:
        """Whether a file is not to be searched: excluded, or the baseline itself."""
        is_baseline = self.baseline is not None and self.baseline.is_at(path)
        return is_baseline or self.allowances.exclude(path)

    def search(self, texts: Sequence[Source], load: Load) -> ExitStatus:
        """Search the texts and write the report; an error beats a finding.

        Args:
            texts: without any, no model is loaded.
            load: loads the model.
        """
        model = load() if texts else None
        entries = iter(()) if model is None else self._search(texts, model)
        return self._report(texts, entries, model)

    def rewrite(self, texts: Sequence[Source], load: Load) -> ExitStatus:
        """Redact files in place, and report how much was replaced."""
        model = load() if texts else None
        entries = iter(()) if model is None else self._rewrite(texts, model)
        return self._report(texts, entries, model)

    def filter(self, text: Source, load: Load) -> ExitStatus:
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
        return ExitStatus.DONE

    def _report(
        self, texts: Sequence[Source], entries: Iterator[TagEntry], model: "TextTagger | None"
    ) -> ExitStatus:
        report = TagReport(self.format)
        total = _Total()
        found: set[tuple[str, str, str]] = set()
        for text, entry in zip(texts, entries, strict=True):
            if (fault := entry.fault) is not None:
                fault.explain(text, self.notes)
            total.add(entry)
            if self.update and self.baseline is not None:
                report.add(self._remembered(entry, found))
            else:
                report.add(entry)
        if self.update and self.baseline is not None:
            self._write_baseline(self.baseline, found, total)
        elif total.counts["findings"]:
            files = total.files_with_findings
            said = f"{_plural(total.counts['findings'], 'finding')} in {_plural(files, 'file')}"
            self.notes.note(f"{said}; {_SILENCE}")
        report.close(total.to_dict() | _origin(model))
        status = total.status
        silent = self.exit_zero or self.update
        return ExitStatus.DONE if silent and status is ExitStatus.FINDINGS else status

    def _search(self, texts: Sequence[Source], model: "TextTagger") -> Iterator[TagEntry]:
        progress = Progress(
            sum(text.size for text in texts), quiet=self.notes.quiet, work="tagging"
        )
        comments = [Comments() for _ in texts]
        decoders = [AnyDecoder() for _ in texts]
        pieces = (
            one.watch(replace(text, decoder=decoder).pieces(progress.advance))
            for text, one, decoder in zip(texts, comments, decoders, strict=True)
        )
        try:
            outcomes = model.tag_many(pieces, self.options)
            rows = zip(texts, comments, decoders, outcomes, strict=True)
            for text, one, decoder, outcome in rows:
                progress.clear()
                if isinstance(outcome, Exception):
                    yield _failed(text, outcome, alone=len(texts) == 1)
                else:
                    yield self._judged(text, one, _placed(outcome, decoder))
        finally:
            progress.clear()

    def _judged(self, text: Source, comments: Comments, tagging: "Tagging") -> TagEntry:
        findings, allowed, known = [], 0, 0
        for span in tagging.spans:
            if text.added is not None and not _is_added(span, text.added):
                continue
            if comments.allow(span) or self.allowances.allow(span):
                allowed += 1
                continue
            fingerprint = self.fingerprints.of(span.label, span.text)
            if self._is_known(text.path, span.label, fingerprint):
                known += 1
            else:
                findings.append(Finding(span, fingerprint))
        return TagEntry(
            path=text.path,
            windows=tagging.windows,
            findings=tuple(findings),
            allowed=allowed,
            known=known,
        )

    def _is_known(self, path: str, label: str, fingerprint: str) -> bool:
        if self.baseline is None or self.update:
            return False
        return self.baseline.entry(path, label, fingerprint) in self.baseline.known

    def _is_open(self, path: str, span: "Span") -> bool:
        """Whether a span is to be redacted: what a text says of itself does not count here."""
        if self.allowances.allow(span):
            return False
        if self.baseline is None:
            return True
        return not self._is_known(path, span.label, self.fingerprints.of(span.label, span.text))

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
        self, baseline: Baseline, found: set[tuple[str, str, str]], total: "_Total"
    ) -> None:
        count, written = baseline.update(found, total.searched, self.fingerprints)
        what = "written" if written else "unchanged"
        self.notes.note(f"{baseline.file}: {what}, {_plural(count, 'finding')}")


def _failed(text: Source, error: Exception, *, alone: bool) -> TagEntry:
    fault = Fault.of(text, error, alone=alone)
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


def _origin(model: "TextTagger | None") -> dict[str, Any]:
    if model is None:
        return {"model": None, "revision": None}
    return {"model": model.name, "revision": model.revision}


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


class _Total:
    """What all files come to."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.searched: list[str] = []
        self.files_with_findings = 0
        self._labels: Counter[str] = Counter()

    @property
    def status(self) -> ExitStatus:
        """An error beats a finding."""
        if self.counts["error"]:
            return ExitStatus.FAILED
        return ExitStatus.FINDINGS if self.counts["findings"] else ExitStatus.DONE

    def add(self, entry: TagEntry) -> None:
        self.counts[entry.status] += 1
        if entry.status == "ok":
            self.searched.append(entry.path)
        self.counts["findings"] += len(entry.findings)
        self.counts["allowed"] += entry.allowed
        self.counts["known"] += entry.known
        self.counts["redacted"] += entry.redacted or 0
        self.files_with_findings += bool(entry.findings)
        self._labels.update(finding.span.label for finding in entry.findings)

    def to_dict(self) -> dict[str, Any]:
        return {
            "files": self.counts["ok"] + self.counts["skipped"] + self.counts["error"],
            "searched": self.counts["ok"],
            "skipped": self.counts["skipped"],
            "errors": self.counts["error"],
            "findings": self.counts["findings"],
            "allowed": self.counts["allowed"],
            "known": self.counts["known"],
            "redacted": self.counts["redacted"],
            "labels": dict(sorted(self._labels.items())),
        }
