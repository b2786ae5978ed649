"""Splits a text into lines and runs of characters, each with the bits of its token."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import log
from operator import itemgetter
from typing import TYPE_CHECKING

from gpt_bigcode.text_form import mark_size, without_line_end, without_mark

if TYPE_CHECKING:
    from gpt_bigcode.scoring.results import LineScore, Score, TokenScore

LEVEL_BITS = (3, 6, 9, 12)
"""The least bits of levels 1 to 4: a probability of 1 in 8, 64, 512 and 4,096."""

_TELLING_BYTES, _TELLING_TOKENS = 8, 3


@dataclass(frozen=True)
class Run:
    """Characters that belong together.

    Attributes:
        text: the characters, as they are in the file.
        level: 0 to 4, see `LEVEL_BITS`; tokens of level 0 are not told apart.
        bits: the surprise of their token, or of the worst of several that share a character.
    """

    text: str
    level: int
    bits: float


@dataclass(frozen=True)
class ShownLine:
    """A line without its line end.

    Attributes:
        score: its values.
        runs: its characters.
        telling: whether it is long enough for its bits per byte to mean something.
    """

    score: "LineScore"
    runs: tuple[Run, ...]
    telling: bool

    @property
    def bits_per_byte(self) -> float:
        """0.0 without bytes."""
        return self.score.bits_per_byte or 0.0

    @property
    def text(self) -> str:
        """The whole line."""
        return "".join(run.text for run in self.runs)


def most_surprising(lines: Iterable[ShownLine]) -> list[ShownLine]:
    """Return the most surprising lines first, without blank and very short ones."""
    telling = [line for line in lines if line.telling and line.text.strip()]
    return sorted(telling, key=lambda line: (-line.bits_per_byte, line.score.line))


def shown_lines(text: str, score: "Score") -> Iterator[ShownLine]:
    """Yield the lines of a text, as far as it is known and was scored.

    Args:
        text: the text, perhaps only its beginning.
        score: its values, with lines and tokens.
    """
    data, tokens, first = text.encode(), score.token_scores, 0
    for line in score.lines:
        if line.end > len(data):
            return
        while first < len(tokens) and tokens[first].end <= line.start:
            first += 1
        content = data[line.start : line.end].decode()
        start = line.start + mark_size(content)
        content = without_line_end(without_mark(content))
        values = _values(content, start, tokens, first)
        telling = line.bytes >= _TELLING_BYTES and line.tokens >= _TELLING_TOKENS
        yield ShownLine(line, tuple(_runs(content, values)), telling)


def _level_of(bits: float) -> int:
    """Return the level of a number of bits."""
    return sum(bits >= limit for limit in LEVEL_BITS)


def _values(
    content: str, start: int, tokens: Sequence["TokenScore"], first: int
) -> Iterator[tuple[int, float]]:
    """Yield the token of each character and its bits; the worst of tokens that share one."""
    for char in content:
        end = start + len(char.encode())
        while first < len(tokens) and tokens[first].end <= start:
            first += 1
        worst, place = 0.0, first
        last = first
        while last < len(tokens) and tokens[last].start < end:
            bits = -tokens[last].logprob / log(2)
            if bits > worst:
                worst, place = bits, last
            last += 1
        yield place, worst
        start = end


def _runs(content: str, values: Iterator[tuple[int, float]]) -> Iterator[Run]:
    keyed = (
        (char, (place, bits) if bits >= LEVEL_BITS[0] else (-1, 0.0))
        for char, (place, bits) in zip(content, values, strict=True)
    )
    for (_, bits), group in groupby(keyed, key=itemgetter(1)):
        yield Run("".join(map(itemgetter(0), group)), _level_of(bits), bits)
