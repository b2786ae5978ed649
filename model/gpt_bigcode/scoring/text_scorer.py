"""TextScorer: how surprising a text is to a model, as a whole, by line and by token."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from typing import Self, Unpack

from gpt_bigcode.backends.interfaces import LogProbabilities, ScoredRow, Scorer
from gpt_bigcode.loading import LoadOptions, load_parts, open_scorer
from gpt_bigcode.scoring.results import LineScore, Score, ScoreOptions, TokenScores
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from gpt_bigcode.windowing.document_stream import DocumentStream, WindowTokens
from gpt_bigcode.windowing.score_windows import ScoreWindows


class TextScorer:
    """A model that tells how surprising texts are.

    Attributes:
        on_scored: told the bytes of text of every window that has its values; None: nobody.
    """

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
        self.on_scored: Callable[[int], None] | None = None

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

        Windows of similar length are read together, whichever text they belong to. Of an `Excerpt`
        only windows that hold its lines are read: sums are of those, other lines have no tokens.

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
            self.compute,
            batch_tokens=self.scorer.batch_tokens,
        )
        return stream.run(
            documents,
            lambda: ScoreAccumulator(self.tokenizer, lines=options.lines, tokens=options.tokens),
        )

    def compute(self, windows: Sequence[WindowTokens]) -> Sequence[LogProbabilities | Exception]:
        """The values of windows; a scorer elsewhere may refuse one (see `DocumentStream`)."""
        found = self.scorer.log_probabilities(
            [ScoredRow(tokens.ids, tokens.used.start) for tokens in windows]
        )
        for tokens in windows:
            self.count(tokens)
        return found

    def count(self, tokens: WindowTokens) -> None:
        """Tell `on_scored` that a window has its values."""
        if self.on_scored is not None:
            self.on_scored(len(self.tokenizer.decode_bytes(tokens.ids[tokens.used])))


class ScoreAccumulator:
    """Adds up the values of one text, its lines and tokens (see `document_stream.Accumulator`)."""

    def __init__(self, tokenizer: CodeTokenizer, *, lines: bool, tokens: bool) -> None:
        self._tokenizer = tokenizer
        self._by_line, self._by_token = lines, tokens
        self._tokens = self._bytes = self._windows = 0
        self._nll = 0.0
        self._offset = 0
        self._lines: list[LineScore] = []
        self._token_scores = TokenScores()
        self._line = _Line(1, 0)

    def begin(self, mark_bytes: int) -> None:
        """Skip a byte order mark; it belongs to line 1."""
        self._offset = mark_bytes

    def add(self, tokens: WindowTokens, result: LogProbabilities) -> None:
        """Take the log-probabilities of the tokens that a window scores."""
        self._skip(tokens.skipped)
        ids = tokens.ids[tokens.used]
        self._windows += 1
        self._tokens += len(ids)
        self._nll -= float(result.sum())
        pieces = [self._tokenizer.token_bytes(token) for token in ids]
        self._bytes += sum(map(len, pieces))
        if self._by_line or self._by_token:
            self._add_details(zip(ids, pieces, result.tolist(), strict=True))

    def close(self) -> Score:
        """The values of everything that was added."""
        if self._line.start < self._offset:
            self._end_line()
        return Score(
            tokens=self._tokens,
            bytes=self._bytes,
            nll=self._nll,
            windows=self._windows,
            lines=tuple(self._lines),
            token_scores=self._token_scores,
        )

    def _skip(self, ids: Sequence[int]) -> None:
        """Pass over tokens that are not scored."""
        for token in ids:
            for part in self._tokenizer.token_bytes(token).splitlines(keepends=True):
                self._offset += len(part)
                if part.endswith(b"\n"):
                    self._end_line()

    def _add_details(self, tokens: Iterable[tuple[int, bytes, float]]) -> None:
        for token, data, logprob in tokens:
            line, start = self._line.number, self._offset
            self._line.tokens += 1
            for part in data.split(b"\n") if b"\n" in data else (data,):
                size = len(part)
                # Every part but the last is followed by its line end.
                ended = self._offset + size < start + len(data)
                size += ended
                self._offset += size
                self._line.bytes += size
                self._line.nll -= logprob * (size / len(data)) if data else 0.0
                if ended:
                    self._end_line()
            if self._by_token:
                self._token_scores.append(token, start, self._offset, line, logprob)

    def _end_line(self) -> None:
        line = self._line
        if self._by_line:
            self._lines.append(
                LineScore(
                    line=line.number,
                    start=line.start,
                    end=self._offset,
                    tokens=line.tokens,
                    bytes=line.bytes,
                    nll=line.nll,
                )
            )
        self._line = _Line(line.number + 1, self._offset)


class _Line:
    """The line that is being added up."""

    def __init__(self, number: int, start: int) -> None:
        self.number, self.start = number, start
        self.tokens = self.bytes = 0
        self.nll = 0.0
