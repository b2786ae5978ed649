"""The ends of recent prompts, after their whole blocks, for a text that grows by a few tokens.

A prompt is read in parts. What was computed of a part counts for another prompt, bit for bit, if
that one has the same part; and in a loose part, whose tokens may be read in any pieces, as far as
the two agree.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bigcode_cli.server.engine.prefix_tree import common_length

Ends = Callable[[int], Sequence[int]]


@dataclass(frozen=True)
class _Tail:
    """A prompt, and the keys and values of its tokens from `start` on."""

    tokens: tuple[int, ...]
    start: int
    data: bytes


class Tails:
    """Bounded in bytes; the oldest go first."""

    def __init__(self, limit_bytes: int, ends: Ends, loose_tokens: int) -> None:
        """Keep nothing yet.

        Args:
            limit_bytes: what all may take.
            ends: where the parts of a prompt of some length end.
            loose_tokens: a last part that is shorter is loose.
        """
        self.bytes = 0
        self._limit, self._ends, self._loose = limit_bytes, ends, loose_tokens
        self._kept: deque[_Tail] = deque()
        self._lock = threading.Lock()

    def find(self, prompt: Sequence[int], start: int) -> tuple[bytes, int]:
        """What counts of the tokens from `start` on.

        Returns:
            Keys and values, and how many of the prompt's tokens are known with those of them that
            count; without any, no bytes and `start`.
        """
        best, known = b"", start
        with self._lock:
            kept = list(self._kept)
        for tail in kept:
            if tail.start == start:
                reached = self._reached(prompt, tail)
                if reached > known:
                    best, known = tail.data, reached
        return best, known

    def add(self, prompt: Sequence[int], start: int, data: bytes) -> None:
        """Keep the keys and values of a prompt's tokens from `start` on."""
        with self._lock:
            self._kept.append(_Tail(tuple(prompt), start, data))
            self.bytes += len(data)
            while self.bytes > self._limit:
                self.bytes -= len(self._kept.popleft().data)

    def _reached(self, prompt: Sequence[int], tail: _Tail) -> int:
        """How many of the prompt's tokens are known with a tail; the last one never is."""
        common = min(common_length(prompt, tail.tokens), len(prompt) - 1)
        theirs = self._parts(tail.start, len(tail.tokens))
        known = tail.start
        for part in self._parts(tail.start, len(prompt)):
            first, end = part
            if end == len(prompt) and end - first < self._loose:
                same_loose = theirs[-1][0] == first and len(tail.tokens) - first < self._loose
                return max(known, common) if same_loose and common > first else known
            if part not in theirs or end > common:
                return known
            known = end
        return known

    def _parts(self, start: int, length: int) -> list[tuple[int, int]]:
        """First token and end of each part from `start` on."""
        ends = [end for end in self._ends(length) if end > start]
        return list(zip([start, *ends[:-1]], ends, strict=True))
