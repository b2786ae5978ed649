"""Guesses by a smaller model with the same tokenizer (see `speculative`)."""

from collections.abc import Sequence

import numpy as np

from gpt_bigcode.backends.interfaces import StepDecoder
from gpt_bigcode.generation.loop import FloatArray, probabilities
from gpt_bigcode.generation.speculative import Draft, PromptLookup

_SURE_MATCH = 6  # tokens: a copy after so long a match needs no model
_LEAST_SHARE = 0.3  # the model stops guessing when it is less sure than this of all its guesses


class ModelDrafter:
    """Lets a smaller model with the same tokenizer write; a long copy from the text goes first."""

    def __init__(self, decoder: StepDecoder) -> None:
        self._decoder = decoder
        self._lookup = PromptLookup()
        self._text: list[int] = []
        self._cached: list[int] = []  # what the decoder has read: the text, then guesses
        self._certain = 0  # tokens of the text among them

    def read(self, tokens: Sequence[int]) -> None:
        """Append tokens that are certain."""
        self._text += tokens
        self._lookup.read(tokens)

    def prepare(self) -> None:
        """Let the model read the prompt."""
        if not self._cached and len(self._text) < self._decoder.context_length:
            self._read_on()

    def propose(self, most: int) -> Draft:
        """Guess up to `most` tokens, fewer where the model is in doubt."""
        copied = self._lookup.propose(most)
        most = min(most, self._decoder.context_length - len(self._text))
        if most < 1 or copied.grades[:1] >= (_SURE_MATCH,):
            return copied
        logits = self._read_on()
        tokens: list[int] = []
        grades: list[int] = []
        reached, passes = 1.0, 1
        while True:
            token = int(logits.argmax())
            share = float(probabilities(logits)[token])
            reached *= share
            if reached < _LEAST_SHARE:
                break
            tokens.append(token)
            grades.append(min(max(int(share * 10) * 10 + 5, 15), 95))
            if len(tokens) == most:
                break
            logits = self._decoder.decode([token])[0]
            passes += 1
            self._cached.append(token)
        return Draft(tuple(tokens), tuple(grades), passes)

    def _read_on(self) -> FloatArray:
        """The smaller model's logits after the text, [V]."""
        text, cached = self._text, self._cached
        same, most = self._certain, min(len(text) - 1, len(cached))
        while same < most and cached[same] == text[same]:
            same += 1  # guesses that were right
        self._cached, self._certain = list(text), len(text)
        if not cached:
            return np.asarray(self._decoder.prefill([text])[0])
        same = min(same, len(text) - 1)
        self._decoder.truncate(same)
        return np.asarray(self._decoder.append(text[same:])[-1])
