"""Sampling rules: laws, values by hand, and the reference's processors as the second opinion."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from transformers.generation import logits_process as reference

from gpt_bigcode.completion.options import CompletionOptions
from gpt_bigcode.errors import OptionError
from gpt_bigcode.generation.loop import Rule, Sampler, log_probability, probabilities
from gpt_bigcode.generation.sampling import (
    MinP,
    RepetitionPenalty,
    Temperature,
    TopK,
    TopP,
    build_sampler,
)

# Probabilities 1/2, 1/4, 1/8, 1/16, 1/16, out of order.
LOGITS = np.log(np.array([0.125, 0.5, 0.0625, 0.25, 0.0625]))


def draws(sampler: Sampler, logits: np.ndarray, count: int, seed: int = 3) -> Counter[int]:
    generator = np.random.default_rng(seed)
    return Counter(sampler.choose(logits, [], generator) for _ in range(count))


def random_logits(seed: int, size: int = 300) -> np.ndarray:
    return (4 * np.random.default_rng(seed).standard_normal(size)).astype(np.float32)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Temperature(1.0), [1 / 8, 1 / 2, 1 / 16, 1 / 4, 1 / 16]),
        (Temperature(0.5), [4 / 86, 64 / 86, 1 / 86, 16 / 86, 1 / 86]),
        (TopK(2), [0, 2 / 3, 0, 1 / 3, 0]),
        (TopK(5), [1 / 8, 1 / 2, 1 / 16, 1 / 4, 1 / 16]),
        (TopK(4), [2 / 15, 8 / 15, 1 / 15, 4 / 15, 0]),
        (TopP(0.4), [0, 1, 0, 0, 0]),
        (TopP(0.7), [0, 2 / 3, 0, 1 / 3, 0]),
        (TopP(0.8), [1 / 7, 4 / 7, 0, 2 / 7, 0]),
        (TopP(1.0), [1 / 8, 1 / 2, 1 / 16, 1 / 4, 1 / 16]),
        (MinP(0.4), [0, 2 / 3, 0, 1 / 3, 0]),
        (MinP(1.0), [0, 1, 0, 0, 0]),
        (MinP(0.0), [1 / 8, 1 / 2, 1 / 16, 1 / 4, 1 / 16]),
    ],
)
def test_distribution_computed_by_hand(rule: Rule, expected: list[float]) -> None:
    np.testing.assert_allclose(probabilities(rule(LOGITS, [])), expected, atol=1e-7)


def test_repetition_penalty_by_hand() -> None:
    logits = np.array([2.0, -1.0, 3.0, 0.0])
    changed = RepetitionPenalty(2.0)(logits, [0, 1, 1])
    np.testing.assert_array_equal(changed, [1.0, -2.0, 3.0, 0.0])
    np.testing.assert_array_equal(RepetitionPenalty(2.0)(logits, []), logits)
    np.testing.assert_array_equal(logits, [2.0, -1.0, 3.0, 0.0])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("rule", "processor"),
    [
        (Temperature(0.7), reference.TemperatureLogitsWarper(0.7)),
        (Temperature(3.0), reference.TemperatureLogitsWarper(3.0)),
        (TopK(1), reference.TopKLogitsWarper(1)),
        (TopK(40), reference.TopKLogitsWarper(40)),
        (TopK(1000), reference.TopKLogitsWarper(1000)),
        (TopP(0.1), reference.TopPLogitsWarper(0.1)),
        (TopP(0.9), reference.TopPLogitsWarper(0.9)),
        (TopP(0.999), reference.TopPLogitsWarper(0.999)),
        (MinP(0.05), reference.MinPLogitsWarper(0.05)),
        (MinP(0.5), reference.MinPLogitsWarper(0.5)),
        (RepetitionPenalty(1.3), reference.RepetitionPenaltyLogitsProcessor(1.3)),
        (RepetitionPenalty(0.8), reference.RepetitionPenaltyLogitsProcessor(0.8)),
    ],
    ids=lambda value: repr(value).partition(" object at ")[0],
)
def test_same_distribution_as_the_reference(rule: Rule, processor: Any, seed: int) -> None:
    logits, context = random_logits(seed), [5, 7, 7, 250]
    with torch.no_grad():
        wanted = processor(torch.tensor([context]), torch.tensor(logits)[None])
    expected = torch.softmax(wanted.double(), -1)[0].numpy()
    got = probabilities(rule(logits, context))
    assert ((got > 0) == (expected > 0)).all()
    np.testing.assert_allclose(got, expected, atol=1e-6)  # the reference divides in float32


@pytest.mark.parametrize("p", [0.3, 0.9, 0.99999])
def test_top_p_is_the_same_for_a_large_vocabulary(p: float) -> None:
    # Flat logits need thousands of tokens to reach p, peaked ones a few.
    for scale in (0.01, 8.0):
        logits = (scale * np.random.default_rng(4).standard_normal(5000)).astype(np.float32)
        context: Any = torch.tensor([[0]])
        wanted = reference.TopPLogitsWarper(p)(context, torch.tensor(logits)[None].double())[0]
        assert ((TopP(p)(logits, []) > -np.inf) == (wanted > -torch.inf).numpy()).all()


def test_rules_compose_in_the_order_of_the_reference() -> None:
    sampler = build_sampler(
        temperature=1.7, top_k=30, top_p=0.8, min_p=0.02, repetition_penalty=1.2
    )
    kinds = [type(rule) for rule in sampler.rules]
    assert kinds == [RepetitionPenalty, Temperature, TopK, TopP, MinP]
    processors = reference.LogitsProcessorList(
        [
            reference.RepetitionPenaltyLogitsProcessor(1.2),
            reference.TemperatureLogitsWarper(1.7),
            reference.TopKLogitsWarper(30),
            reference.TopPLogitsWarper(0.8),
            reference.MinPLogitsWarper(0.02),
        ]
    )
    logits: np.ndarray = random_logits(11)
    context: Any = torch.tensor([[4, 9]])
    wanted = processors(context, torch.tensor(logits)[None])
    got = logits
    for rule in sampler.rules:
        got = rule(got, [4, 9])
    np.testing.assert_allclose(
        probabilities(got), torch.softmax(wanted.double(), -1)[0].numpy(), atol=1e-6
    )


def test_the_defaults_are_greedy_and_change_nothing() -> None:
    sampler = build_sampler()
    assert sampler == Sampler() == Sampler(rules=(), greedy=True)
    assert build_sampler(temperature=1.0) == Sampler(rules=(), greedy=False)
    assert sampler.choose(LOGITS, [], np.random.default_rng()) == 1


@pytest.mark.parametrize("seed", range(20))
def test_top_1_is_greedy_even_where_tokens_tie(seed: int) -> None:
    # Rounding to halves makes many ties, as bfloat16 logits do.
    logits = np.round(random_logits(seed) * 0.5) * 2
    greedy = build_sampler().choose(logits, [], np.random.default_rng(0))
    for rules in ({"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-300, "top_k": 1}):
        sampler = build_sampler(**{"temperature": 0.9, **rules})  # type: ignore[arg-type]
        assert sampler.choose(logits, [], np.random.default_rng(seed)) == greedy


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-30, 1e-3])
def test_a_tiny_temperature_is_greedy(temperature: float) -> None:
    assert draws(build_sampler(temperature=temperature), LOGITS, 50) == {1: 50}


def test_greedy_ignores_the_filters_but_not_the_penalty() -> None:
    assert build_sampler(top_k=3, top_p=0.5, min_p=0.5).rules == ()
    sampler = build_sampler(repetition_penalty=2.0)
    logits = np.array([2.0, 1.5])
    assert sampler.choose(logits, [0], np.random.default_rng()) == 1


def test_draws_follow_the_distribution() -> None:
    counts = draws(build_sampler(temperature=1.0), LOGITS, 8000)
    expected = 8000 * probabilities(LOGITS)
    chi_square = sum((counts[i] - expected[i]) ** 2 / expected[i] for i in range(5))
    assert chi_square < 18.5  # 4 degrees of freedom: once in a thousand


def test_what_is_filtered_out_is_never_drawn() -> None:
    assert set(draws(build_sampler(temperature=5.0, top_k=2), LOGITS, 2000)) == {1, 3}


def test_the_highest_draw_still_has_probability() -> None:
    class Highest(np.random.Generator):
        def random(self, *_args: Any, **_kwargs: Any) -> float:  # type: ignore[override]
            return 1.0

    generator = Highest(np.random.PCG64(0))
    logits = np.array([0.0, 1.0, -np.inf, -np.inf])
    assert build_sampler(temperature=1.0).choose(logits, [], generator) == 1


def test_a_seed_repeats_the_draws() -> None:
    sampler = build_sampler(temperature=1.0)
    first, again, other = (
        [sampler.choose(LOGITS, [], generator) for _ in range(40)]
        for generator in map(np.random.default_rng, (5, 5, 6))
    )
    assert first == again != other


def test_log_probability_is_that_of_softmax() -> None:
    logits = random_logits(2)
    expected = torch.log_softmax(torch.tensor(logits).double(), -1)
    for token in (0, 17, 299):
        assert log_probability(logits, token) == pytest.approx(float(expected[token]), abs=1e-6)
    assert log_probability(np.array([1e4, -1e4], np.float32), 1) == pytest.approx(-2e4)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 101.0),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", -1.0),
        *(
            (name, bad)
            for name in ("temperature", "top_p", "min_p")
            for bad in (math.nan, math.inf)
        ),
        ("repetition_penalty", math.inf),
    ],
)
def test_a_value_out_of_range_is_named(option: str, value: float) -> None:
    with pytest.raises(OptionError, match=option.replace("_", "-")):
        CompletionOptions(**{option: value})  # type: ignore[arg-type]
