"""Guesses never cost more than 3 % of a text, and no decision about them looks at a clock."""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from gpt_bigcode.backends.interfaces import StepDecoder
from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.backends.torch_decoder import TorchDecoder
from gpt_bigcode.checkpoint.loading import load_model
from gpt_bigcode.generation.loop import Generation, Limits, Sampler
from gpt_bigcode.generation.speculative import Draft, SpeculativeDecoder, look_ahead

COSTS = {"int8 on a processor": 0.25, "NumPy": 0.45, "a GPU": 0.05, "nothing saved": 1.0}


class CountingDecoder:
    """Counts plain steps and what passes cost by `guess_cost`; its logits mean nothing."""

    context_length, vocabulary_size, exact_steps = 100_000, 1, True
    machine_epsilon = 2.0**-23

    def __init__(self, guess_cost: float) -> None:
        self.guess_cost, self.spent = guess_cost, 0.0
        self.passes: list[int] = []

    def prefill(self, prompts: Sequence[Sequence[int]]) -> np.ndarray:
        return np.zeros((len(prompts), 1), np.float32)

    def decode(self, tokens: Sequence[int]) -> np.ndarray:
        self.spent += 1
        return np.zeros((len(tokens), 1), np.float32)

    def append(self, tokens: Sequence[int]) -> np.ndarray:
        self.passes.append(len(tokens))
        self.spent += 1 + self.guess_cost * (len(tokens) - 1)
        return np.zeros((len(tokens), 1), np.float32)

    def truncate(self, length: int) -> None:
        pass

    def select_rows(self, rows: Sequence[int]) -> None:
        pass


class Counting:
    """The text counts upwards; whether the next guesses are right, `right` says of each place."""

    def __init__(self, right: Callable[[int], bool]) -> None:
        self.right, self.place = right, 0

    def read(self, tokens: Sequence[int]) -> None:
        self.place += len(tokens)

    def prepare(self) -> None:
        pass

    def propose(self, most: int) -> Draft:
        places = range(self.place, self.place + most)
        return Draft(tuple(p if self.right(p) else -1 for p in places), (95,) * most)


def spent(cost: float, right: Callable[[int], bool], tokens: int = 300) -> list[float]:
    """How many plain steps every beginning of the text has taken; copies have to earn guesses."""
    decoder = CountingDecoder(cost)
    ahead = SpeculativeDecoder(decoder, sampler=Sampler(), max_tokens=tokens + 1)
    ahead._drafter = Counting(right)
    ahead.prefill([[0]])
    taken = []
    for place in range(1, tokens + 1):
        ahead.decode([place])
        taken.append(decoder.spent)
    return taken


def luck(share: float, seed: int) -> Callable[[int], bool]:
    draws = random.Random(seed).choices([True, False], [share, 1 - share], k=400)
    return lambda place: draws[place]


def until(end: int) -> Callable[[int], bool]:
    return lambda place: place < end


@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
def test_no_beginning_of_a_text_loses_more_than_three_percent(cost: float) -> None:
    guesses = [luck(share, seed) for share in (0.0, 0.1, 0.3, 0.5, 0.7) for seed in range(4)]
    guesses += [until(end) for end in (20, 45, 60, 100, 200)]
    guesses += [lambda place: place % 2 == 0, lambda place: place % 50 > 25]
    for right in guesses:
        taken = spent(cost, right)
        assert all(steps <= 1.03 * place for place, steps in enumerate(taken, start=1))


@pytest.mark.parametrize(
    ("cost", "gain"), list(zip(COSTS.values(), (2.5, 1.7, 4.5, 0.97), strict=True)), ids=COSTS
)
def test_right_guesses_pay(cost: float, gain: float) -> None:
    taken = spent(cost, until(1000))
    assert len(taken) / taken[-1] > gain


def test_a_named_draft_may_guess_before_it_has_earned_that() -> None:
    first_guess = []
    for draft in (None, CountingDecoder(0.25)):
        ahead = look_ahead(CountingDecoder(0.25), Sampler(), 50, draft=draft)
        assert ahead is not None
        ahead.prefill([[0, 0]])
        tokens = 0
        while not ahead.drafted:
            ahead.decode([0])
            tokens += 1
        first_guess.append(tokens)
    copied, drafted = first_guess
    assert drafted == 1
    assert copied > 3 * drafted


def test_a_draft_model_that_never_knows_is_seldom_asked() -> None:
    asked = 0

    class Silent(Counting):
        def propose(self, most: int) -> Draft:
            nonlocal asked
            asked += most > 0
            return Draft(passes=1)

    decoder = CountingDecoder(0.25)
    drafter = Silent(until(0))
    ahead = SpeculativeDecoder(decoder, sampler=Sampler(), max_tokens=401, drafter=drafter)
    ahead.prefill([[0]])
    for place in range(1, 401):
        ahead.decode([place])
    assert decoder.spent == 400
    # The first stake, and a sixth of the tokens: a pass of the draft costs 0.15 steps.
    assert 0 < asked <= 4 / 0.15 + 400 * 0.025 / 0.15 + 1


class Delayed:
    """A decoder on a machine that stalls at random, and that notes its passes."""

    def __init__(self, decoder: StepDecoder, seed: int) -> None:
        self._decoder, self._random = decoder, random.Random(seed)
        self.passes: list[int] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._decoder, name)

    def decode(self, tokens: Sequence[int]) -> np.ndarray:
        self._stall(1)
        return self._decoder.decode(tokens)

    def append(self, tokens: Sequence[int]) -> np.ndarray:
        self._stall(len(tokens))
        return self._decoder.append(tokens)

    def _stall(self, tokens: int) -> None:
        self.passes.append(tokens)
        if self._random.random() < 0.05:
            time.sleep(self._random.random() * 0.004)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_the_text_and_its_passes_do_not_depend_on_the_clock(
    tiny_checkpoint: Path, engine: str
) -> None:
    decoder: StepDecoder = NumpyDecoder.load(tiny_checkpoint)
    if engine == "torch":
        decoder = TorchDecoder(load_model(tiny_checkpoint))  # type: ignore[arg-type]
    guessed = 0
    for number in range(25):
        prompt = np.random.default_rng(number).integers(19, 380, 20).tolist() * 2
        runs = set()
        for seed in (1, 2):
            delayed = Delayed(decoder, seed * 1000 + number)
            ahead = SpeculativeDecoder(delayed, sampler=Sampler(), max_tokens=60)  # type: ignore[arg-type]
            steps = Generation(ahead, [prompt], limits=Limits(60))
            written = tuple(token.id for step in steps for token in step)
            runs.add((written, tuple(delayed.passes)))
            guessed += max(delayed.passes) > 1
        plain = Generation(decoder, [prompt], limits=Limits(60))
        assert {written for written, _ in runs} == {tuple(t.id for step in plain for t in step)}
        assert len(runs) == 1
    assert guessed > 10
