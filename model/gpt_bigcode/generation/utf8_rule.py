"""A sampling rule: what is written stays well-formed UTF-8, and no text ends inside a character."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gpt_bigcode.generation.sampling import FloatArray
from gpt_bigcode.tokenization.utf8 import State, Utf8Tokens, state_after

_TAIL_BYTES = 3  # of an unfinished character


@dataclass(frozen=True)
class Utf8Rule:
    """Removes tokens that would begin or continue an ill-formed sequence.

    Attributes:
        spellings: the bytes of every token by id; control tokens have none.
        tokens: their classes.
        before: the last bytes before the first token that is written.
    """

    spellings: Sequence[bytes]
    tokens: Utf8Tokens
    before: bytes = b""

    def __call__(self, logits: FloatArray, context_ids: Sequence[int]) -> FloatArray:
        """[V] -> [V]; `context_ids` are the tokens written so far."""
        state = self._state(context_ids)
        if state is None:
            if not len(self._refused):
                return logits
            masked = logits.copy()
            masked[self._refused] = -np.inf
            return masked
        allowed = np.asarray(self.tokens.allowed[state], np.intp)
        if not len(allowed):  # nothing in the vocabulary can finish the character
            return logits
        masked = np.full_like(logits, -np.inf)
        masked[allowed] = logits[allowed]
        return masked

    @cached_property
    def _refused(self) -> NDArray[np.intp]:
        return np.asarray(self.tokens.refused, np.intp)

    def _state(self, written: Sequence[int]) -> State | None:
        tail = b""
        for token in reversed(written):
            tail = (self.spellings[token] if token < len(self.spellings) else b"") + tail
            if len(tail) >= _TAIL_BYTES:
                break
        else:
            tail = self.before + tail
        return state_after(tail)
