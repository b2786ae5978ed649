"""What is guessed: copies of what followed before, in any text, at once."""

import time
from collections.abc import Sequence

import numpy as np
import pytest

from gpt_bigcode.generation.draft_model import ModelDrafter
from gpt_bigcode.generation.speculative import Acceptance, Draft, PromptLookup


def look_up(text: Sequence[int], most: int = 4) -> tuple[tuple[int, ...], tuple[int, ...]]:
    lookup = PromptLookup()
    lookup.read(text)
    draft = lookup.propose(most)
    return draft.tokens, draft.grades


@pytest.mark.parametrize(
    ("text", "tokens", "grades"),
    [
        ([1, 2, 3, 4, 5, 1, 2], (3, 4, 5, 1), (2, 3, 4, 5)),
        ([9, 1, 2, 3, 4, 9, 1, 2], (3, 4, 9, 1), (3, 4, 5, 6)),
        ([1, 2, 8, 1, 2, 9, 1, 2], (9, 1, 2, 9), (2, 3, 4, 5)),  # the latest one
        ([1, 2, 3, 1, 2], (3, 1, 2, 3), (2, 3, 4, 5)),  # goes on with itself
        ([7, 7, 7], (7, 7, 7, 7), (2, 3, 4, 5)),
        ([*range(20), *range(20)], (0, 1, 2, 3), (8, 8, 8, 8)),
        ([1, 2, 3], (), ()),
        ([1], (), ()),
        ([], (), ()),
    ],
)
def test_the_copy_is_what_followed(
    text: list[int], tokens: tuple[int, ...], grades: tuple[int, ...]
) -> None:
    assert look_up(text) == (tokens, grades)


def test_a_naive_search_finds_the_same() -> None:
    random = np.random.default_rng(1)
    for _ in range(300):
        text = random.integers(0, 4, random.integers(2, 30)).tolist()
        place = next(
            (end for end in range(len(text) - 2, 0, -1) if text[end - 1 : end + 1] == text[-2:]), -1
        )
        guess: list[int] = []
        while place > 0 and len(guess) < 5:
            guess.append([*text, *guess][place + 1 + len(guess)])
        assert look_up(text, 5)[0] == tuple(guess)


def test_reading_piece_by_piece_is_reading_at_once() -> None:
    random = np.random.default_rng(2)
    text = random.integers(0, 5, 200).tolist()
    lookup = PromptLookup()
    for end in range(1, len(text) + 1):
        lookup.read(text[end - 1 : end])
        draft = lookup.propose(6)
        assert (draft.tokens, draft.grades) == look_up(text[:end], 6)


@pytest.mark.timing
def test_a_token_costs_the_same_in_a_long_text() -> None:
    def seconds(length: int) -> float:
        lookup = PromptLookup()
        lookup.read(np.random.default_rng(3).integers(0, 9, length).tolist())
        best = float("inf")
        for _ in range(20):
            started = time.process_time()
            for token in range(50):
                lookup.read([token % 9])
                lookup.propose(8)
            best = min(best, time.process_time() - started)
        return best

    assert seconds(32_768) < 5 * seconds(256)


class Counting:
    """A draft model that counts upwards, and is in doubt before every multiple of `doubt`."""

    vocabulary_size = 100
    exact_steps = True
    guess_cost = 0.3
    machine_epsilon = 2.0**-23

    def __init__(self, doubt: int = 1000, context_length: int = 64) -> None:
        self.doubt, self.context_length = doubt, context_length
        self.text: list[int] = []
        self.passes: list[int] = []

    def prefill(self, prompts: Sequence[Sequence[int]]) -> np.ndarray:
        self.text = []
        return self.append(prompts[0])[-1:]

    def decode(self, tokens: Sequence[int]) -> np.ndarray:
        return self.append(tokens)

    def append(self, tokens: Sequence[int]) -> np.ndarray:
        self.passes.append(len(tokens))
        self.text += tokens
        assert len(self.text) <= self.context_length
        logits = np.zeros((len(tokens), 100), np.float32)
        for row, token in zip(logits, tokens, strict=True):
            row[(token + 1) % 100] = 0.1 if (token + 1) % self.doubt == 0 else 20.0
        return logits

    def truncate(self, length: int) -> None:
        assert 0 < length <= len(self.text)
        del self.text[length:]

    def select_rows(self, rows: Sequence[int]) -> None:
        raise AssertionError(rows)


def test_a_model_guesses_what_it_would_write() -> None:
    model = Counting()
    drafter = ModelDrafter(model)
    drafter.read([3, 4, 5])
    assert drafter.propose(4) == Draft((6, 7, 8, 9), (95,) * 4, passes=4)
    drafter.read([6, 7])  # right so far
    assert drafter.propose(2).tokens == (8, 9)
    drafter.read([50, 9, 51])  # all wrong, even where a later token is the same
    assert drafter.propose(3).tokens == (52, 53, 54)
    assert model.text == [3, 4, 5, 6, 7, 50, 9, 51, 52, 53]
    drafter.read([1])
    drafter.read([2])  # not asked in between
    assert drafter.propose(1).tokens == (3,)
    assert model.text == [3, 4, 5, 6, 7, 50, 9, 51, 1, 2]
    assert sum(model.passes) < 20  # what is right is not read twice


def test_a_model_in_doubt_guesses_less() -> None:
    drafter = ModelDrafter(Counting(doubt=8))
    drafter.read([3, 4, 5])
    assert drafter.propose(8).tokens == (6, 7)
    drafter.read([6, 7])
    assert drafter.propose(8).tokens == ()


def test_a_model_guesses_within_its_context() -> None:
    model = Counting(context_length=10)
    drafter = ModelDrafter(model)
    drafter.read([1, 2, 3, 4, 5, 6, 7])
    assert drafter.propose(8).tokens == (8, 9, 10)
    drafter.read([8, 9, 1, 2, 3, 4])
    assert drafter.propose(2).tokens == (5, 6)  # copied


def test_a_long_copy_goes_first() -> None:
    model = Counting()
    drafter = ModelDrafter(model)
    drafter.read([1, 2, 3, 4, 5, 6, 9, 1, 2, 3, 4, 5, 6])
    assert drafter.propose(1) == Draft((9,), (6,))
    assert model.passes == []


def test_shares_follow_what_was_seen() -> None:
    acceptance = Acceptance()
    first = acceptance.share(3)
    acceptance.count((3, 4, 5), 1)  # the first was right, the second wrong, the third not reached
    assert acceptance.share(3) > first
    assert acceptance.share(4) < Acceptance().share(4)
    assert acceptance.share(5) == Acceptance().share(5)
    for _ in range(200):
        acceptance.count((3,), 0)
    assert acceptance.share(3) < 0.05
    assert Acceptance().share(90) == pytest.approx(0.9)  # a model's own probability, in percent
