"""Speculative = plain: the same tokens, the same draws, the same distribution, on every engine."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest

from gpt_bigcode.generation import speculative
from gpt_bigcode.generation.draft_model import ModelDrafter
from gpt_bigcode.generation.loop import Generation, Limits, Sampler, probabilities
from gpt_bigcode.generation.sampling import build_sampler
from gpt_bigcode.generation.speculative import (
    LONGEST_DRAFT,
    Draft,
    Drafter,
    PromptLookup,
    SpeculationBudget,
    SpeculativeDecoder,
    look_ahead,
)
from written_texts import write

VOCABULARY = 6
PERIOD = [0, 1, 2, 3, 1, 4, 2, 5]


def hashed_logits(text: Sequence[int]) -> np.ndarray:
    """A text that nearly repeats itself, with ties to within 1e-4 in between."""
    return _logits(len(text) % 48, tuple(text[-3:]))


@cache
def _logits(place: int, latest: tuple[int, ...]) -> np.ndarray:
    random = np.random.default_rng([place, *latest])
    logits = random.standard_normal(VOCABULARY)
    logits[PERIOD[place % len(PERIOD)]] += 3.0
    if random.random() < 0.2:
        best = int(logits.argmax())
        logits[(best + 1) % VOCABULARY] = logits[best] + random.uniform(-1e-4, 1e-4)
    return logits.astype(np.float32)


@cache
def _errors(place: int) -> np.ndarray:
    return np.random.default_rng([place, 1]).uniform(-1, 1, VOCABULARY).astype(np.float32)


class TextDecoder:
    """One row as a plain list; passes over several tokens are off by `noise` in every logit.

    So is whatever is computed behind tokens that such a pass has written.
    """

    vocabulary_size = VOCABULARY
    context_length = 160
    guess_cost = 0.3
    machine_epsilon = 2.0**-23

    def __init__(self, *, noise: float = 0.0) -> None:
        self.noise, self.exact_steps = noise, noise == 0
        self.text: list[int] = []
        self.exact = 0
        self.passes: list[int] = []

    def prefill(self, prompts: Sequence[Sequence[int]]) -> np.ndarray:
        (self.text,) = map(list, prompts)
        self.exact = len(self.text)
        return hashed_logits(self.text)[None]

    def decode(self, tokens: Sequence[int]) -> np.ndarray:
        plain = self.exact == len(self.text)
        self.exact += plain
        return self._append(tokens, noise=0.0 if plain else self.noise)

    def append(self, tokens: Sequence[int]) -> np.ndarray:
        return self._append(tokens, noise=self.noise)

    def truncate(self, length: int) -> None:
        assert 0 < length <= len(self.text)
        del self.text[length:]
        self.exact = min(self.exact, length)

    def select_rows(self, rows: Sequence[int]) -> None:
        assert list(rows) == [0]

    def _append(self, tokens: Sequence[int], *, noise: float) -> np.ndarray:
        self.passes.append(len(tokens))
        rows = []
        for token in tokens:
            self.text.append(token)
            assert len(self.text) < self.context_length
            logits = hashed_logits(self.text)
            rows.append(logits + np.float32(noise) * _errors(len(self.text)))
        return np.stack(rows)


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every guess is checked."""
    budget = SpeculationBudget
    monkeypatch.setattr(budget, "most", lambda _self, **_: LONGEST_DRAFT)
    monkeypatch.setattr(budget, "length", lambda _self, shares: len(shares))


SAMPLERS = {
    "greedy": Sampler(),
    "penalty": build_sampler(repetition_penalty=1.3),
    "free": build_sampler(temperature=1.0),
    "filtered": build_sampler(temperature=0.7, top_k=4, top_p=0.9, min_p=0.02),
    "filtered-penalty": build_sampler(temperature=1.2, top_p=0.95, repetition_penalty=1.2),
}


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_an_exact_decoder_writes_the_same_tokens_and_draws(sampler: Sampler) -> None:
    for seed in range(25):
        prompt = [*PERIOD, *PERIOD][: 3 + seed % 14]
        options: dict[str, Any] = {"sampler": sampler, "seed": seed, "end_ids": [5][: seed % 2]}
        decoder = TextDecoder()
        ahead = write(decoder, prompt, **options)
        assert ahead == write(TextDecoder(), prompt, speculate=False, **options)
        assert seed % 2 or max(decoder.passes) > 1


def test_close_choices_are_settled_by_plain_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [PERIOD * (1 + seed % 3) + [seed % VOCABULARY] for seed in range(40)]
    plain = [write(TextDecoder(), prompt, speculate=False)[0] for prompt in prompts]
    for noise in (1e-5, 1e-3):
        assert [write(TextDecoder(noise=noise), prompt)[0] for prompt in prompts] == plain
    monkeypatch.setattr(speculative, "_NOISE_MARGIN", 0.0)  # what it is for
    assert [write(TextDecoder(noise=1e-3), prompt)[0] for prompt in prompts] != plain


class LuckyDecoder(TextDecoder):
    """Its first pass over several tokens happens to agree with plain steps; others do not."""

    def append(self, tokens: Sequence[int]) -> np.ndarray:
        first = max(self.passes, default=1) == 1
        return self._append(tokens, noise=0.0 if first else self.noise)


def test_one_equal_sample_does_not_prove_that_coarse_numbers_are_equal() -> None:
    """As in bfloat16, where sums are equal until one falls on the border of two numbers."""
    prompts = [PERIOD * (1 + seed % 3) + [seed % VOCABULARY] for seed in range(40)]
    plain = [write(TextDecoder(), prompt, speculate=False)[0] for prompt in prompts]

    def texts(epsilon: float) -> list[list[int]]:
        decoder = LuckyDecoder(noise=1e-3)
        decoder.machine_epsilon = epsilon
        found = []
        for prompt in prompts:
            decoder.passes.clear()
            found.append(write(decoder, prompt)[0])
        return found

    assert texts(2.0**-8) == plain
    assert texts(2.0**-23) != plain  # what it is for


@pytest.mark.parametrize("length", [5, 150, 158, 159])
@pytest.mark.parametrize("tokens", [1, 2, 3, 9, 100_000])
def test_no_guess_reaches_beyond_the_limits(length: int, tokens: int) -> None:
    prompt = (PERIOD * 20)[:length]
    decoder = TextDecoder()
    written, reason = write(decoder, prompt, tokens=tokens)
    assert (written, reason) == write(TextDecoder(), prompt, tokens=tokens, speculate=False)
    assert len(written) == min(tokens, 160 - length)
    assert sum(decoder.passes) >= len(written) - 1
    assert len(decoder.text) <= length + tokens


def test_wrong_guesses_change_nothing() -> None:
    class Wrong:
        def read(self, tokens: Sequence[int]) -> None:
            pass

        def prepare(self) -> None:
            pass

        def propose(self, most: int) -> Draft:
            return Draft((5, 0, 5)[: max(most, 0)], (2, 3, 4)[: max(most, 0)])

    decoder = TextDecoder()
    ahead = SpeculativeDecoder(decoder, sampler=Sampler(), max_tokens=50, drafter=Wrong())
    batch = Generation(ahead, [PERIOD], limits=Limits(50))
    written = [token.id for step in batch for token in step]
    assert written == write(TextDecoder(), PERIOD, speculate=False, tokens=50)[0]
    assert ahead.drafted > 3 * ahead.accepted


@pytest.mark.parametrize("draft_noise", [0.0, 0.5])
def test_a_draft_model_changes_nothing(draft_noise: float) -> None:
    accepted = []
    for seed in range(8):
        prompt = [*PERIOD, seed % VOCABULARY]
        drafter = ModelDrafter(TextDecoder(noise=draft_noise))
        ahead = SpeculativeDecoder(TextDecoder(), sampler=Sampler(), max_tokens=50, drafter=drafter)
        batch = Generation(ahead, [prompt], limits=Limits(50))
        written = [token.id for step in batch for token in step]
        assert written == write(TextDecoder(), prompt, speculate=False, tokens=50)[0]
        accepted.append(ahead.accepted / ahead.drafted)
    assert min(accepted) > 0.3


def distribution(prompt: list[int], sampler: Sampler, tokens: int) -> dict[tuple[int, ...], float]:
    """The probability of every text of so many tokens, worked out without drawing."""
    shares = {}
    for text in product(range(VOCABULARY), repeat=tokens):
        share = 1.0
        for place, token in enumerate(text):
            logits: Any = hashed_logits([*prompt, *text[:place]])
            for rule in sampler.rules:
                logits = rule(logits, text[:place])
            share *= float(probabilities(logits)[token])
        shares[text] = share
    return shares


class Always:
    """Guesses the same token everywhere: often drawn, never drawn, or what the model likes best."""

    def __init__(self, token: int) -> None:
        self.token = token

    def read(self, tokens: Sequence[int]) -> None:
        pass

    def prepare(self) -> None:
        pass

    def propose(self, most: int) -> Draft:
        return Draft((self.token,) * most, (2,) * most)


DRAFTERS: dict[str, Callable[[], Drafter]] = {
    "copies": PromptLookup,
    "the model itself": lambda: ModelDrafter(TextDecoder()),
    "another model": lambda: ModelDrafter(TextDecoder(noise=2.0)),
    "one token": lambda: Always(2),
}
DRAWS = 800


def surprise(seen: Mapping[tuple[int, ...], int], shares: dict[tuple[int, ...], float]) -> float:
    """Chi-square over its limit, which is passed once in 10,000 by chance; rare texts are one."""
    draws = sum(seen.values())
    assert not [text for text in seen if shares[text] == 0]
    common = [text for text, share in shares.items() if share * draws >= 5]
    rest = draws * (1 - sum(shares[text] for text in common))
    pairs = [(seen.get(text, 0), shares[text] * draws) for text in common]
    pairs += [(draws - sum(count for count, _ in pairs), rest)] if rest >= 5 else []
    statistic = sum((count - mean) ** 2 / mean for count, mean in pairs)
    freedom = len(pairs) - 1
    assert freedom > 5
    limit = freedom * (1 - 2 / (9 * freedom) + 3.72 * (2 / (9 * freedom)) ** 0.5) ** 3
    return float(statistic / limit)


def drawn(
    sampler: Sampler, drafter: Callable[[], Drafter], noise: float
) -> Counter[tuple[int, ...]]:
    """How often each text of three tokens was drawn, each time with another seed."""
    decoder = TextDecoder(noise=noise)
    texts: Counter[tuple[int, ...]] = Counter()
    for seed in range(DRAWS):
        ahead = SpeculativeDecoder(decoder, sampler=sampler, max_tokens=3, drafter=drafter())
        batch = Generation(ahead, [DRAWN_BEHIND], sampler=sampler, limits=Limits(3), seed=seed)
        texts[tuple(token.id for step in batch for token in step)] += 1
    assert max(decoder.passes) > 1
    return texts


DRAWN_BEHIND = [*PERIOD, 0, 1]


@pytest.mark.parametrize("name", ["free", "filtered", "filtered-penalty"])
@pytest.mark.parametrize("drafter", DRAFTERS.values(), ids=DRAFTERS)
def test_draws_have_the_sampler_s_distribution(name: str, drafter: Callable[[], Drafter]) -> None:
    seen = drawn(SAMPLERS[name], drafter, 0.0 if name == "free" else 1e-5)
    assert surprise(seen, distribution(DRAWN_BEHIND, SAMPLERS[name], 3)) < 1


def test_so_many_draws_tell_other_distributions_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = distribution(DRAWN_BEHIND, SAMPLERS["free"], 3)
    warmer = build_sampler(temperature=1.2)
    assert surprise(drawn(warmer, PromptLookup, 0.0), shares) > 1

    def trusting(self: SpeculativeDecoder, token: int) -> Any:  # believes guesses a bit too much
        logits = step(self, token)
        for guess in self._ahead.draft.tokens[:1]:
            logits = logits.copy()
            logits[guess] += 1.0
        return logits

    step = SpeculativeDecoder._step
    monkeypatch.setattr(SpeculativeDecoder, "_step", trusting)
    assert surprise(drawn(SAMPLERS["free"], DRAFTERS["the model itself"], 0.0), shares) > 1


def test_where_draws_would_depend_on_guesses_none_are_made() -> None:
    """A draw on the border between two tokens cannot be settled as a greedy choice can."""
    for noise, sampler, looks in [
        (0.0, Sampler(), True),
        (0.0, SAMPLERS["free"], True),
        (1e-5, Sampler(), True),
        (1e-5, SAMPLERS["free"], False),
    ]:
        ahead = look_ahead(TextDecoder(noise=noise), sampler, 50)
        assert (ahead is not None) == looks


@pytest.mark.parametrize("noise", [0.0, 1e-5])
def test_a_seed_draws_the_same_text_again(noise: float) -> None:
    sampler = SAMPLERS["filtered"]
    texts = [write(TextDecoder(noise=noise), PERIOD, sampler=sampler, seed=7) for _ in range(5)]
    assert texts == texts[:1] * 5
