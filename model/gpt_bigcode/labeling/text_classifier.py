"""TextClassifier: which label a text has, by all of it, whatever its length."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from os import PathLike
from typing import Self, Unpack

import numpy as np
from numpy.typing import NDArray

from gpt_bigcode.backends.interfaces import Labeler, Logits
from gpt_bigcode.checkpoint.tensor_index import Task
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.labeling.description import label_names, problem_of, threshold_of
from gpt_bigcode.labeling.results import Classification, Problem, WindowLabels
from gpt_bigcode.loading import LoadOptions, load_parts, open_labeler
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from gpt_bigcode.windowing.classify_windows import ClassifyWindows
from gpt_bigcode.windowing.document_stream import DocumentStream, WindowTokens


class TextClassifier:
    """A model that gives texts their labels.

    A text that fits into the context is one window of its plain tokens, with no special token, and
    its label is read at the last of them. A longer one is cut into windows side by side, as long as
    the context; the last two share what is left, so that none is shorter than half of it.

    The windows are pooled by the mean of their logits, each weighted by its tokens; softmax or
    sigmoid then makes probabilities of it. A file has one label, and its windows are evidence for
    it: this is the geometric mean of their probabilities, so a window that rules a label out
    counts, and one that could be anything changes nothing. The weight keeps a short window from
    counting like a long one. A regression is the mean of the windows' numbers, weighted alike.
    """

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
        """Join the parts.

        Raises:
            ConfigError: two labels have the same name.
        """
        self.labeler = labeler
        self.tokenizer = tokenizer
        self.problem = problem_of(config)
        self.names = label_names(config)
        self.threshold = threshold_of(config)
        self.name = name
        self.revision = revision
        self.load_seconds = load_seconds

    @classmethod
    def load(cls, model: str | PathLike[str], **options: Unpack[LoadOptions]) -> Self:
        """Load a model; arguments and errors are those of `TextModel.load`, and more.

        Raises:
            CheckpointMismatchError: a checkpoint without a head for whole texts.
            ConfigError: two labels have the same name.
        """
        parts = load_parts(model, partial(open_labeler, task=Task.SEQUENCE_CLASSIFICATION), options)
        return cls(
            parts.engine,
            parts.tokenizer,
            parts.config,
            name=parts.name,
            revision=parts.revision,
            load_seconds=parts.seconds,
        )

    def classify(self, text: str, *, windows: bool = False) -> Classification:
        """Classify one text; a byte order mark is left out, everything else is read as it is.

        Args:
            text: what to classify; an empty one has no label.
            windows: give the windows by themselves too.

        Raises:
            InputError: text that the tokenizer cannot hold.
            NonFiniteError: the model computed NaN or infinity.
        """
        outcome = next(self.classify_many([[text]], windows=windows))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def classify_many(
        self, documents: Iterable[Iterable[str]], *, windows: bool = False
    ) -> Iterator[Classification | Exception]:
        """Classify texts that come in pieces; memory does not grow with their size or number.

        Windows of similar length are read together, whichever text they belong to. With `windows`
        they are kept until their text is done.

        Yields:
            What `classify` gives, in the order of the texts. In the place of a text that cannot be
            read comes what was raised: by its own iterator, or an error that `classify` names for
            the text. The others go on.

        Raises:
            NonFiniteError, MemoryLimitError: the model fails.
        """
        stream: DocumentStream[Logits, Classification] = DocumentStream(
            self.tokenizer,
            ClassifyWindows(self.labeler.context_length),
            self._compute,
            batch_tokens=self.labeler.batch_tokens,
        )
        return stream.run(documents, lambda: _LabelSum(self, windows=windows))

    def _compute(self, windows: Sequence[WindowTokens]) -> list[Logits]:
        return self.labeler.sequence_logits([tokens.row for tokens in windows])

    def scores(self, logits: NDArray[np.float64]) -> tuple[float, ...]:
        """What the problem makes of logits, [C]."""
        if self.problem is Problem.REGRESSION:
            values = logits
        elif self.problem is Problem.MULTI_LABEL:
            values = np.exp(-np.logaddexp(0.0, -logits))
        else:
            values = np.exp(logits - logits.max())
            values /= values.sum()
        return tuple(values.tolist())


class _LabelSum:
    """The logits of one text (see `document_stream.Accumulator`)."""

    def __init__(self, model: TextClassifier, *, windows: bool) -> None:
        self._model = model
        self._keep = windows
        self._windows = self._tokens = self._bytes = self._mark_bytes = 0
        self._sum = np.zeros(len(model.names))
        self._window_labels: list[WindowLabels] = []

    def begin(self, mark_bytes: int) -> None:
        """A byte order mark belongs to no window."""
        self._mark_bytes = mark_bytes

    def add(self, tokens: WindowTokens, result: Logits) -> None:
        """Take the logits of the next window."""
        size = len(self._model.tokenizer.decode_bytes(tokens.ids))
        count, values = len(tokens.ids), result.astype(np.float64)
        self._windows += 1
        self._tokens += count
        self._sum += count * values
        if self._keep:
            start = self._mark_bytes + self._bytes
            window = WindowLabels(
                problem=self._model.problem,
                names=self._model.names,
                values=self._model.scores(values),
                tokens=count,
                bytes=size,
                start=start,
                end=start + size,
            )
            self._window_labels.append(window)
        self._bytes += size

    def close(self) -> Classification:
        """The labels of the whole text."""
        values = self._model.scores(self._sum / self._tokens) if self._tokens else ()
        return Classification(
            problem=self._model.problem,
            names=self._model.names,
            values=values,
            tokens=self._tokens,
            bytes=self._bytes,
            windows=self._windows,
            window_labels=tuple(self._window_labels),
        )
