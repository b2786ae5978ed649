"""What scoring returns: bits per byte and perplexity of texts, lines and tokens.

`ScoreOptions` says what of it is wanted. Imports nothing heavy.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import exp, log
from typing import Self, overload

from gpt_bigcode.windowing.score_windows import WindowMode


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """How to score; everything has a default.

    Attributes:
        mode: how a text that is longer than the context is cut.
        stride: tokens that a window scores; None: half of the context.
        lines: give the values of lines too.
        tokens: give the values of tokens too.
    """

    mode: WindowMode = WindowMode.STRIDED
    stride: int | None = None
    lines: bool = False
    tokens: bool = False


@dataclass(frozen=True, kw_only=True)
class NllStats:
    """How unexpected some text is.

    Attributes:
        tokens: tokens that were scored.
        bytes: their length.
        nll: their negative log-likelihood in nats; 0.0 without tokens.
    """

    tokens: int
    bytes: int
    nll: float

    @property
    def bits_per_byte(self) -> float | None:
        """The nll / (bytes * ln 2), which does not depend on the vocabulary; None without bytes."""
        return self.nll / (self.bytes * log(2)) if self.bytes else None

    @property
    def perplexity(self) -> float | None:
        """exp(nll / tokens); None without tokens, or beyond what a float holds."""
        try:
            return exp(self.nll / self.tokens) if self.tokens else None
        except OverflowError:
            return None

    @staticmethod
    def pooled(parts: Iterable["NllStats"]) -> "NllStats":
        """The value of several texts together: sums, never means of means."""
        listed = list(parts)
        return NllStats(
            tokens=sum(part.tokens for part in listed),
            bytes=sum(part.bytes for part in listed),
            nll=sum(part.nll for part in listed),
        )


@dataclass(frozen=True, kw_only=True)
class LineScore(NllStats):
    """A line, its line end included; `tokens` begin in it.

    A token that reaches over a line end shares its surprise among the lines by its bytes, so that
    the lines of a text add up to it.

    Attributes:
        line: its number, from 1.
        start: its first byte in the file.
        end: the byte after it.
    """

    line: int
    start: int
    end: int


@dataclass(frozen=True)
class TokenScore:
    """A token.

    Attributes:
        id: its number in the vocabulary.
        start: its first byte in the file; it may lie inside a character.
        end: the byte after it.
        line: the line that it begins in, from 1.
        logprob: the natural logarithm of its probability.
    """

    id: int
    start: int
    end: int
    line: int
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenScores(Sequence[TokenScore]):
    """Tokens by columns: 32 bytes for each, where an object and its numbers take 170.

    Attributes:
        ids: see `TokenScore`, as for the others.
        starts: first bytes.
        ends: bytes after them.
        lines: line numbers.
        logprobs: natural logarithms of probabilities.
    """

    ids: "array[int]" = field(default_factory=partial(array, "i"))
    starts: "array[int]" = field(default_factory=partial(array, "Q"))
    ends: "array[int]" = field(default_factory=partial(array, "Q"))
    lines: "array[int]" = field(default_factory=partial(array, "I"))
    logprobs: "array[float]" = field(default_factory=lambda: array("d"))

    @classmethod
    def of(cls, tokens: Iterable[TokenScore]) -> Self:
        """Tokens that are objects."""
        columns = cls()
        for one in tokens:
            columns.append(one.id, one.start, one.end, one.line, one.logprob)
        return columns

    def append(self, number: int, start: int, end: int, line: int, logprob: float) -> None:
        """Add a token; the arguments are those of `TokenScore`."""
        self.ids.append(number)
        self.starts.append(start)
        self.ends.append(end)
        self.lines.append(line)
        self.logprobs.append(logprob)

    def __len__(self) -> int:
        """How many tokens there are."""
        return len(self.ids)

    def __iter__(self) -> Iterator[TokenScore]:
        """Make an object of each token in turn."""
        columns = (self.ids, self.starts, self.ends, self.lines, self.logprobs)
        return map(TokenScore, *columns)

    @overload
    def __getitem__(self, place: int) -> TokenScore: ...
    @overload
    def __getitem__(self, place: slice) -> "TokenScores": ...
    def __getitem__(self, place: int | slice) -> "TokenScore | TokenScores":
        """A token, or a range of them."""
        if isinstance(place, slice):
            return TokenScores(
                self.ids[place],
                self.starts[place],
                self.ends[place],
                self.lines[place],
                self.logprobs[place],
            )
        return TokenScore(
            self.ids[place],
            self.starts[place],
            self.ends[place],
            self.lines[place],
            self.logprobs[place],
        )


@dataclass(frozen=True, kw_only=True)
class Score(NllStats):
    """A text.

    Attributes:
        windows: how many the model read.
        lines: one for each line, if they were asked for.
        token_scores: one for each token that was scored, if they were asked for.
    """

    windows: int
    lines: tuple[LineScore, ...] = ()
    token_scores: Sequence[TokenScore] = ()
