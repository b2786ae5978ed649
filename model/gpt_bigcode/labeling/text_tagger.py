"""TextTagger: finds labelled spans in a text, such as addresses and keys."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from typing import Self, Unpack

from gpt_bigcode.backends.interfaces import Labeler, Logits
from gpt_bigcode.backends.select import open_labeler
from gpt_bigcode.checkpoint.tensor_index import Task
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import ConfigError, OptionError
from gpt_bigcode.labeling.bio_labels import LabelScheme
from gpt_bigcode.labeling.line_spans import LineSpans
from gpt_bigcode.labeling.spans import Span, SpanFinder
from gpt_bigcode.labeling.tag_windows import TagWindows
from gpt_bigcode.loading import LoadOptions, load_parts
from gpt_bigcode.tokenization.document_stream import DocumentStream, WindowTokens
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

MIN_SCORE = 0.5
"""The default of `TagOptions.min_score`."""


@dataclass(frozen=True, kw_only=True)
class TagOptions:
    """Which spans are given; everything has a default.

    Attributes:
        labels: only these; None: all.
        min_score: spans below this are left out, 0 to 1.
        min_scores: the same for single labels.
    """

    labels: frozenset[str] | None = None
    min_score: float = MIN_SCORE
    min_scores: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for score in (self.min_score, *self.min_scores.values()):
            if not 0 <= score <= 1:
                raise OptionError(f"min_score: {score} is not 0 to 1")

    def accept(self, span: Span) -> bool:
        """Whether a span is to be given."""
        wanted = self.labels is None or span.label in self.labels
        return wanted and span.score >= self.min_scores.get(span.label, self.min_score)


@dataclass(frozen=True, kw_only=True)
class Tagging:
    """What was found in a text.

    Attributes:
        spans: in the order of the text; they do not overlap.
        tokens: its tokens.
        windows: how many the model read.
    """

    spans: tuple[Span, ...]
    tokens: int
    windows: int


@dataclass(frozen=True, kw_only=True)
class Advance:
    """A part of a text that is being read is done with.

    Attributes:
        spans: those that were completed since the last one.
        offset: no later span begins before this byte of the file.
    """

    spans: tuple[Span, ...]
    offset: int


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
            stands what was raised: by its own iterator, or an InputError. The others go on.

        Raises:
            NonFiniteError, MemoryLimitError: the model fails.
            OptionError: a label that the model does not have.
        """
        checked = self._checked(options)
        return self._document_stream().run(documents, lambda: _SpanCollector(self, checked))

    def stream(self, pieces: Iterable[str], options: TagOptions | None = None) -> Iterator[Advance]:
        """Find the spans of one text as it comes, for a filter; errors as for `tag`."""
        spans = _SpanCollector(self, self._checked(options))
        for _ in self._document_stream().follow(pieces, spans):
            yield spans.advance()
        spans.close()
        yield spans.advance()

    def _document_stream(self) -> DocumentStream[Logits, Tagging]:
        batch = self.labeler.batch_tokens
        return DocumentStream(self.tokenizer, self.windows, self._compute, batch_tokens=batch)

    def _compute(self, windows: Sequence[WindowTokens]) -> list[Logits]:
        return self.labeler.token_logits([tokens.row for tokens in windows])

    def _checked(self, options: TagOptions | None) -> TagOptions:
        options = options or TagOptions()
        for label in sorted(options.labels or ()) + sorted(options.min_scores):
            if label not in self.scheme.kinds:
                kinds = ", ".join(self.scheme.kinds)
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
