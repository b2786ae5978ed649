"""A sampling rule: a line that goes round in a loop takes another token instead."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gpt_bigcode.generation.sampling import FloatArray

_LONGEST_PERIOD = 48
_COPIES = 4
_LEAST_BYTES = 80
# Two letters that differ: one letter over and over is a ruler.
_WORD = re.compile(rb"([A-Za-z])(?!\1)[A-Za-z]")


@dataclass(frozen=True)
class LoopRule:
    """Removes the token that would go on with what a line has four times in a row.

    The loop guard would cut the line there, in its middle; so it can find its end. Only copies with
    a word count, and only where they are 80 bytes or more together: rows of numbers and rulers may
    repeat. Loops of whole lines are left to the guard, which cuts them at a line's end.

    Attributes:
        spellings: the bytes of every token by id.
    """

    spellings: Sequence[bytes]

    def __call__(self, logits: FloatArray, context_ids: Sequence[int]) -> FloatArray:
        """[V] -> [V]; `context_ids` are the tokens written so far."""
        tail = list(context_ids[-_COPIES * _LONGEST_PERIOD :])
        refused = [
            tail[-period] for period, run in _loops(tail) if self._is_loop(tail, period, run)
        ]
        if not refused:
            return logits
        masked = logits.copy()
        masked[refused] = -np.inf
        return masked if np.isfinite(masked).any() else logits

    def _is_loop(self, tail: Sequence[int], period: int, run: int) -> bool:
        copy, whole = self._bytes(tail[-period:]), self._bytes(tail[-run:])
        return len(whole) >= _LEAST_BYTES and b"\n" not in copy and _WORD.search(copy) is not None

    def _bytes(self, tokens: Sequence[int]) -> bytes:
        known = len(self.spellings)
        return b"".join(self.spellings[token] for token in tokens if token < known)


def _loops(tail: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Periods of which the last tokens are four copies or more, and the lengths of these runs."""
    for period in range(1, len(tail) // _COPIES + 1):
        run = period
        while run < len(tail) and tail[-1 - run] == tail[-1 - run + period]:
            run += 1
        if run >= _COPIES * period:
            yield period, run
