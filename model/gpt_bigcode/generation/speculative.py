"""Speculative decoding: guess the next tokens and let one pass of the model check them all.

`SpeculativeDecoder` is a `Decoder` around another. The loop asks it for the logits of one token
after the other and gets those of the model itself, only earlier where a guess was right: texts,
seeds, stops and limits are those of plain decoding. Guesses come from the text itself
(`PromptLookup`) or from a smaller model (`draft_model`); `SpeculationBudget` says how many are
worth a pass, by counts alone, so that no text depends on the clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from gpt_bigcode.backends.interfaces import Decoder, DecoderWrapper, Logits, StepDecoder
from gpt_bigcode.generation.loop import Sampler

LONGEST_DRAFT = 8
LONGEST_MATCH = 8
MOST_STAKE = 4.0
"""The most that may be staked: a text that stops repeating keeps the rest of what it gained."""

_SHORTEST_MATCH = 2
# How often a copied token was right after a match of this many tokens, in texts that the built-in
# model wrote into and after files of installed packages: where counting starts.
_MATCH_SHARES = {2: 0.38, 3: 0.55, 4: 0.62, 5: 0.7, 6: 0.72, 7: 0.78, 8: 0.92}
_PRIOR_WEIGHT = 6.0
_LEAST_GAIN = 1.05  # expected tokens in the time of a plain step; below, a draft is not worth it
_STAKE_PER_TOKEN = 0.025
_DRAFT_COST = 0.15  # of a pass of the smaller model, in plain steps: a seventh of the size or less
_NOISE_MARGIN = 16.0  # times the difference that was measured between the two ways to compute
# Of the largest logit, because one sample can be equal by luck: in bfloat16 it mostly is, until a
# sum falls on the border between two numbers.
_LEAST_NOISE = 1.6e-5
_LEAST_ROUNDINGS = 2.0  # in units of the machine epsilon


@dataclass(frozen=True)
class Draft:
    """Guessed tokens.

    Attributes:
        tokens: their ids.
        grades: the evidence for each of them, for `Acceptance`.
        passes: how often a smaller model was run.
    """

    tokens: tuple[int, ...] = ()
    grades: tuple[int, ...] = ()
    passes: int = 0


class Drafter(Protocol):
    """A source of guesses."""

    def read(self, tokens: Sequence[int]) -> None:
        """Append tokens that are certain."""
        ...

    def prepare(self) -> None:
        """Do what is needed once before the first guess; it is not charged to any guess."""
        ...

    def propose(self, most: int) -> Draft:
        """Guess up to `most` tokens."""
        ...


class PromptLookup:
    """Copies what followed the last two tokens where they were neighbours before.

    One entry for each pair of neighbours holds the place of its latest occurrence, so reading a
    token and finding a match take the same time in a text of any length. Longer chains of older
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
        """Nothing to do: what was read is ready."""

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
        """How many tokens before the two places are equal, at most `LONGEST_MATCH`."""
        text, there, here = self._text, self._match, len(self._text) - 1
        for length in range(_SHORTEST_MATCH, LONGEST_MATCH):
            if there < length or text[there - length] != text[here - length]:
                return length
        return LONGEST_MATCH


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


class SpeculationBudget:
    """How many guesses to check at once, and what they may still lose.

    Every token that is written adds a little to the stake, and so does every right guess; wrong
    ones are paid from it. So all wrong guesses of a text together cost at most 3 % of it, and more
    are checked where they were right before. Costs are in plain steps, the time in which the model
    would have read one token; they were measured once per decoder (benchmarks) and not while it
    runs: a machine that stalls must not write another text.
    """

    def __init__(self, *, guess_cost: float, draft_cost: float = 0.0, stake: float = 0.0) -> None:
        """Begin a text.

        Args:
            guess_cost: what one more token in a pass costs.
            draft_cost: what one pass of the smaller model costs.
            stake: what may be lost before anything was gained.
        """
        self._guess_cost, self._draft_cost = guess_cost, draft_cost
        self._stake = stake

    def most(self, reserve: float = 0.0) -> int:
        """How many guesses may be lost now, besides a reserve."""
        each = self._guess_cost + self._draft_cost
        return max(min(int((self._stake - reserve) / each), LONGEST_DRAFT), 0)

    def length(self, shares: Sequence[float]) -> int:
        """How many guesses to check, given how likely each is right if those before it are."""
        best, length, reached, expected = _LEAST_GAIN, 0, 1.0, 1.0
        for count, share in enumerate(shares[:LONGEST_DRAFT], start=1):
            reached *= share
            expected += reached
            gain = expected / (1 + self._guess_cost * count)
            if gain > best:
                best, length = gain, count
        return length

    def written(self, tokens: int, *, checked: int = 0) -> None:
        """A pass wrote this number of tokens, after `checked` guesses."""
        gained = tokens - 1 - self._guess_cost * checked
        self._stake = min(self._stake + _STAKE_PER_TOKEN * tokens + gained, MOST_STAKE)

    def drafted(self, passes: int) -> None:
        """The smaller model was run this often."""
        self._stake -= self._draft_cost * passes

    def repeated(self, steps: int) -> None:
        """Steps were computed that plain decoding would not have needed."""
        self._stake -= steps


@dataclass(slots=True)
class _Ahead:
    """Guesses that were computed and wait to be confirmed."""

    draft: Draft = field(default_factory=Draft)
    logits: Logits | None = None  # [1 + guesses, V]
    confirmed: int = 0


def look_ahead(
    decoder: Decoder, sampler: Sampler, max_tokens: int, *, draft: StepDecoder | None = None
) -> "SpeculativeDecoder | None":
    """A speculative decoder for one generation; None if plain decoding is better.

    Plain decoding is better where the decoder reads single tokens only, and where tokens are drawn
    from logits that depend on how many were checked at once: a greedy choice between two close
    tokens can be settled by plain steps, a draw that falls on the border between two cannot.

    Args:
        decoder: what computes.
        sampler: what will choose from the logits.
        max_tokens: the most tokens that will be asked for.
        draft: a smaller model with the same tokenizer; default: the text itself guesses.
    """
    if not isinstance(decoder, StepDecoder) or not (sampler.greedy or decoder.exact_steps):
        return None
    if draft is None:
        return SpeculativeDecoder(decoder, sampler=sampler, max_tokens=max_tokens)
    from gpt_bigcode.generation.draft_model import ModelDrafter

    drafter = ModelDrafter(draft)
    return SpeculativeDecoder(decoder, sampler=sampler, max_tokens=max_tokens, drafter=drafter)


class SpeculativeDecoder(DecoderWrapper):
    """A decoder that looks ahead, for one row; several rows are decoded plainly."""

    _decoder: StepDecoder

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
            sampler: what will choose from the logits; its rules tell which choices are close.
            max_tokens: the most tokens that will be asked for.
            drafter: guesses at once; default: a `PromptLookup`, which has to earn its guesses.
        """
        super().__init__(decoder)
        self.drafted = self.accepted = 0
        self._sampler, self._max_tokens = sampler, max_tokens
        self._drafter = drafter or PromptLookup()
        self._acceptance = Acceptance()
        self._settles = sampler.greedy and not decoder.exact_steps
        self._least_noise = max(_LEAST_NOISE, _LEAST_ROUNDINGS * decoder.machine_epsilon)
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

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Logits:
        """Forget everything and prefill one row per prompt. [B, V]."""
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
        """Learn from the guesses and cut the wrong ones off the cache."""
        ahead, self._ahead = self._ahead, _Ahead()
        guesses, right = len(ahead.draft.tokens), ahead.confirmed
        if not guesses:
            return
        self._acceptance.count(ahead.draft.grades, right)
        self._budget.written(1 + right, checked=guesses)
        if right < guesses:
            self._decoder.truncate(len(self._text) - 1)

    def _settle(self, logits: Logits) -> Logits:
        """The logits, computed again by plain steps if the greedy choice is close.

        Several tokens in one pass are other matrix products than one token each, and may be summed
        in another order. Where the best two logits are nearer than the noise that this makes, plain
        steps decide, from the last place that only plain steps have written. A decoder whose passes
        are exact needs none of that.
        """
        if not self._settles or self._exact == len(self._text):
            return logits
        written, scores = self._text[self._prompt_tokens :], logits
        for rule in self._sampler.rules:
            scores = rule(scores, written)
        second, first = np.partition(scores, -2)[-2:]
        if not first - second <= 2 * self._noise * self._sampler.gain:
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
        least = self._least_noise * float(np.abs(plain).max())
        measured = float(np.abs(plain - other).max())
        self._noise = max(self._noise, _NOISE_MARGIN * measured, least)
