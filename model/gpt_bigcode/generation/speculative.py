"""SpeculativeDecoder: guesses tokens and lets one pass of the model check them all.

Knows no text and no torch. It is a `Decoder` around another: whoever decodes asks for the logits
of one token after the other, and gets those of the model itself, only earlier where the guess was
right. So greedy texts, sampled texts, seeds, stops and limits are those of plain decoding; a guess
that is not confirmed is cut off the cache. How that stays true bit by bit says `_settle`.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import Protocol

import numpy as np

from gpt_bigcode.backends.interfaces import Decoder, Logits, StepDecoder
from gpt_bigcode.generation.drafters import (
    LONGEST_DRAFT,
    Acceptance,
    Draft,
    Drafter,
    ModelDrafter,
    PromptLookup,
)
from gpt_bigcode.generation.sampling import RepetitionPenalty, Sampler

_MIN_GAIN = 1.05  # expected tokens in the time of a plain step; below, a draft is not worth it
# What guesses may lose, in plain steps for every token written, and how much of what they have
# gained may be staked again: a text that stops repeating keeps the rest.
_STAKE_PER_TOKEN = 0.025
_MOST_STAKE = 4.0
_FIRST_COST = 0.3  # of a guess, in plain steps, until one was measured
_REMEMBERED_PASSES = 5
_LEAST_SECONDS = 1e-9
_NOISE_MARGIN = 16.0  # times the difference that was measured between the two ways to compute
_LEAST_NOISE = 1e-6  # of the largest logit: one sample can be equal by luck


class Pace:
    """What a pass over so many guesses costs, and how much of it may be lost, in plain steps."""

    def __init__(self, *, measured: bool, stake: float = 0.0) -> None:
        """Nothing is measured yet.

        Args:
            measured: if not, the first estimates stay: decisions then depend on tokens alone.
            stake: what may be lost before anything was gained.
        """
        self._measured = measured
        self._seconds: dict[int, deque[float]] = {}  # of the latest passes over so many guesses
        self._passes: dict[int, float] = {}  # their medians
        self._plain = 0.0  # that of plain steps; 0: not measured yet
        self._costs = [1 + _FIRST_COST * count for count in range(LONGEST_DRAFT + 1)]
        self._stake = stake

    def most(self, reserve: float = 0.0) -> int:
        """How many guesses may be lost now, besides a reserve; 0 before a plain step was seen."""
        if self._measured and not self._plain:
            return 0
        stake = self._stake - reserve
        affordable = (
            count for count, cost in enumerate(self._costs) if count and cost - 1 <= stake
        )
        return max(affordable, default=0)

    def length(self, shares: Sequence[float]) -> int:
        """How many guesses to check, given how likely each is right if those before it are."""
        best, length, reached, expected = _MIN_GAIN, 0, 1.0, 1.0
        for count, share in enumerate(shares[:LONGEST_DRAFT], start=1):
            reached *= share
            expected += reached
            if expected / self._costs[count] > best:
                best, length = expected / self._costs[count], count
        return length

    def note(self, drafted: int, gained: int, seconds: float) -> None:
        """A pass over `drafted` guesses gave `1 + gained` tokens in so much time."""
        if self._measured:
            self._measure(drafted, seconds)
        tokens, cost = 1 + gained, self._costs[drafted]
        if drafted and self._measured and self._plain:
            cost = min(max(seconds / self._plain, 1.0), 1.0 + 2 * drafted)
        self._stake = min(self._stake + _STAKE_PER_TOKEN * tokens + tokens - cost, _MOST_STAKE)

    def note_extra(self, seconds: float) -> None:
        """Time that plain decoding would not have needed."""
        if self._measured and self._plain:
            self._stake -= seconds / self._plain

    def _measure(self, drafted: int, seconds: float) -> None:
        latest = self._seconds.setdefault(drafted, deque(maxlen=_REMEMBERED_PASSES))
        latest.append(max(seconds, _LEAST_SECONDS))
        if drafted:
            self._passes[drafted] = median(latest)
        else:
            self._plain = median(latest)
        if self._plain:
            self._estimate()

    def _estimate(self) -> None:
        """Costs by what was measured; lengths that were not are taken from their neighbours."""
        known = [(0, 1.0)]
        for count, seconds in self._passes.items():
            known.append((count, min(max(seconds / self._plain, 1.0), 1.0 + 2 * count)))
        known.sort()
        last, cost = known[-1]
        each = (cost - 1) / last if last else _FIRST_COST
        costs = []
        for (low, first), (high, second) in pairwise(known):
            step = (second - first) / (high - low)
            costs += [first + step * more for more in range(high - low)]
        costs += [cost + each * more for more in range(LONGEST_DRAFT + 1 - last)]
        self._costs = costs


@dataclass(slots=True)
class _Ahead:
    """Guesses that were computed and wait to be confirmed."""

    draft: Draft = field(default_factory=Draft)
    logits: Logits | None = None  # [1 + guesses, V]
    confirmed: int = 0
    seconds: float = 0.0


class Drafted(Protocol):
    """A model with a decoder, and perhaps a smaller one that guesses for it."""

    decoder: Decoder
    draft: StepDecoder | None


def look_ahead(model: Drafted, sampler: Sampler, max_tokens: int) -> "SpeculativeDecoder | None":
    """A speculative decoder for one generation; None if the model's decoder reads single tokens."""
    if not isinstance(model.decoder, StepDecoder):
        return None
    if model.draft is None:
        return SpeculativeDecoder(model.decoder, sampler=sampler, max_tokens=max_tokens)
    # Who names a model that guesses accepts that its first guesses may be wrong.
    return SpeculativeDecoder(
        model.decoder,
        sampler=sampler,
        max_tokens=max_tokens,
        drafter=ModelDrafter(model.draft),
        stake=_MOST_STAKE,
    )


class SpeculativeDecoder:
    """A decoder that looks ahead, for one row; several rows are decoded plainly."""

    def __init__(
        self,
        decoder: StepDecoder,
        *,
        sampler: Sampler,
        max_tokens: int,
        drafter: Drafter | None = None,
        stake: float = 0.0,
    ) -> None:
        """Wrap a decoder for one generation.

        Args:
            decoder: what computes.
            sampler: what will choose from the logits; it tells which choices are close.
            max_tokens: the most tokens that will be asked for.
            drafter: guesses; default: `PromptLookup`.
            stake: plain steps that guesses may lose before they have gained any.
        """
        self.drafted = self.accepted = 0
        self._decoder, self._sampler, self._max_tokens = decoder, sampler, max_tokens
        self._drafter = drafter or PromptLookup()
        self._acceptance = Acceptance()
        # A draw cannot be settled like a greedy choice. Drafts that do not depend on the clock
        # make it at least the same in every run.
        self._settles = sampler.greedy and not decoder.exact_steps
        self._pace = Pace(measured=sampler.greedy or decoder.exact_steps, stake=stake)
        self._ahead = _Ahead()
        self._text: list[int] = []
        self._prompt_tokens = 0
        self._single = False
        self._noise = 0.0  # how far logits may be from those of plain steps; 0: not measured yet
        self._exact = 0  # the first tokens, whose cache is that of plain steps

    @property
    def counts(self) -> dict[str, int]:
        """How many tokens were guessed, and how many of them were right."""
        return {"drafted_tokens": self.drafted, "accepted_tokens": self.accepted}

    @property
    def context_length(self) -> int:
        """The most tokens that a row may have."""
        return self._decoder.context_length

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return self._decoder.vocabulary_size

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Logits:
        """Forget everything and read one row per prompt. [B, V]."""
        self._single, self._ahead = len(prompts) == 1, _Ahead()
        if self._single:
            self._text = list(prompts[0])
            self._prompt_tokens = self._exact = len(self._text)
            self._drafter.read(self._text)
        return self._decoder.prefill(prompts)

    def decode(self, tokens: Sequence[int]) -> Logits:
        """Append one token to each row. [B, V]."""
        if not self._single:
            return self._decoder.decode(tokens)
        (token,) = tokens
        self._text.append(token)
        self._drafter.read(tokens)
        ahead = self._ahead
        waiting = ahead.draft.tokens[ahead.confirmed : ahead.confirmed + 1]
        if ahead.logits is not None and waiting == (token,):
            ahead.confirmed += 1
            self.accepted += 1
            logits: Logits = ahead.logits[ahead.confirmed]
        else:
            self._close()
            logits = self._step(token)
        return self._settle(logits)[None]

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order."""
        self._decoder.keep(rows)

    def _step(self, token: int) -> Logits:
        """Read a token and what may follow it; the logits after the token, [V]."""
        draft, seconds = self._draft()
        started = perf_counter()
        if not draft.tokens:
            self._pace.note_extra(seconds)
            logits = self._plain(token)
            if self._exact == len(self._text) - 1:
                self._exact += 1
            self._pace.note(0, 0, perf_counter() - started)
            return logits
        plain = self._measure_noise(token)
        if plain is not None:
            started = perf_counter()
            self._decoder.truncate(len(self._text) - 1)
        rows = self._decoder.extend([token, *draft.tokens])
        if plain is not None:
            self._raise_noise(plain, rows[0])
        self._ahead = _Ahead(draft, rows, 0, seconds + perf_counter() - started)
        self.drafted += len(draft.tokens)
        first: Logits = rows[0]
        return first

    def _plain(self, token: int) -> Logits:
        """The logits of a plain step, [V]."""
        logits: Logits = self._decoder.decode([token])[0]
        return logits

    def _draft(self) -> tuple[Draft, float]:
        """Guesses that are worth a check and that the limits leave room for, and their seconds."""
        text = len(self._text)
        first_check = self._settles and not self._noise  # it takes a plain step more
        room = min(
            self._max_tokens - (text - self._prompt_tokens) - 1,
            self.context_length - text - 1,
            self._pace.most(reserve=1.0 if first_check else 0.0),
        )
        if room < 1:
            return Draft(), 0.0
        self._drafter.prepare()
        started = perf_counter()
        draft = self._drafter.propose(room)
        length = self._pace.length([self._acceptance.share(grade) for grade in draft.grades])
        chosen = Draft(draft.tokens[:length], draft.grades[:length])
        return chosen, perf_counter() - started

    def _close(self) -> None:
        """Learn from the guesses and cut those off that were wrong."""
        ahead, self._ahead = self._ahead, _Ahead()
        guesses, right = len(ahead.draft.tokens), ahead.confirmed
        if not guesses:
            return
        self._acceptance.count(ahead.draft.grades, right)
        self._pace.note(guesses, right, ahead.seconds)
        if right < guesses:
            self._decoder.truncate(len(self._text) - 1)

    def _settle(self, logits: Logits) -> Logits:
        """The logits, computed anew by plain steps if the greedy choice between two is close.

        Several tokens in one pass are other products for the processor than one token each, and
        may be summed in another order: where the best two logits are nearer than the noise that
        this makes, plain steps from the last place that only plain steps have written decide. A
        decoder whose passes are exact needs none of that.
        """
        if not self._settles or self._exact == len(self._text):
            return logits
        written = self._text[self._prompt_tokens :]
        scores, strength = logits, 1.0
        for rule in self._sampler.rules:
            scores = rule(scores, written)
            if isinstance(rule, RepetitionPenalty):
                strength *= max(rule.penalty, 1 / rule.penalty)
        second, first = np.partition(scores, -2)[-2:]
        if not first - second <= 2 * self._noise * strength:
            return logits
        started = perf_counter()
        self._close()
        self._decoder.truncate(self._exact)
        for token in self._text[self._exact :]:
            plain = self._plain(token)
        self._exact = len(self._text)
        self._raise_noise(plain, logits)
        self._pace.note_extra(perf_counter() - started)
        return plain

    def _measure_noise(self, token: int) -> Logits | None:
        """The token's logits by a plain step, if they are needed to compare."""
        if not self._settles or self._noise:
            return None
        started = perf_counter()
        plain = self._plain(token)
        self._pace.note_extra(perf_counter() - started)
        return plain

    def _raise_noise(self, plain: Logits, other: Logits) -> None:
        least = _LEAST_NOISE * float(np.abs(plain).max())
        measured = float(np.abs(plain - other).max())
        self._noise = max(self._noise, _NOISE_MARGIN * max(measured, least))
