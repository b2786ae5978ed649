"""Guesses of what comes next: copied from the text itself, or written by a smaller model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gpt_bigcode.backends.interfaces import StepDecoder
from gpt_bigcode.generation.sampling import FloatArray, probabilities

LONGEST_DRAFT = 8
LONGEST_MATCH = 8
_SHORTEST_MATCH = 2
# How often a copied token was right after a match of so many tokens, in texts that the built-in
# model wrote into and after files of installed packages: where counting starts.
_MATCH_SHARES = {2: 0.38, 3: 0.55, 4: 0.62, 5: 0.7, 6: 0.72, 7: 0.78, 8: 0.92}
_PRIOR_WEIGHT = 6.0
_SURE_MATCH = 6  # a copy after so long a match needs no model
_LEAST_SHARE = 0.3


@dataclass(frozen=True)
class Draft:
    """Guessed tokens.

    Attributes:
        tokens: their ids.
        grades: what speaks for each of them, for `Acceptance`.
        passes: how often a smaller model was asked.
    """

    tokens: tuple[int, ...] = ()
    grades: tuple[int, ...] = ()
    passes: int = 0


class Drafter(Protocol):
    """Whatever guesses."""

    def read(self, tokens: Sequence[int]) -> None:
        """Append tokens that are certain."""
        ...

    def prepare(self) -> None:
        """Do what is needed once before the first guess; its time is no guess's fault."""
        ...

    def propose(self, most: int) -> Draft:
        """Guess up to `most` tokens."""
        ...


class PromptLookup:
    """Copies what followed the last two tokens when they stood side by side before.

    One entry for each pair of neighbours holds the place of its latest occurrence, so that reading
    a token and finding a match take the same time in a text of any length. Longer chains of older
    occurrences guessed no better (the latest use of a name is the best one to copy).
    """

    def __init__(self) -> None:
        self._text: list[int] = []
        self._latest: dict[tuple[int, int], int] = {}  # a pair -> the place of its second token
        self._match = -1

    def read(self, tokens: Sequence[int]) -> None:
        """Append tokens that are certain."""
        text = self._text
        for token in tokens:
            if text:
                pair = (text[-1], token)
                self._match = self._latest.get(pair, -1)
                self._latest[pair] = len(text)
            text.append(token)

    def prepare(self) -> None:
        """Nothing: what was read is ready."""

    def propose(self, most: int) -> Draft:
        """Copy up to `most` tokens; a copy that reaches the text's end goes on with itself."""
        if self._match < 0 or most < 1:
            return Draft()
        start, end = self._match + 1, len(self._text)
        tokens = list(self._text[start : start + most])
        while len(tokens) < most:
            tokens.append(tokens[start + len(tokens) - end])
        matched = self._matched()
        grades = (min(matched + place, LONGEST_MATCH) for place in range(most))
        return Draft(tuple(tokens), tuple(grades))

    def _matched(self) -> int:
        """How many tokens before the two places are equal, as far as it matters."""
        text, there, here = self._text, self._match, len(self._text) - 1
        length = _SHORTEST_MATCH
        while (
            length < LONGEST_MATCH
            and there >= length
            and text[there - length] == (text[here - length])
        ):
            length += 1
        return length


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


class Acceptance:
    """How often guesses of a grade were right so far."""

    def __init__(self) -> None:
        self._right: dict[int, float] = {}
        self._tried: dict[int, float] = {}

    def share(self, grade: int) -> float:
        """The expected share of right guesses of this grade, given that those before are right."""
        prior = _MATCH_SHARES.get(grade, grade / 100)
        right = self._right.get(grade, 0.0) + prior * _PRIOR_WEIGHT
        return right / (self._tried.get(grade, 0.0) + _PRIOR_WEIGHT)

    def count(self, grades: Sequence[int], right: int) -> None:
        """Learn that the first `right` of these guesses were right, and the next one wrong."""
        for grade in grades[: right + 1]:
            self._tried[grade] = self._tried.get(grade, 0.0) + 1
        for grade in grades[:right]:
            self._right[grade] = self._right.get(grade, 0.0) + 1
