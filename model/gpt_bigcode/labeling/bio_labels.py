"""What the labels of a token classifier mean: kinds of spans, plain or with BIO prefixes.

`B-EMAIL`, `I-EMAIL` and `EMAIL` are one kind; `O`, or LABEL_0 where no label is
called so, is no kind at all.
"""

import re
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import ConfigError
from gpt_bigcode.labeling.viterbi import BestPath

OUTSIDE, UNNAMED_OUTSIDE = "O", "LABEL_0"
_PREFIXED = re.compile(r"([BIESLU])-(.+)", re.DOTALL)
_BEGINNINGS, _CONTINUATIONS, _UNFINISHED = frozenset("BSU"), frozenset("IEL"), frozenset("BI")
NO_KIND = -1
"""In the place of a kind's number: none."""


@dataclass(frozen=True)
class TokenLabels:
    """What a classifier says of T tokens, with N kinds.

    Attributes:
        outside: the probability of no kind, [T].
        kinds: those of the kinds, all their labels together, [T, N].
        begins: whether the likeliest label of a kind begins a span, [T, N].
        chosen: the kind of each token, or NO_KIND, [T].
    """

    outside: NDArray[np.float64]
    kinds: NDArray[np.float64]
    begins: NDArray[np.bool_]
    chosen: NDArray[np.intp]


class LabelScheme:
    """The labels of a checkpoint.

    Attributes:
        kinds: names of the N kinds in the order of the labels.
    """

    def __init__(self, labels: list[str]) -> None:
        """Read the names of C labels.

        Raises:
            ConfigError: none of them means "no label", or there is no other.
        """
        upper = [label.upper() for label in labels]
        name = OUTSIDE if OUTSIDE in upper else UNNAMED_OUTSIDE
        if name not in upper:
            raise ConfigError(f"id2label: no label is called {OUTSIDE} or {UNNAMED_OUTSIDE}")
        parts = [_parts(label) for label in labels]
        kinds = [
            None if outside == name else kind
            for (_, kind), outside in zip(parts, upper, strict=True)
        ]
        self.kinds = tuple(dict.fromkeys(kind for kind in kinds if kind is not None))
        if not self.kinds:
            raise ConfigError("id2label: there is no label but the one for no label")
        self._outside = np.asarray([kind is None for kind in kinds])
        self._member = np.asarray([[kind == one for one in self.kinds] for kind in kinds])
        self._begins = np.asarray([prefix in _BEGINNINGS for prefix, _ in parts])
        self._number = np.where(self._outside, NO_KIND, self._member.argmax(axis=1))
        prefixes = [prefix for prefix, _ in parts]
        going_on = np.asarray([prefix in _CONTINUATIONS for prefix in prefixes])
        unfinished = np.asarray([prefix in _UNFINISHED for prefix in prefixes])
        same = self._number[:, None] == self._number
        self._follows = ~going_on | (same & unfinished[:, None])

    @classmethod
    def of(cls, config: GPTBigCodeConfig) -> Self:
        """The labels that a configuration names."""
        return cls([config.label(index) for index in range(config.label_count)])

    def path(self) -> BestPath:
        """A search for the labels of a text that can follow each other; B begins, I goes on."""
        return BestPath(self._follows, int(self._outside.argmax()))

    def read(self, logits: NDArray[np.float32], path: BestPath | None = None) -> TokenLabels:
        """Turn the logits of tokens into probabilities, [T, C].

        Every token's kind is its likeliest one, if that is likelier than none; with a path, what
        that chooses.
        """
        shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
        shares = shifted / shifted.sum(axis=-1, keepdims=True)
        begins = (shares * self._begins) @ self._member
        kinds = shares @ self._member
        outside = shares[:, self._outside].sum(axis=-1)
        if path is None:
            likeliest = np.where(kinds.max(axis=-1) > outside, kinds.argmax(axis=-1), NO_KIND)
            return TokenLabels(outside, kinds, begins > kinds - begins, likeliest)
        labels = path.choose(shares)
        begun = np.repeat(self._begins[labels][:, None], len(self.kinds), axis=1)
        return TokenLabels(outside, kinds, begun, self._number[labels])


def _parts(label: str) -> tuple[str, str]:
    """A label's prefix, if it has one, and its kind."""
    found = _PREFIXED.fullmatch(label)
    return (found[1], found[2]) if found else ("", label)
