"""Adds up the values of tokens as they come: of the whole text, of its lines, of single tokens."""

from collections.abc import Iterable, Sequence

from gpt_bigcode.backends.interfaces import LogProbabilities
from gpt_bigcode.scoring.results import LineScore, Score, TokenScore
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from gpt_bigcode.windowing.document_stream import WindowTokens


class ScoreAccumulator:
    """The values of one text (see `document_stream.Accumulator`)."""

    def __init__(self, tokenizer: CodeTokenizer, *, lines: bool, tokens: bool) -> None:
        self._tokenizer = tokenizer
        self._by_line, self._by_token = lines, tokens
        self._tokens = self._bytes = self._windows = 0
        self._nll = 0.0
        self._offset = 0
        self._lines: list[LineScore] = []
        self._token_scores: list[TokenScore] = []
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
            token_scores=tuple(self._token_scores),
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
                self._token_scores.append(TokenScore(token, start, self._offset, line, logprob))

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
