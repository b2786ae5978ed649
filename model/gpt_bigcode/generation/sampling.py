"""Rules that choose the next token.

A rule maps one row of logits [V] to another of the same length; -inf means "never". Rules compose:
`Sampler` applies them in order and draws. Source of the formulas: the reference implementation's
logits processors (transformers 5.23), compared on values in the tests.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from gpt_bigcode.generation.limits import check_sampling

FloatArray = NDArray[np.floating]
Rule = Callable[[FloatArray, Sequence[int]], FloatArray]

_FEW = 512  # tokens that nearly always hold all the probability that top-p asks for
_VANISHES = -1e4  # exp of this is 0
_COLDEST = 1e-30  # float32 divides by this; anything colder is as greedy


class RandomNumbers(Protocol):
    """Where draws come from, such as `numpy.random.Generator`."""

    def random(self) -> float:
        """The next number, 0 to below 1."""


@dataclass(frozen=True)
class RepetitionPenalty:
    """Makes tokens that were written before less likely.

    Their logits are divided by `penalty`, negative ones multiplied. It harms code, whose brackets
    and names are meant to repeat.
    """

    penalty: float

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
        powers = _powers(logits)
        wanted = self.p * powers.sum(dtype=np.float64)
        # Nearly always a few tokens reach p: sorting the whole vocabulary would cost most.
        best = _best(logits, _FEW)
        if powers[best].sum(dtype=np.float64) < wanted:
            best = _best(logits, len(logits))
        # A token stays while those before it have not reached p.
        reached = np.cumsum(powers[best], dtype=np.float64)
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


@dataclass(frozen=True)
class Sampler:
    """Applies `rules` in order, then takes the best token (`greedy`) or draws one."""

    rules: tuple[Rule, ...] = ()
    greedy: bool = True

    @classmethod
    def build(
        cls,
        *,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
    ) -> Self:
        """A sampler in the reference's order of rules; a rule that changes nothing is left out.

        Args:
            temperature: 0 takes the best token, whatever the filters say; at most 100.
            top_k: 0 keeps all.
            top_p: above 0, at most 1; 1 keeps all.
            min_p: 0 to 1; 0 keeps all.
            repetition_penalty: above 0, at most 100; 1 changes nothing.

        Raises:
            OptionError: a value outside its range; it is named.
        """
        check_sampling(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
        )
        rules: list[Rule] = []
        if repetition_penalty != 1:
            rules.append(RepetitionPenalty(repetition_penalty))
        if temperature > 0:
            rules += [Temperature(temperature)] if temperature != 1 else []
            rules += [TopK(top_k)] if top_k else []
            rules += [TopP(top_p)] if top_p < 1 else []
            rules += [MinP(min_p)] if min_p else []
        return cls(rules=tuple(rules), greedy=temperature == 0)

    def choose(
        self, logits: FloatArray, context_ids: Sequence[int], generator: RandomNumbers
    ) -> int:
        """The next token's id.

        Args:
            logits: [V], finite.
            context_ids: the tokens that a repetition penalty counts.
            generator: asked for one number per draw, and for none when greedy.
        """
        for rule in self.rules:
            logits = rule(logits, context_ids)
        if self.greedy:
            return int(logits.argmax())
        possible = np.flatnonzero(logits > -inf)
        few = len(possible) < len(logits)
        mass = np.cumsum(_powers(logits[possible] if few else logits), dtype=np.float64)
        drawn = int(np.searchsorted(mass, generator.random() * mass[-1], side="right"))
        # Rounding can put the draw on the total itself, past the last token that has any mass.
        return int(possible[min(drawn, int(np.searchsorted(mass, mass[-1])))])


def probabilities(logits: FloatArray) -> NDArray[np.float64]:
    """Softmax, [V] -> [V]; the powers are float32 (13 times faster), the sum is float64."""
    powers = _powers(logits).astype(np.float64)
    return np.asarray(powers / powers.sum())


def log_probability(logits: FloatArray, token: int) -> float:
    """Natural log of one token's probability under softmax of [V]."""
    total = _powers(logits).sum(dtype=np.float64)
    return float(logits[token]) - float(logits.max()) - log(total)


def _powers(logits: FloatArray) -> NDArray[np.float32]:
    """The exponential of how far each logit is below the highest, [V] -> [V]."""
    below = logits - logits.max()
    np.maximum(below, _VANISHES, out=below)
    powers = below.astype(np.float32, copy=False)
    return np.asarray(np.exp(powers, out=powers))


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
