"""How a tagger reads a text that is longer than its context.

A causal model sees nothing that follows a token. What a checkpoint was trained to do about it is in
config.json: `"tagging": {"read": "once", "delay": 4}`, `"tagging": {"read": "twice"}` or
`"tagging": {"read": "lines", "delay": 4}`, and, where a sequence of labels is better than single
ones, `"spans": "best_path"` with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import ConfigError
from gpt_bigcode.windowing.document_stream import Window

FIELD = "tagging"
"""The object in config.json."""
_MOST_DELAY = 4  # a delay takes at most a fourth of the context
_OVERLAP = 4  # windows share a fourth of their tokens


class ReadMode(StrEnum):
    """Where the label of a token is read."""

    ONCE = "once"
    """`delay` tokens later; as many `<|endoftext|>` follow the window."""
    TWICE = "twice"
    """In a second copy of the window, after an `<|endoftext|>`."""
    LINES = "lines"
    """As once, each line by itself: answered as soon as it is there, and equal lines alike."""


class SpanMode(StrEnum):
    """How the labels of tokens become spans."""

    INDEPENDENT = "independent"
    """Every token by itself; what a missed token tears apart is mended."""
    BEST_PATH = "best_path"
    """The likeliest sequence in which no label contradicts the one before; whole words."""


@dataclass(frozen=True, kw_only=True)
class TagWindows:
    """The windows of a text (see `document_stream.Windows`), and the row of ids read for each.

    Windows overlap. A token gets its label from the window in which the model sees most around it:
    in the middle of what two windows share the later one takes over; with a delay as soon as the
    earlier one cannot look `delay` tokens ahead.

    Attributes:
        context_length: the most ids of a row.
        end_id: the id of `<|endoftext|>`.
        mode: see `ReadMode`.
        delay: tokens, for modes once and lines.
        spans: see `SpanMode`.

    Raises:
        ConfigError: a delay that is negative or more than a fourth of the context, or one for mode
            twice; a context without room for a token.
    """

    context_length: int
    end_id: int
    mode: ReadMode = ReadMode.ONCE
    delay: int = 0
    spans: SpanMode = SpanMode.INDEPENDENT

    def __post_init__(self) -> None:
        most = self.context_length // _MOST_DELAY
        if not 0 <= self.delay <= most:
            raise ConfigError(f"{FIELD}: delay: {self.delay} is not 0 to {most}")
        if self.delay and self.mode is ReadMode.TWICE:
            raise ConfigError(f"{FIELD}: delay: a text that is read twice has none")
        if self.window_tokens < 1:
            raise ConfigError(f"n_positions: {self.context_length} is too short to read twice")

    @classmethod
    def of(cls, config: GPTBigCodeConfig, end_id: int) -> Self:
        """What a configuration asks for; once without delay if it is silent.

        Raises:
            ConfigError: the object `tagging` says something impossible; the field is named.
        """
        values: Any = config.extra.get(FIELD)
        values = {} if values is None else values
        if not isinstance(values, Mapping):
            raise ConfigError(f"{FIELD}: expected an object, got {str(values)[:80]!r}")
        unknown = sorted(set(values) - {"read", "delay", "spans"})
        if unknown:
            raise ConfigError(f"{FIELD}: {str(unknown[0])[:80]}: there is no such field")
        read, delay = values.get("read", ReadMode.ONCE.value), values.get("delay", 0)
        if read not in tuple(ReadMode):
            raise ConfigError(f"{FIELD}: read: {str(read)[:80]!r} is not once, twice or lines")
        if type(delay) is not int:
            raise ConfigError(f"{FIELD}: delay: {str(delay)[:80]!r} is not a whole number")
        spans = values.get("spans", SpanMode.INDEPENDENT.value)
        if spans not in tuple(SpanMode):
            modes = " or ".join(SpanMode)
            raise ConfigError(f"{FIELD}: spans: {str(spans)[:80]!r} is not {modes}")
        return cls(
            context_length=config.n_positions,
            end_id=end_id,
            mode=ReadMode(read),
            delay=delay,
            spans=SpanMode(spans),
        )

    @property
    def window_tokens(self) -> int:
        """The most tokens of a window."""
        if self.mode is ReadMode.TWICE:
            return (self.context_length - 1) // 2
        return self.context_length - self.delay

    @property
    def overlap(self) -> int:
        """How many tokens neighbouring windows share."""
        return max(self.window_tokens // _OVERLAP, 2 * self.delay)

    @property
    def start_ids(self) -> Sequence[int]:
        """See `document_stream.Windows`."""
        return ()

    @property
    def history(self) -> int:
        """See `document_stream.Windows`."""
        return max(self.overlap, self.window_tokens // 2)

    def row(self, ids: Sequence[int]) -> list[int]:
        """What the model reads for the tokens of a window."""
        if self.mode is ReadMode.TWICE:
            return [*ids, self.end_id, *ids]
        return [*ids, *[self.end_id] * self.delay]

    def labels(self, logits: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """The logits of the `count` tokens of a window among those of its row, [T, C]."""
        return logits[len(logits) - count :]

    def next(self, before: Window | None, known: int, *, ended: bool) -> Window | None:
        """See `document_stream.Windows`."""
        size, overlap = self.window_tokens, self.overlap
        first = 0 if before is None else before.last
        start = 0 if before is None else self._start_after(before)
        if known > start + size:
            margin = overlap // 2 if self.mode is ReadMode.TWICE else self.delay
            return Window(start, start + size, first, start + size - margin)
        if not ended or first >= known:
            return None
        return Window(start, known, first, known)

    def _start_after(self, before: Window) -> int:
        """Where the next window begins; after one that a pause cut short, it looks back."""
        if before.stop - before.start == self.window_tokens:
            return before.stop - self.overlap
        return max(before.start, before.stop - self.history)
