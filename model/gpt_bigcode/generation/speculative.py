"""SpeculativeDecoder: guesses tokens and lets one pass of the model check them all.

It is a `Decoder` around another: the loop asks for the logits of one token after the other, and
gets those of the model itself, only earlier where the guess was right. So texts, seeds, stops and
limits are those of plain decoding; a guess that is not confirmed is cut off the cache. How that
stays true bit by bit says `_settle`; `speculation_budget` says how many guesses are worth a pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from gpt_bigcode.backends.interfaces import Decoder, Logits, StepDecoder
from gpt_bigcode.generation.drafters import (
    Acceptance,
    Draft,
    Drafter,
    ModelDrafter,
    PromptLookup,
)
from gpt_bigcode.generation.sampling import RepetitionPenalty, Sampler
from gpt_bigcode.generation.speculation_budget import MOST_STAKE, SpeculationBudget

_DRAFT_COST = 0.15  # of a pass of the smaller model, in plain steps: a seventh of the size or less
_NOISE_MARGIN = 16.0  # times the difference that was measured between the two ways to compute
_LEAST_NOISE = 1e-6  # of the largest logit: one sample can be equal by luck


@dataclass(slots=True)
class _Ahead:
    """Guesses that were computed and wait to be confirmed."""

    draft: Draft = field(default_factory=Draft)
    logits: Logits | None = None  # [1 + guesses, V]
    confirmed: int = 0


class Drafted(Protocol):
    """A model with a decoder, and perhaps a smaller one that guesses for it."""

    decoder: Decoder
    draft: StepDecoder | None


def look_ahead(model: Drafted, sampler: Sampler, max_tokens: int) -> "SpeculativeDecoder | None":
    """A speculative decoder for one generation; None if plain decoding is better.

    That is where the model's decoder reads single tokens, and where tokens are drawn from logits
    that depend on how many were checked at once: a greedy choice between two close tokens can be
    settled by plain steps, a draw that falls on the border between two cannot.
    """
    decoder = model.decoder
    if not isinstance(decoder, StepDecoder) or not (sampler.greedy or decoder.exact_steps):
        return None
    if model.draft is None:
        return SpeculativeDecoder(decoder, sampler=sampler, max_tokens=max_tokens)
    drafter = ModelDrafter(model.draft)
    return SpeculativeDecoder(decoder, sampler=sampler, max_tokens=max_tokens, drafter=drafter)


class SpeculativeDecoder:
    """A decoder that looks ahead, for one row; several rows are decoded plainly."""

    def __init__(
        self,
        decoder: StepDecoder,
        *,
        sampler: Sampler,
        max_tokens: int,
        drafter: Drafter | None = None,
    ) -> None:
        """Wrap a decoder for one generation.

        Args:
            decoder: what computes.
            sampler: what will choose from the logits; it tells which choices are close.
            max_tokens: the most tokens that will be asked for.
            drafter: guesses; default: `PromptLookup`. One that was named may guess at once, others
                have to earn it.
        """
        self.drafted = self.accepted = 0
        self._decoder, self._sampler, self._max_tokens = decoder, sampler, max_tokens
        self._drafter = drafter or PromptLookup()
        self._acceptance = Acceptance()
        self._settles = sampler.greedy and not decoder.exact_steps
        self._budget = SpeculationBudget(
            guess_cost=decoder.guess_cost,
            draft_cost=_DRAFT_COST if drafter else 0.0,
            stake=MOST_STAKE if drafter else 0.0,
        )
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

    def select_rows(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order."""
        self._decoder.select_rows(rows)

    def _step(self, token: int) -> Logits:
        """Read a token and what may follow it; the logits after the token, [V]."""
        draft = self._draft()
        if not draft.tokens:
            if self._exact == len(self._text) - 1:
                self._exact += 1
            self._budget.written(1)
            return self._plain(token)
        plain = self._measure_noise(token)
        if plain is not None:
            self._decoder.truncate(len(self._text) - 1)
        rows = self._decoder.append([token, *draft.tokens])
        if plain is not None:
            self._raise_noise(plain, rows[0])
        self._ahead = _Ahead(draft, rows, 0)
        self.drafted += len(draft.tokens)
        first: Logits = rows[0]
        return first

    def _plain(self, token: int) -> Logits:
        """The logits of a plain step, [V]."""
        logits: Logits = self._decoder.decode([token])[0]
        return logits

    def _draft(self) -> Draft:
        """Guesses that are worth a check and that the limits leave room for."""
        text = len(self._text)
        first_check = self._settles and not self._noise  # it takes a plain step more
        room = min(
            self._max_tokens - (text - self._prompt_tokens) - 1,
            self.context_length - text - 1,
            self._budget.most(reserve=1.0 if first_check else 0.0),
        )
        if room < 1:
            return Draft()
        self._drafter.prepare()
        draft = self._drafter.propose(room)
        self._budget.drafted(draft.passes)
        length = self._budget.length([self._acceptance.share(grade) for grade in draft.grades])
        return Draft(draft.tokens[:length], draft.grades[:length])

    def _close(self) -> None:
        """Learn from the guesses and cut those off that were wrong."""
        ahead, self._ahead = self._ahead, _Ahead()
        guesses, right = len(ahead.draft.tokens), ahead.confirmed
        if not guesses:
            return
        self._acceptance.count(ahead.draft.grades, right)
        self._budget.written(1 + right, checked=guesses)
        if right < guesses:
            self._decoder.truncate(len(self._text) - 1)

    def _settle(self, logits: Logits) -> Logits:
        """The logits, computed again by plain steps if the greedy choice between two is close.

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
        self._close()
        self._decoder.truncate(self._exact)
        self._budget.repeated(len(self._text) - self._exact)
        for token in self._text[self._exact :]:
            plain = self._plain(token)
        self._exact = len(self._text)
        self._raise_noise(plain, logits)
        return plain

    def _measure_noise(self, token: int) -> Logits | None:
        """The token's logits by a plain step, if they are needed to compare."""
        if not self._settles or self._noise:
            return None
        self._budget.repeated(1)
        return self._plain(token)

    def _raise_noise(self, plain: Logits, other: Logits) -> None:
        least = _LEAST_NOISE * float(np.abs(plain).max())
        measured = float(np.abs(plain - other).max())
        self._noise = max(self._noise, _NOISE_MARGIN * max(measured, least))
