"""What is guessed: copies of what followed before, in any text, at once."""

import time
from collections.abc import Sequence

import numpy as np
import pytest

from gpt_bigcode.drafting import Acceptance, PromptLookup


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
