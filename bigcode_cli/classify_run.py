"""Classifies texts one after the other: hands them to the model, judges and reports their labels.

Knows nothing of the command line.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bigcode_cli.classify_options import ClassifyingOptions
from bigcode_cli.failures import ExitStatus, UsageFailure
from bigcode_cli.faults import Fault
from bigcode_cli.gates import Verdict
from bigcode_cli.label_gates import LabelGates
from bigcode_cli.label_reports import NO_LABEL, LabelEntry, LabelReport
from bigcode_cli.output import Notes
from bigcode_cli.progress import Progress
from bigcode_cli.score_options import TableOptions
from bigcode_cli.sources import Source

if TYPE_CHECKING:
    from gpt_bigcode.classification import TextClassifier
    from gpt_bigcode.classifications import Classification


@dataclass(frozen=True, kw_only=True)
class ClassifyRun:
    """One call of the command.

    Attributes:
        options: what is told of each text.
        gates: what texts must be.
        table: how results are shown.
        notes: where the notes go.
    """

    options: ClassifyingOptions
    gates: LabelGates
    table: TableOptions
    notes: Notes

    def execute(self, texts: Sequence[Source], load: Callable[[], "TextClassifier"]) -> ExitStatus:
        """Classify the texts and write the report; an error beats a finding.

        Args:
            texts: what to classify; without any, no model is loaded.
            load: loads the model.

        Raises:
            UsageFailure: options that make no sense with this model.
        """
        size = sum(text.size for text in texts)
        progress = Progress(size, quiet=self.table.quiet, work="classifying")
        model = load() if texts else None
        if model is not None:
            self._check(model)
        report = LabelReport(self.table.format, top=self.options.top, windows=self.options.windows)
        total = _Total(model)
        try:
            for text, entry in self._entries(texts, model, progress):
                progress.clear()
                if entry.fault is not None:
                    entry.fault.explain(text, self.notes)
                report.add(entry)
                total.add(entry)
        finally:
            progress.clear()
        report.close(total.to_dict())
        return total.status

    def _check(self, model: "TextClassifier") -> None:
        from gpt_bigcode.classifications import Problem

        self.gates.check_model(model)
        if self.options.top is not None and model.problem is Problem.REGRESSION:
            raise UsageFailure(f"--top: {model.name} gives numbers, no labels")

    def _entries(
        self, texts: Sequence[Source], model: "TextClassifier | None", progress: Progress
    ) -> Iterator[tuple[Source, LabelEntry]]:
        if model is None:
            return
        documents = (text.pieces(progress.advance) for text in texts)
        outcomes = model.classify_many(documents, windows=self.options.windows)
        for text, outcome in zip(texts, outcomes, strict=True):
            yield text, self._entry(text, outcome, alone=len(texts) == 1)

    def _entry(
        self, text: Source, outcome: "Classification | Exception", *, alone: bool
    ) -> LabelEntry:
        if isinstance(outcome, Exception):
            return LabelEntry(path=text.path, fault=Fault.of(text, outcome, alone=alone))
        return LabelEntry(path=text.path, result=outcome, judgement=self.gates.judge(outcome))


class _Total:
    """What all files come to."""

    def __init__(self, model: "TextClassifier | None") -> None:
        self._model = model
        self._counts: Counter[str] = Counter()
        self._labels: Counter[str] = Counter()
        self._numbers: list[float] = []

    @property
    def status(self) -> ExitStatus:
        """An error beats a finding."""
        if self._counts["error"]:
            return ExitStatus.FAILED
        return ExitStatus.FINDINGS if self._counts[Verdict.FAIL] else ExitStatus.DONE

    def add(self, entry: LabelEntry) -> None:
        self._counts[entry.status] += 1
        if entry.verdict is not None:
            self._counts[entry.verdict] += 1
        if entry.result is not None:
            self._labels[entry.result.label or NO_LABEL] += 1
            if entry.result.number is not None:
                self._numbers.append(entry.result.number)

    def to_dict(self) -> dict[str, Any]:
        """The summary; of a regression the mean, of anything else how often each label came."""
        from gpt_bigcode.classifications import Problem

        model, counts = self._model, self._counts
        values: dict[str, Any] = {
            "files": counts["ok"] + counts["skipped"] + counts["error"],
            "classified": counts["ok"],
            "skipped": counts["skipped"],
            "errors": counts["error"],
            "failed": counts[Verdict.FAIL],
        }
        if model is not None and model.problem is Problem.REGRESSION:
            numbers = self._numbers
            mean = sum(numbers) / len(numbers) if numbers else None
            values |= {"labels": None, "mean": mean}
        else:
            values["labels"] = dict(self._labels.most_common())
        return values | {
            "model": None if model is None else model.name,
            "revision": None if model is None else model.revision,
            "problem": None if model is None else model.problem.value,
            "context_length": None if model is None else model.labeler.context_length,
        }
