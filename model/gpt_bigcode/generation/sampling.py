"""Temperature, top-k, top-p, min-p and repetition penalty: what `Sampler` applies to logits.

Source of the formulas: the reference implementation's logits processors (transformers 5.23),
compared on values in the tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from gpt_bigcode.generation.loop import FloatArray, Rule, Sampler, powers

_FEW = 512  # tokens that nearly always hold all the probability that top-p asks for
_COLDEST = 1e-30  # float32 divides by this; anything colder is as greedy


def build_sampler(
    *,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
) -> Sampler:
    """A sampler with the reference's order of rules; a rule that changes nothing is left out.

    Args:
        temperature: 0 takes the best token, whatever the filters say.
        top_k: 0 keeps all.
        top_p: above 0, at most 1; 1 keeps all.
        min_p: 0 to 1; 0 keeps all.
        repetition_penalty: above 0; 1 changes nothing.

    `CompletionOptions` checks the ranges.
    """
    rules: list[Rule] = []
    if repetition_penalty != 1:
        rules.append(RepetitionPenalty(repetition_penalty))
    if temperature > 0:
        if temperature != 1:
            rules.append(Temperature(temperature))
        if top_k:
            rules.append(TopK(top_k))
        if top_p < 1:
            rules.append(TopP(top_p))
        if min_p:
            rules.append(MinP(min_p))
    return Sampler(rules=tuple(rules), greedy=temperature == 0)


@dataclass(frozen=True)
class RepetitionPenalty:
    """Makes tokens that were written before less likely.

    Their logits are divided by `penalty`, negative ones multiplied. It harms code, whose brackets
    and names are meant to repeat.
    """

    penalty: float

    @property
    def gain(self) -> float:
        """See `Sampler.gain`."""
        return max(self.penalty, 1 / self.penalty)

    def __call__(self, logits: FloatArray, context_ids: Sequence[int]) -> FloatArray:
        """[V] -> [V]; `context_ids` are the tokens to discourage."""
        ids = np.unique(np.asarray(context_ids, dtype=np.int64))
        scores = logits[ids]
        changed = logits.copy()
        changed[ids] = np.where(scores < 0, scores * self.penalty, scores / self.penalty)
        return changed


@dataclass(frozen=True)
class Temperature:
    """Divides the logits: below 1 sharper, above 1 flatter."""

    temperature: float

    def __call__(self, logits: FloatArray, context_ids: Sequence[int]) -> FloatArray:  # noqa: ARG002
        """[V] -> [V], shifted so that the highest is 0: a tiny temperature gives -inf, not NaN."""
        below = logits - logits.max()
        with np.errstate(over="ignore"):
            below /= max(self.temperature, _COLDEST)
        return np.asarray(below)


@dataclass(frozen=True)
class TopK:
    """Keeps exactly the `k` most likely tokens; of equal ones, those with the lowest ids."""

    k: int

    def __call__(self, logits: FloatArray, context_ids: Sequence[int]) -> FloatArray:  # noqa: ARG002
        """[V] -> [V]."""
        if self.k >= len(logits):
            return logits
        return _only(logits, _best(logits, self.k)[: self.k])


@dataclass(frozen=True)
class TopP:
    """Keeps the most likely tokens that together reach probability `p`, at least one."""

    p: float

    def __call__(self, logits: FloatArray, context_ids: Sequence[int]) -> FloatArray:  # noqa: ARG002
        """[V] -> [V]."""
        if self.p >= 1:
            return logits
        terms = powers(logits)
        wanted = self.p * terms.sum(dtype=np.float64)
        # Nearly always a few tokens reach p: sorting the whole vocabulary would cost most.
        best = _best(logits, _FEW)
        if terms[best].sum(dtype=np.float64) < wanted:
            best = _best(logits, len(logits))
        # A token stays while those before it have not reached p.
        reached = np.cumsum(terms[best], dtype=np.float64)
        count = 1 + int(np.searchsorted(reached[:-1], wanted, side="left"))
        return _only(logits, best[:count])


@dataclass(frozen=True)
class MinP:
    """Keeps the tokens that are at least `p` times as likely as the most likely one."""

    p: float

    def __call__(self, logits: FloatArray, context_ids: Sequence[int]) -> FloatArray:  # noqa: ARG002
        """[V] -> [V]."""
        if self.p <= 0:
            return logits
        return np.where(logits >= logits.max() + np.log(self.p), logits, -inf)


def _best(logits: FloatArray, count: int) -> NDArray[np.intp]:
    """Ids of at least the `count` highest logits, best first; of equal ones, lowest id first.

    Fewer if the others are -inf.
    """
    ids = np.flatnonzero(logits > -inf)
    if count < len(ids):
        possible = logits[ids]
        ids = ids[possible >= np.partition(possible, -count)[-count]]
    return ids[np.argsort(-logits[ids], kind="stable")]


def _only(logits: FloatArray, ids: NDArray[np.intp]) -> FloatArray:
    """The same logits for these ids, -inf for all others."""
    filtered = np.full_like(logits, -inf)
    filtered[ids] = logits[ids]
    return filtered
