"""TextScorer: how surprising a text is to a model, as a whole, by line and by token."""

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from typing import Self, Unpack

from gpt_bigcode.backends.interfaces import LogProbabilities, Row, Scorer
from gpt_bigcode.backends.select import open_scorer
from gpt_bigcode.loading import LoadOptions, load_parts
from gpt_bigcode.scoring.accumulator import ScoreAccumulator
from gpt_bigcode.scoring.options import ScoreOptions
from gpt_bigcode.scoring.results import Score
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from gpt_bigcode.windowing.document_stream import DocumentStream, WindowTokens
from gpt_bigcode.windowing.score_windows import ScoreWindows


class TextScorer:
    """A model that tells how surprising texts are."""

    def __init__(
        self,
        scorer: Scorer,
        tokenizer: CodeTokenizer,
        *,
        name: str = "model",
        revision: str | None = None,
        start_id: int | None = None,
        load_seconds: float = 0.0,
    ) -> None:
        self.scorer = scorer
        self.tokenizer = tokenizer
        self.name = name
        self.revision = revision
        self.start_id = tokenizer.end_of_text_id if start_id is None else start_id
        self.load_seconds = load_seconds

    @classmethod
    def load(cls, model: str | PathLike[str], **options: Unpack[LoadOptions]) -> Self:
        """Load a model; arguments and errors are those of `TextModel.load`."""
        parts = load_parts(model, open_scorer, options)
        return cls(
            parts.engine,
            parts.tokenizer,
            name=parts.name,
            revision=parts.revision,
            start_id=parts.tokenizer.start_id(parts.config),
            load_seconds=parts.seconds,
        )

    def plan(self, options: ScoreOptions) -> ScoreWindows:
        """How texts are cut.

        Raises:
            OptionError: a stride that this model or mode cannot have.
        """
        return ScoreWindows(
            context_length=self.scorer.context_length,
            mode=options.mode,
            stride=options.stride,
            start_id=self.start_id,
        )

    def score(self, text: str, options: ScoreOptions | None = None) -> Score:
        """Score one text.

        `<|endoftext|>` is put in front of it and is not scored; every byte is read as it is, only a
        byte order mark is left out.

        Raises:
            ContextError: mode full, and the text does not fit.
            InputError: text that the tokenizer cannot hold; mode llama, and it is too short.
            NonFiniteError: the model computed NaN or infinity.
            OptionError: see `plan`.
        """
        outcome = next(self.score_many([[text]], options))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def score_many(
        self, documents: Iterable[Iterable[str]], options: ScoreOptions | None = None
    ) -> Iterator[Score | Exception]:
        """Score texts that come in pieces; memory does not grow with their size or number.

        Windows of similar length are read together, whichever text they belong to.

        Yields:
            What `score` gives, in the order of the texts. In the place of a text that cannot be
            scored comes what was raised: by its own iterator, or an error that `score` names for
            the text. The others go on.

        Raises:
            NonFiniteError, MemoryLimitError: the model fails.
            OptionError: see `plan`.
        """
        options = options or ScoreOptions()
        stream: DocumentStream[LogProbabilities, Score] = DocumentStream(
            self.tokenizer,
            self.plan(options),
            self._compute,
            batch_tokens=self.scorer.batch_tokens,
        )
        return stream.run(
            documents,
            lambda: ScoreAccumulator(self.tokenizer, lines=options.lines, tokens=options.tokens),
        )

    def _compute(self, windows: Sequence[WindowTokens]) -> list[LogProbabilities]:
        return self.scorer.log_probabilities(
            [Row(tokens.ids, tokens.used.start) for tokens in windows]
        )
