"""Classifies texts one after the other, judges and reports their labels."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bigcode_cli.commands.classify.gates import LabelGates
from bigcode_cli.commands.classify.options import ClassifyingOptions
from bigcode_cli.commands.classify.reports import LabelEntry, LabelReport
from bigcode_cli.files.result_cache import CachedResults, ResultCache, StoredForm, model_scope
from bigcode_cli.files.results import (
    Entry,
    FileError,
    Totals,
    byte_counter,
    open_progress,
    report_all,
)
from bigcode_cli.files.sources import Source
from bigcode_cli.framework.errors import UsageFailure
from bigcode_cli.framework.options import ComputeOptions, KeepingOptions
from bigcode_cli.framework.output import Notes
from bigcode_cli.models.load import describe_classifier
from bigcode_cli.models.resolve import Found
from gpt_bigcode.labeling.languages import by_name

if TYPE_CHECKING:
    from bigcode_cli.files.progress import Progress
    from gpt_bigcode.labeling.description import ClassifierDescription
    from gpt_bigcode.labeling.results import Classification
    from gpt_bigcode.labeling.text_classifier import TextClassifier

NAME_WEIGHT = 20.0
"""By how much --names multiplies the scores of the labels that a file's name allows."""


@dataclass(frozen=True, kw_only=True)
class ClassifyRun:
    """One call of the command.

    Attributes:
        options: what is reported of each text.
        gates: what texts must pass.
        table: how results are shown.
        notes: where notes go.
        found: the model.
        compute: how it runs.
    """

    options: ClassifyingOptions
    gates: LabelGates
    table: KeepingOptions
    notes: Notes
    found: Found
    compute: ComputeOptions

    def execute(self, texts: Sequence[Source], load: Callable[[], "TextClassifier"]) -> Totals:
        """Classify the texts and write the report.

        Args:
            texts: what to classify; if empty, the model is not read.
            load: loads the model; called at the first cache miss.

        Raises:
            Failure: the model does not classify whole texts.
            UsageFailure: options that make no sense with this model.
        """
        progress = open_progress(texts, "classifying", quiet=self.table.quiet)
        model = describe_classifier(self.found) if texts else None
        gates = self.gates if model is None else self._checked_gates(model)
        report = LabelReport(self.table.format, top=self.options.top, windows=self.options.windows)
        totals = LabelTotals(self.found, model)
        entries = self._entries(texts, model, gates, load, progress)
        report_all(texts, entries, report, totals, self.notes, progress)
        report.close(totals.to_dict())
        return totals

    def _checked_gates(self, model: "ClassifierDescription") -> LabelGates:
        from gpt_bigcode.labeling.results import Problem

        if self.options.top is not None and model.problem is Problem.REGRESSION:
            raise UsageFailure(f"--top: {self.found.name} predicts numbers, not labels")
        return self.gates.for_model(self.found.name, model)

    def _entries(
        self,
        texts: Sequence[Source],
        model: "ClassifierDescription | None",
        gates: LabelGates,
        load: Callable[[], "TextClassifier"],
        progress: "Progress | None",
    ) -> Iterator[LabelEntry]:
        if model is None:
            return
        outcomes = self._outcomes(texts, model, load, progress)
        for text, outcome in zip(texts, outcomes, strict=True):
            if isinstance(outcome, Exception):
                fault = FileError.of(text, outcome, alone=len(texts) == 1)
                yield LabelEntry(path=text.path, fault=fault)
                continue
            result = weighed_by_name(outcome, text.path) if self.options.names else outcome
            gate_result, certain = gates.judge(result), gates.certain_from
            yield LabelEntry(
                path=text.path, result=result, gate_result=gate_result, certain_from=certain
            )
        if outcomes.found:
            self.notes.detail(f"{outcomes.found} of {len(texts)} files had been classified before")

    def _outcomes(
        self,
        texts: Sequence[Source],
        model: "ClassifierDescription",
        load: Callable[[], "TextClassifier"],
        progress: "Progress | None",
    ) -> "CachedResults[Classification]":
        now = model_scope(self.found.directory, self.compute)
        scope = {"job": "classify", "windows": self.options.windows, **now}
        cache = ResultCache.open(scope, enabled=not self.table.no_cache)

        def compute(documents: Iterable[Iterable[str]]) -> Iterator["Classification | Exception"]:
            classifier = load()
            again = model_scope(self.found.directory, self.compute)
            cache.writable = again == now  # unless the model was replaced meanwhile
            return classifier.classify_many(documents, windows=self.options.windows)

        form = StoredForm(_pack, partial(_unpack, model))
        return CachedResults(texts, cache, form, compute, byte_counter(progress))


def weighed_by_name(result: "Classification", path: str) -> "Classification":
    """The same, with more weight for the labels that the file's name allows.

    A name that says nothing, or nothing of this model's labels, changes nothing.
    """
    from gpt_bigcode.labeling.results import Problem

    allowed = by_name(path)
    weights = [NAME_WEIGHT if name in allowed else 1.0 for name in result.names]
    if result.problem is not Problem.SINGLE_LABEL or max(weights) == 1:
        return result
    values = [value * weight for value, weight in zip(result.values, weights, strict=False)]
    total = sum(values) or 1.0
    return replace(result, values=tuple(value / total for value in values))


def _pack(result: "Classification") -> dict[str, Any]:
    """Return the numbers; the kind of problem and the names come from the model."""
    windows = [
        [one.values, one.tokens, one.bytes, one.start, one.end] for one in result.window_labels
    ]
    return {
        "values": result.values,
        "tokens": result.tokens,
        "bytes": result.bytes,
        "windows": result.windows,
        "window_labels": windows,
    }


def _unpack(model: "ClassifierDescription", packed: dict[str, Any]) -> "Classification":
    from gpt_bigcode.labeling.results import Classification, WindowLabels

    head: dict[str, Any] = {"problem": model.problem, "names": model.names}
    names = ("values", "tokens", "bytes", "start", "end")
    windows = [dict(zip(names, values, strict=True)) for values in packed.pop("window_labels")]
    labels = tuple(
        WindowLabels(**head, **one | {"values": tuple(one["values"])}) for one in windows
    )
    values = tuple(packed.pop("values"))
    return Classification(**head, **packed, values=values, window_labels=labels)


class LabelTotals(Totals):
    """The totals of all files."""

    def __init__(self, found: Found, model: "ClassifierDescription | None") -> None:
        super().__init__("classified")
        self._found, self._model = found, model
        self._labels: Counter[str] = Counter()
        self._numbers: list[float] = []

    def add(self, entry: Entry) -> None:
        """See `Totals`."""
        super().add(entry)
        if isinstance(entry, LabelEntry) and entry.result is not None:
            self._labels[entry.label] += 1
            if entry.result.number is not None:
                self._numbers.append(entry.result.number)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary: the mean of a regression, else the count of each label."""
        from gpt_bigcode.labeling.results import Problem

        model = self._model
        values = super().to_dict() | {"failed": self.counts["failed"]}
        if model is not None and model.problem is Problem.REGRESSION:
            numbers = self._numbers
            mean = sum(numbers) / len(numbers) if numbers else None
            values |= {"labels": None, "mean": mean}
        else:
            values["labels"] = dict(self._labels.most_common())
        return values | {
            "model": None if model is None else self._found.name,
            "revision": None if model is None else self._found.revision,
            "problem": None if model is None else model.problem.value,
            "context_length": None if model is None else model.context_length,
        }
