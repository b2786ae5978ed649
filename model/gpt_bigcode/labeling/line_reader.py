"""What a model that reads line by line says of lines; of each template it is asked once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from gpt_bigcode.backends.interfaces import Logits
from gpt_bigcode.errors import InputError
from gpt_bigcode.labeling.bio_labels import LabelScheme
from gpt_bigcode.labeling.line_templates import Template
from gpt_bigcode.labeling.rules.mark import Mark
from gpt_bigcode.labeling.spans import SpanFinder
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from gpt_bigcode.windowing.document_stream import Window
from gpt_bigcode.windowing.tag_windows import TagWindows

MOST_REMEMBERED = 1 << 13
"""Templates of the older and of the newer half of what is remembered."""
_LONGEST_REMEMBERED = 1 << 10
_BATCH_TOKENS = 1 << 14
_LINE_FEED = "\n"
Compute: TypeAlias = Callable[[Sequence[Sequence[int]]], Sequence[Logits]]


@dataclass(frozen=True, slots=True)
class LineLabels:
    """What a model says of a line.

    Attributes:
        spans: in order.
        suspected: tokens that may belong to something whose borders the text tells, in order.
        tokens: what the model read.
        windows: in how many rows.
    """

    spans: tuple[Mark, ...] = ()
    suspected: tuple[Mark, ...] = ()
    tokens: int = 0
    windows: int = 0

    def placed(self, template: Template) -> "LineLabels":
        """The same by the characters of a line that has this template."""
        if not template.edits:
            return self
        spans, suspected = (
            tuple(
                Mark(one.label, template.start(one.start), template.end(one.end), one.score)
                for one in marks
            )
            for marks in (self.spans, self.suspected)
        )
        return LineLabels(spans, suspected, self.tokens, self.windows)


class LineReader:
    """Asks a model about lines, each by itself; what it said of a template is remembered."""

    def __init__(
        self, tokenizer: CodeTokenizer, scheme: LabelScheme, windows: TagWindows, compute: Compute
    ) -> None:
        self._tokenizer, self._scheme, self._windows = tokenizer, scheme, windows
        self._compute = compute
        self._newer: dict[str, LineLabels] = {}
        self._older: dict[str, LineLabels] = {}

    def read(self, lines: Sequence[str]) -> list[LineLabels | InputError]:
        """What the model says of each line; lines are without line feeds.

        Raises:
            NonFiniteError, MemoryLimitError: the model fails.
        """
        templates = [Template.of(line.rstrip()) for line in lines]
        known: dict[str, LineLabels | InputError] = {"": LineLabels()}
        unread: list[_Line] = []
        for text in dict.fromkeys(template.text for template in templates):
            found = self._remembered(text)
            if found is not None:
                known[text] = found
            elif text:
                try:
                    unread.append(_Line(text, self._tokenizer.encode(_LINE_FEED + text)))
                except InputError as error:
                    known[text] = error
        for line, labels in self._computed(unread):
            known[line.text] = labels
            self._remember(line.text, labels)
        answers = ((known[template.text], template) for template in templates)
        return [
            one if isinstance(one, InputError) else one.placed(template)
            for one, template in answers
        ]

    def _remembered(self, text: str) -> LineLabels | None:
        found = self._newer.get(text)
        if found is None and (found := self._older.get(text)) is not None:
            self._remember(text, found)
        return found

    def _remember(self, text: str, labels: LineLabels) -> None:
        """Keep it until as many others were asked for."""
        if len(text) > _LONGEST_REMEMBERED:
            return
        if len(self._newer) >= MOST_REMEMBERED:
            self._older, self._newer = self._newer, {}
        self._newer[text] = labels

    def _computed(self, lines: Iterable["_Line"]) -> Iterator[tuple["_Line", LineLabels]]:
        """Lines of similar length are computed together."""
        batch: list[_Line] = []
        rows: list[Sequence[int]] = []
        for line in sorted(lines, key=lambda one: -len(one.ids)):
            line.windows = list(self._cut(len(line.ids)))
            batch.append(line)
            rows += [self._windows.row(line.ids[one.start : one.stop]) for one in line.windows]
            if len(rows) * len(rows[0]) >= _BATCH_TOKENS:
                yield from self._labelled(batch, rows)
                batch, rows = [], []
        if rows:
            yield from self._labelled(batch, rows)

    def _cut(self, size: int) -> Iterator[Window]:
        window: Window | None = None
        while (window := self._windows.next(window, size, ended=True)) is not None:
            yield window

    def _labelled(
        self, lines: Sequence["_Line"], rows: Sequence[Sequence[int]]
    ) -> Iterator[tuple["_Line", LineLabels]]:
        logits = iter(self._compute(rows))
        for line in lines:
            parts = []
            for window in line.windows:
                labels = self._windows.labels(next(logits), window.stop - window.start)
                parts.append(labels[window.first - window.start : window.last - window.start])
            yield line, self._labels(line, np.concatenate(parts))

    def _labels(self, line: "_Line", logits: Logits) -> LineLabels:
        finder = SpanFinder(self._tokenizer, self._scheme, self._windows.spans)
        spans = [*finder.add(line.ids, logits), *finder.close()]
        data = (_LINE_FEED + line.text).encode()

        def place(byte: int) -> int:
            return max(len(data[:byte].decode(errors="ignore")) - len(_LINE_FEED), 0)

        return LineLabels(
            tuple(Mark(one.label, place(one.start), place(one.end), one.score) for one in spans),
            tuple(
                Mark(one.label, place(one.byte), place(one.byte) + 1, one.share)
                for one in finder.suspicions
            ),
            len(line.ids),
            len(line.windows),
        )


class _Line:
    """A template that the model has not read yet."""

    def __init__(self, text: str, ids: Sequence[int]) -> None:
        self.text, self.ids = text, ids
        self.windows: list[Window] = []
