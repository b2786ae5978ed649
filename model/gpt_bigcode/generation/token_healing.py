"""Token healing: a prompt may end anywhere, also where no token of ordinary text does.

A byte-level BPE joins a line break with the indentation after it, and a name with
the space before it. A prompt that ends with a line break therefore ends with a token that training
saw at the end of files, and a model writes its end token next. So the last token is taken off, and
what is written first must spell its bytes again, by whatever tokens the model finds likely.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpt_bigcode.generation.sampling import FloatArray


@dataclass(frozen=True)
class Healing:
    """A sampling rule: the first tokens must spell `start`; they may go on beyond it.

    Attributes:
        start: the bytes that were taken off the prompt.
        spellings: the bytes of every token by id; control tokens have none.
    """

    start: bytes
    spellings: tuple[bytes, ...]

    def __call__(self, logits: FloatArray, context_ids: Sequence[int]) -> FloatArray:
        """[V] -> [V]; `context_ids` are the tokens written so far."""
        spelled = 0
        for token in context_ids:
            spelled += len(self.spellings[token])
            if spelled >= len(self.start):
                return logits
        rest = self.start[spelled:]
        fits = [
            token
            for token, bytes_ in enumerate(self.spellings)
            if bytes_ and (bytes_.startswith(rest) or rest.startswith(bytes_))
        ]
        healed = np.full_like(logits, -np.inf)
        healed[fits] = logits[fits]
        return healed
