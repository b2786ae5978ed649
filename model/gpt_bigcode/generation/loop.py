"""The decoding loop: prefill, then one token per row and step, until every row has ended.

A `Decoder` computes logits, a `Sampler` chooses the next token; `Generation` joins them and keeps
the limits. The same seed gives the same text: each row draws from a generator of its own.
"""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from math import inf, log, prod
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gpt_bigcode.backends.interfaces import Decoder, Logits
from gpt_bigcode.errors import ContextError, InputError, NonFiniteError, OptionError
from gpt_bigcode.stopping.text_stop import FinishReason

FloatArray = NDArray[np.floating]
Rule = Callable[[FloatArray, Sequence[int]], FloatArray]
"""Maps one row of logits, [V], and the tokens written so far to logits; -inf means "never"."""

_ENTROPY_BYTES = 16  # as many as NumPy takes for a seed of its own
_VANISHES = -1e4  # exp of this is 0


class RandomNumbers(Protocol):
    """Where draws come from, such as `numpy.random.Generator`."""

    def random(self) -> float:
        """The next number, 0 to below 1."""


@dataclass(frozen=True)
class Sampler:
    """Applies `rules` in order, then takes the best token (`greedy`) or draws one.

    Attributes:
        rules: see `sampling` and `token_masks`.
        greedy: take the best token.
    """

    rules: tuple[Rule, ...] = ()
    greedy: bool = True

    @property
    def gain(self) -> float:
        """How many times the rules may enlarge a difference between two logits."""
        return prod(getattr(rule, "gain", 1.0) for rule in self.rules)

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
        mass = np.cumsum(powers(logits[possible] if few else logits), dtype=np.float64)
        drawn = int(np.searchsorted(mass, generator.random() * mass[-1], side="right"))
        # Rounding can put the draw on the total itself, past the last token that has any mass.
        return int(possible[min(drawn, int(np.searchsorted(mass, mass[-1])))])


@dataclass(frozen=True)
class Limits:
    """When to stop at the latest.

    Attributes:
        max_tokens: new tokens per row, at least 1.
        time_budget_seconds: wall-clock time from the start of the prefill, checked between steps:
            the prompt is always read and the first token always written.
    """

    max_tokens: int = 128
    time_budget_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class GeneratedToken:
    """A new token of one row; `logprob` is under the model's own distribution, before any rule."""

    row: int
    id: int
    logprob: float


class Generation:
    """Decodes all prompts as one batch. Iterate: each step gives the new token of each open row.

    A row closes at an end token (which is not reported), at `max_tokens`, when the context is full,
    or when the caller says `finish`. `reasons[row]` then says why. Closed rows leave the batch.
    Row i draws from its own generator, seeded by (seed, i): it does not depend on the other rows.
    """

    def __init__(
        self,
        decoder: Decoder,
        prompts: Sequence[Sequence[int]],
        *,
        sampler: Sampler | None = None,
        limits: Limits | None = None,
        end_ids: Collection[int] = (),
        seed: int | None = None,
    ) -> None:
        """Check the prompts; nothing is computed yet.

        Raises:
            InputError: no prompt, or an empty one.
            ContextError: a prompt leaves no position for a new token.
            OptionError: a negative seed.
        """
        _check_prompts(prompts, decoder.context_length)
        self.reasons: list[FinishReason | None] = [None] * len(prompts)
        self.prefill_seconds = 0.0
        self.decode_seconds = 0.0
        self._decoder, self._prompts = decoder, prompts
        self._sampler, self._limits = sampler or Sampler(), limits or Limits()
        self._end_ids = frozenset(end_ids)
        self._written: list[list[int]] = [[] for _ in prompts]
        self._generators = row_generators(seed, len(prompts))

    def finish(self, row: int, reason: FinishReason) -> None:
        """Close a row; a row that is closed keeps its first reason."""
        self.reasons[row] = self.reasons[row] or reason

    def __iter__(self) -> Iterator[list[GeneratedToken]]:
        """Run, once; a second run needs a new object.

        Raises:
            NonFiniteError: the model computed NaN or infinity.
        """
        started = perf_counter()
        logits = self._decoder.prefill(self._prompts)
        self.prefill_seconds = perf_counter() - started
        rows = list(range(len(self._prompts)))
        while True:
            tokens = self._choose(rows, logits)
            if tokens:
                yield tokens
            still = [place for place, row in enumerate(rows) if self.reasons[row] is None]
            if not still or self._out_of_time(started):
                return
            decode_started = perf_counter()
            if len(still) < len(rows):
                self._decoder.select_rows(still)
                rows = [rows[place] for place in still]
            logits = self._decoder.decode([self._written[row][-1] for row in rows])
            self.decode_seconds += perf_counter() - decode_started

    def _choose(self, rows: Sequence[int], logits: Logits) -> list[GeneratedToken]:
        """One token per row; closes the rows that end with it."""
        started = perf_counter()
        tokens = []
        for row, scores in zip(rows, logits, strict=True):
            written = self._written[row]
            token = choose_token(scores, written, self._sampler, self._generators[row])
            if token.id in self._end_ids:
                self.finish(row, FinishReason.STOP)
                continue
            written.append(token.id)
            tokens.append(GeneratedToken(row, token.id, token.logprob))
            full = len(self._prompts[row]) + len(written) >= self._decoder.context_length
            if full or len(written) >= self._limits.max_tokens:
                self.finish(row, FinishReason.LENGTH)
        self.decode_seconds += perf_counter() - started
        return tokens

    def _out_of_time(self, started: float) -> bool:
        """Whether the budget is spent; then all open rows are closed."""
        budget = self._limits.time_budget_seconds
        if budget is None or perf_counter() - started < budget:
            return False
        for row in range(len(self.reasons)):
            self.finish(row, FinishReason.TIME)
        return True


def choose_token(
    logits: FloatArray, written: Sequence[int], sampler: Sampler, generator: RandomNumbers
) -> GeneratedToken:
    """The next token of a row (its `row` is 0), with its log-probability.

    A repetition penalty counts only `written`: the prompt's own names stay free.

    Raises:
        NonFiniteError: NaN or infinity among the logits.
    """
    if not np.isfinite(logits).all():
        raise NonFiniteError.computed()
    token = sampler.choose(logits, written, generator)
    return GeneratedToken(0, token, log_probability(logits, token))


class RowGenerator:
    """Random numbers of one row; NumPy's generators are imported at the first draw.

    Their import takes a thirtieth of a short call, and greedy decoding needs none.
    """

    def __init__(self, entropy: int, row: int) -> None:
        self._entropy, self._row = entropy, row
        self._generator: RandomNumbers | None = None

    def random(self) -> float:
        """The next number, 0 to below 1."""
        if self._generator is None:
            from numpy.random import SeedSequence, default_rng

            sequence = SeedSequence(self._entropy, spawn_key=(self._row,))
            self._generator = default_rng(sequence)
        return self._generator.random()


def row_generators(seed: int | None, rows: int) -> list[RowGenerator]:
    """One independent random generator per row; row i is the same for any number of rows.

    Raises:
        OptionError: a negative seed.
    """
    if seed is not None and seed < 0:
        raise OptionError(f"seed: {seed} is not 0 or more")
    entropy = int.from_bytes(os.urandom(_ENTROPY_BYTES)) if seed is None else seed
    return [RowGenerator(entropy, row) for row in range(rows)]


def probabilities(logits: FloatArray) -> NDArray[np.float64]:
    """Softmax, [V] -> [V]; the powers are float32 (13 times faster), the sum is float64."""
    terms = powers(logits).astype(np.float64)
    return np.asarray(terms / terms.sum())


def log_probability(logits: FloatArray, token: int) -> float:
    """Natural log of one token's probability under softmax of [V]."""
    total = powers(logits).sum(dtype=np.float64)
    return float(logits[token]) - float(logits.max()) - log(total)


def powers(logits: FloatArray) -> NDArray[np.float32]:
    """The exponential of how far each logit is below the highest, [V] -> [V]."""
    below = logits - logits.max()
    np.maximum(below, _VANISHES, out=below)
    terms = below.astype(np.float32, copy=False)
    return np.asarray(np.exp(terms, out=terms))


def _check_prompts(prompts: Sequence[Sequence[int]], context_length: int) -> None:
    if not prompts or not all(len(prompt) for prompt in prompts):
        raise InputError("a prompt needs at least one token")
    longest = max(len(prompt) for prompt in prompts)
    if longest >= context_length:
        raise ContextError(
            f"a prompt of {longest} tokens leaves no room in a context of {context_length}"
        )
