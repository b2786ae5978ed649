"""A sampling rule: a new text begins before it ends."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from gpt_bigcode.generation.sampling import FloatArray


@dataclass(frozen=True)
class FirstToken:
    """Removes end tokens as the first token of a text.

    In training one end token follows another where a document was empty, so that a model asked for
    a new document may end it at once.

    Attributes:
        end_ids: the tokens that end a text.
    """

    end_ids: Collection[int]

    def __call__(self, logits: FloatArray, context_ids: Sequence[int]) -> FloatArray:
        """[V] -> [V]; `context_ids` are the tokens written so far."""
        if context_ids:
            return logits
        masked = logits.copy()
        masked[list(self.end_ids)] = -np.inf
        return masked if np.isfinite(masked).any() else logits
