"""How a causal model sees what follows a token: labels read late, or a window read twice.

Knows rows of ids, no text. Both are written into config.json as `tagging`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from training.secret_tagger.tokens import IGNORED

END = 0


class ReadMode(Enum):
    """Whether a row holds its window once or twice."""

    ONCE = "once"
    TWICE = "twice"


@dataclass(frozen=True)
class Reading:
    """The logits `delay` places after a token label it; read twice, those of its second copy."""

    mode: ReadMode
    delay: int

    def window(self, positions: int) -> int:
        """The most tokens of a text in one row."""
        return positions - self.delay if self.mode is ReadMode.ONCE else (positions - 1) // 2

    def row_tokens(self, length: int) -> int:
        """Ids of the row for a window of `length` tokens, in training."""
        return length if self.mode is ReadMode.ONCE else 2 * length + 1

    def arrange(self, ids: np.ndarray, tags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and what their logits should say, from ids and tags [B, T] of a stream."""
        unknown = np.full_like(tags, IGNORED)
        if self.mode is ReadMode.ONCE:
            unknown[:, self.delay :] = tags[:, : tags.shape[1] - self.delay]
            return ids, unknown
        border = np.full((len(ids), 1), END, dtype=ids.dtype)
        lost = np.full((len(ids), 1), IGNORED, dtype=tags.dtype)
        return np.hstack([ids, border, ids]), np.hstack([unknown, lost, tags])

    def row(self, window: list[int]) -> list[int]:
        """The row for a window of a file."""
        if self.mode is ReadMode.ONCE:
            return [*window, *[END] * self.delay]
        return [*window, END, *window]

    def places(self, length: int) -> slice:
        """Where the row's logits label the window's tokens."""
        if self.mode is ReadMode.ONCE:
            return slice(self.delay, self.delay + length)
        return slice(length + 1, 2 * length + 1)
