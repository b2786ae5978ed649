"""What the labels of a token classifier mean: kinds of spans, plain or with BIO prefixes.

Knows no text. `B-EMAIL`, `I-EMAIL` and `EMAIL` are one kind; `O`, or LABEL_0 where no label is
called so, is no kind at all.
"""

import re
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import ConfigError

OUTSIDE, UNNAMED_OUTSIDE = "O", "LABEL_0"
_PREFIXED = re.compile(r"([BIESLU])-(.+)", re.DOTALL)
_BEGINNINGS = frozenset("BSU")


@dataclass(frozen=True)
class TokenLabels:
    """What a classifier says of T tokens, with N kinds.

    Attributes:
        outside: the probability of no kind, [T].
        kinds: those of the kinds, all their labels together, [T, N].
        begins: whether the likeliest label of a kind begins a span, [T, N].
    """

    outside: NDArray[np.float64]
    kinds: NDArray[np.float64]
    begins: NDArray[np.bool_]


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

    @classmethod
    def of(cls, config: GPTBigCodeConfig) -> Self:
        """The labels that a configuration names."""
        return cls([config.label(index) for index in range(config.label_count)])

    def read(self, logits: NDArray[np.float32]) -> TokenLabels:
        """Turn the logits of tokens into probabilities, [T, C]."""
        shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
        shares = shifted / shifted.sum(axis=-1, keepdims=True)
        begins = (shares * self._begins) @ self._member
        kinds = shares @ self._member
        return TokenLabels(shares[:, self._outside].sum(axis=-1), kinds, begins > kinds - begins)


def _parts(label: str) -> tuple[str, str]:
    """A label's prefix, if it has one, and its kind."""
    found = _PREFIXED.fullmatch(label)
    return (found[1], found[2]) if found else ("", label)
