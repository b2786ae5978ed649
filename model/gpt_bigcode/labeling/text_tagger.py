"""TextTagger: finds labelled spans in a text, such as addresses and keys."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from os import PathLike
from typing import Self, Unpack

from gpt_bigcode.backends.interfaces import Labeler, Logits
from gpt_bigcode.checkpoint.tensor_index import Task
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import ConfigError, OptionError
from gpt_bigcode.labeling.bio_labels import LabelScheme
from gpt_bigcode.labeling.line_reader import LineReader
from gpt_bigcode.labeling.line_spans import LineSpans
from gpt_bigcode.labeling.line_stream import LineStream
from gpt_bigcode.labeling.options import TagOptions
from gpt_bigcode.labeling.results import Advance, Span, Tagging
from gpt_bigcode.labeling.rules.numbers import NUMBER_LABELS
from gpt_bigcode.labeling.spans import SpanFinder
from gpt_bigcode.loading import LoadOptions, load_parts, open_labeler
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from gpt_bigcode.windowing.document_stream import DocumentStream, WindowTokens
from gpt_bigcode.windowing.tag_windows import ReadMode, TagWindows


class TextTagger:
    """A model that finds labelled spans in texts."""

    def __init__(
        self,
        labeler: Labeler,
        tokenizer: CodeTokenizer,
        config: GPTBigCodeConfig,
        *,
        name: str = "model",
        revision: str | None = None,
        load_seconds: float = 0.0,
    ) -> None:
        """Join a labeler with what its configuration says about reading and labels.

        Raises:
            ConfigError: labels or the object `tagging` that mean nothing.
        """
        self.labeler = labeler
        self.tokenizer = tokenizer
        self.scheme = LabelScheme.of(config)
        if labeler.label_count != config.label_count:
            raise ConfigError(
                f"num_labels: {config.label_count}, the head has {labeler.label_count}"
            )
        self.windows = TagWindows.of(config, tokenizer.end_of_text_id)
        reader = LineReader(tokenizer, self.scheme, self.windows, self._rows)
        self._lines = LineStream(reader, self.scheme.kinds)
        self.name = name
        self.revision = revision
        self.load_seconds = load_seconds

    @classmethod
    def load(cls, model: str | PathLike[str], **options: Unpack[LoadOptions]) -> Self:
        """Load a model; arguments and errors are those of `TextModel.load`, and more.

        Raises:
            CheckpointMismatchError: a checkpoint with another head.
            ConfigError: see the class.
        """
        parts = load_parts(model, partial(open_labeler, task=Task.TOKEN_CLASSIFICATION), options)
        return cls(
            parts.engine,
            parts.tokenizer,
            parts.config,
            name=parts.name,
            revision=parts.revision,
            load_seconds=parts.seconds,
        )

    def tag(self, text: str, options: TagOptions | None = None) -> Tagging:
        """Find the spans of one text.

        Raises:
            InputError: text that the tokenizer cannot hold.
            NonFiniteError: the model computed NaN or infinity.
            OptionError: a label that the model does not have.
        """
        outcome = next(self.tag_many([[text]], options))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def tag_many(
        self, documents: Iterable[Iterable[str]], options: TagOptions | None = None
    ) -> Iterator[Tagging | Exception]:
        """Find the spans of texts that come in pieces; memory does not grow with their size.

        Windows of similar length are read together, whichever text they belong to. Of a text that
        is an `Excerpt` only windows that hold its lines are read: spans elsewhere are not found.

        Yields:
            What `tag` gives, in the order of the texts. In the place of a text that cannot be read
            comes what was raised: by its own iterator, or an InputError. The others go on.

        Raises:
            NonFiniteError, MemoryLimitError: the model fails.
            OptionError: a label that the model does not have.
        """
        checked = self._checked(options)
        if self.reads_lines:
            return self._lines.run(documents, checked)
        return self._document_stream().run(documents, lambda: _SpanCollector(self, checked))

    def stream(self, pieces: Iterable[str], options: TagOptions | None = None) -> Iterator[Advance]:
        """Find the spans of one text as it comes, for a filter; errors as for `tag`.

        With `document_stream.PAUSE` among the pieces all complete lines before it are given away.
        """
        checked = self._checked(options)
        if self.reads_lines:
            yield from self._lines.follow(pieces, checked)
            return
        spans = _SpanCollector(self, checked)
        for _ in self._document_stream().follow(pieces, spans):
            yield spans.advance()
        spans.close()
        yield spans.advance()

    @property
    def reads_lines(self) -> bool:
        """Whether what is found in a line depends on nothing else in the text."""
        return self.windows.mode is ReadMode.LINES

    def _document_stream(self) -> DocumentStream[Logits, Tagging]:
        batch = self.labeler.batch_tokens
        return DocumentStream(self.tokenizer, self.windows, self._compute, batch_tokens=batch)

    def _rows(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        return self.labeler.token_logits(rows)

    def _compute(self, windows: Sequence[WindowTokens]) -> list[Logits]:
        return self._rows([tokens.row for tokens in windows])

    def _checked(self, options: TagOptions | None) -> TagOptions:
        options = options or TagOptions()
        known = (*self.scheme.kinds, *(NUMBER_LABELS if self.reads_lines else ()))
        for label in sorted(options.labels or ()) + sorted(options.min_scores):
            if label not in known:
                kinds = ", ".join(known)
                raise OptionError(f"labels: {label!r} is not a label of this model: {kinds}")
        return options


class _SpanCollector:
    """The spans of one text (see `document_stream.Accumulator`)."""

    def __init__(self, model: TextTagger, options: TagOptions) -> None:
        self._windows, self._options = model.windows, options
        self._tokenizer = model.tokenizer
        self._finder = SpanFinder(model.tokenizer, model.scheme, model.windows.spans)
        self._lines = LineSpans(model.scheme.kinds)
        self._spans: list[Span] = []
        self._token_count = self._window_count = 0

    def begin(self, mark_bytes: int) -> None:
        """A byte order mark is no part of a span."""
        self._finder.begin(mark_bytes)
        self._lines.begin(mark_bytes)

    def add(self, tokens: WindowTokens, result: Logits) -> None:
        """Take the logits of the next window."""
        ids = tokens.ids[tokens.used]
        if tokens.skipped:
            before = list(self._finder.skip(tokens.skipped))
            self._lines.add(self._tokenizer.decode_bytes(tokens.skipped), before, ())
        self._window_count += 1
        self._token_count += len(ids)
        labels = self._windows.labels(result, len(tokens.ids))[tokens.used]
        found = list(self._finder.add(ids, labels))
        self._lines.add(self._tokenizer.decode_bytes(ids), found, self._finder.suspicions)
        self._keep(self._lines.ready(self._finder.offset))

    def advance(self) -> Advance:
        """Give away what was completed."""
        spans, self._spans = tuple(self._spans), []
        return Advance(spans=spans, offset=self._lines.offset)

    def close(self) -> Tagging:
        """The spans that were not given away."""
        self._lines.add(b"", self._finder.close(), ())
        self._keep(self._lines.ready(self._finder.offset, ended=True))
        return Tagging(
            spans=tuple(self._spans), tokens=self._token_count, windows=self._window_count
        )

    def _keep(self, spans: Iterable[Span]) -> None:
        self._spans += filter(self._options.accept, spans)
