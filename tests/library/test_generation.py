"""Generation over token ids, with decoders that need no model: limits, ends, seeds, batches."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gpt_bigcode.completion.options import CompletionOptions
from gpt_bigcode.errors import ContextError, InputError, NonFiniteError, OptionError
from gpt_bigcode.generation import loop
from gpt_bigcode.generation.loop import Generation, Limits, Sampler, row_generators
from gpt_bigcode.generation.sampling import build_sampler
from gpt_bigcode.stopping.text_stop import FinishReason
from naive_decoding import naive_generate

VOCABULARY = 11
END = 10


def hashed_logits(text: Sequence[int]) -> np.ndarray:
    """Logits that depend on every token of a text; the end token is likely sometimes."""
    random = np.random.default_rng([len(text), *text])
    logits = random.standard_normal(VOCABULARY)
    logits[END] += 1.5 if len(text) % 9 == 0 else -3.0
    return logits.astype(np.float32)


class TextDecoder:
    """A decoder that keeps its rows as plain lists and notes what it is asked."""

    vocabulary_size = VOCABULARY

    def __init__(self, context_length: int = 64) -> None:
        self.context_length = context_length
        self.rows: list[list[int]] = []
        self.batch_sizes: list[int] = []

    def prefill(self, prompts: Sequence[Sequence[int]]) -> np.ndarray:
        self.rows = [list(prompt) for prompt in prompts]
        return self._logits()

    def decode(self, tokens: Sequence[int]) -> np.ndarray:
        assert len(tokens) == len(self.rows)
        for row, token in zip(self.rows, tokens, strict=True):
            row.append(token)
        return self._logits()

    def select_rows(self, rows: Sequence[int]) -> None:
        self.rows = [self.rows[row] for row in rows]

    def _logits(self) -> np.ndarray:
        self.batch_sizes.append(len(self.rows))
        assert all(len(row) <= self.context_length for row in self.rows)
        return np.stack([hashed_logits(row) for row in self.rows])


class Scripted(TextDecoder):
    """Writes the given ids after any prompt, one row each, whatever it is fed."""

    def __init__(self, *scripts: Sequence[int], context_length: int = 64) -> None:
        super().__init__(context_length)
        self.scripts = scripts

    def prefill(self, prompts: Sequence[Sequence[int]]) -> np.ndarray:
        self.left = [list(script) for script in self.scripts]
        return super().prefill(prompts)

    def select_rows(self, rows: Sequence[int]) -> None:
        super().select_rows(rows)
        self.left = [self.left[row] for row in rows]

    def _logits(self) -> np.ndarray:
        self.batch_sizes.append(len(self.rows))
        logits = np.zeros((len(self.rows), VOCABULARY), np.float32)
        for row, script in enumerate(self.left):
            logits[row, script.pop(0)] = 20.0
        return logits


def run(run_: Generation, rows: int) -> list[list[int]]:
    written: list[list[int]] = [[] for _ in range(rows)]
    for step in run_:
        for token in step:
            written[token.row].append(token.id)
    return written


def test_a_batch_is_the_naive_twin_of_each_row() -> None:
    prompts = [[1], [2, 3, 4, 5, 6, 7], [8, 9], [1, 1, 1, 1]]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        for sampler in (Sampler(), build_sampler(temperature=0.8, top_k=6)):
            batch = [prompts[index] for index in order]
            options: dict[str, Any] = {"sampler": sampler, "limits": Limits(20), "seed": 4}
            together = run(Generation(TextDecoder(), batch, end_ids=[END], **options), 4)
            for row, prompt in enumerate(batch):
                alone = naive_generate(
                    hashed_logits, prompt, sampler=sampler, max_tokens=20, end_ids=[END], seed=4
                )
                if sampler.greedy or row == 0:
                    assert together[row] == [token.id for token in alone]


def test_a_sample_does_not_depend_on_the_number_of_samples() -> None:
    options: dict[str, Any] = {"sampler": build_sampler(temperature=1.0), "limits": Limits(30)}
    many = run(Generation(TextDecoder(), [[1, 2]] * 5, seed=9, **options), 5)
    for count in (1, 2, 4):
        assert (
            run(Generation(TextDecoder(), [[1, 2]] * count, seed=9, **options), count)
            == many[:count]
        )
    assert len({tuple(row) for row in many}) == 5
    other = run(Generation(TextDecoder(), [[1, 2]], seed=10, **options), 1)
    assert other[0] != many[0]


def test_a_row_draws_from_numpys_generator_of_its_seed_and_place() -> None:
    for row, drawn in enumerate(row_generators(9, 3)):
        own = np.random.default_rng(np.random.SeedSequence(9, spawn_key=(row,)))
        assert [drawn.random() for _ in range(5)] == [own.random() for _ in range(5)]


def test_without_a_seed_runs_differ() -> None:
    sampler = build_sampler(temperature=2.0)
    runs = [run(Generation(TextDecoder(), [[1]], sampler=sampler), 1)[0] for _ in range(3)]
    assert len({tuple(ids) for ids in runs}) == 3


def test_closed_rows_leave_the_batch() -> None:
    decoder = Scripted([1, 2, END], [3, END], [4, 5, 6, 7])
    batch = Generation(decoder, [[1], [2], [3]], limits=Limits(4), end_ids=[END])
    assert run(batch, 3) == [[1, 2], [3], [4, 5, 6, 7]]
    assert decoder.batch_sizes == [3, 3, 2, 1]
    assert batch.reasons == [FinishReason.STOP, FinishReason.STOP, FinishReason.LENGTH]


def test_an_end_token_at_once_gives_no_token_at_all() -> None:
    batch = Generation(Scripted([END]), [[1]], end_ids=[END])
    assert list(batch) == []
    assert batch.reasons == [FinishReason.STOP]


@pytest.mark.parametrize("end", range(5, 11))
def test_every_end_token_ends(end: int) -> None:
    batch = Generation(Scripted([1, end, 2]), [[1]], end_ids=range(5, 11))
    assert run(batch, 1) == [[1]]


def test_the_caller_can_close_a_row() -> None:
    batch = Generation(Scripted([1] * 9, [2] * 9), [[1], [1]], limits=Limits(6))
    written: list[list[int]] = [[], []]
    for step in batch:
        for token in step:
            written[token.row].append(token.id)
            if token.row == 0 and len(written[0]) == 2:
                batch.finish(0, FinishReason.SUFFIX)
    assert written == [[1, 1], [2] * 6]
    assert batch.reasons == [FinishReason.SUFFIX, FinishReason.LENGTH]


@pytest.mark.parametrize("length", [1, 2, 62, 63])
@pytest.mark.parametrize("max_tokens", [1, 2, 64, 10**12])
def test_the_context_is_never_exceeded(length: int, max_tokens: int) -> None:
    batch = Generation(TextDecoder(), [[1] * length], limits=Limits(max_tokens))
    written = run(batch, 1)[0]
    assert len(written) == min(max_tokens, 64 - length)
    assert batch.reasons == [FinishReason.LENGTH]


def test_rows_reach_the_end_of_the_context_one_by_one() -> None:
    batch = Generation(TextDecoder(), [[1] * 60, [2] * 3], limits=Limits(1000))
    assert [len(ids) for ids in run(batch, 2)] == [4, 61]


@pytest.mark.parametrize("length", [64, 65, 640])
def test_a_prompt_that_fills_the_context_is_refused(length: int) -> None:
    with pytest.raises(ContextError, match=str(length)):
        Generation(TextDecoder(), [[1], [1] * length])


@pytest.mark.parametrize("prompts", [[], [[]], [[1], []]])
def test_a_prompt_needs_a_token(prompts: list[list[int]]) -> None:
    with pytest.raises(InputError):
        Generation(TextDecoder(), prompts)


def test_the_time_budget_ends_open_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(loop, "perf_counter", lambda: float(next(clock)))
    limits = Limits(max_tokens=50, time_budget_seconds=40.0)
    batch = Generation(Scripted([1, END], [2] * 60), [[1], [1]], limits=limits, end_ids=[END])
    written = run(batch, 2)
    assert batch.reasons == [FinishReason.STOP, FinishReason.TIME]
    assert 1 < len(written[1]) < 12


def test_a_budget_that_is_already_spent_still_gives_one_token() -> None:
    limits = Limits(max_tokens=50, time_budget_seconds=1e-9)
    batch = Generation(TextDecoder(), [[1]], limits=limits)
    assert len(run(batch, 1)[0]) == 1
    assert batch.reasons == [FinishReason.TIME]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("sampler", [Sampler(), build_sampler(temperature=1.0)])
def test_numbers_that_are_none_are_an_error(bad: float, sampler: Sampler) -> None:
    class Broken(TextDecoder):
        def _logits(self) -> np.ndarray:
            logits = super()._logits()
            logits[0, 3] = bad
            return logits

    with pytest.raises(NonFiniteError):
        list(Generation(Broken(), [[1]], sampler=sampler))


def test_log_probabilities_are_the_model_s_own() -> None:
    sampler = build_sampler(temperature=0.3, top_k=2, repetition_penalty=1.5)
    text = [4, 2]
    for (token,) in Generation(TextDecoder(), [text], sampler=sampler, seed=1, limits=Limits(12)):
        logits = hashed_logits(text).astype(np.float64)
        expected = logits[token.id] - np.log(np.exp(logits).sum())
        assert token.logprob == pytest.approx(expected, abs=1e-6)
        text = [*text, token.id]


def test_the_repetition_penalty_leaves_the_prompt_alone() -> None:
    class Flat(TextDecoder):
        def _logits(self) -> np.ndarray:
            logits = np.tile(np.linspace(1.0, 2.0, VOCABULARY), (len(self.rows), 1))
            return logits.astype(np.float32)

    sampler = build_sampler(repetition_penalty=1.2)
    written = run(Generation(Flat(), [[10, 10, 9]], sampler=sampler, limits=Limits(3)), 1)
    assert written == [[10, 9, 8]]


def test_times_are_measured() -> None:
    batch = Generation(TextDecoder(), [[1]], limits=Limits(5))
    run(batch, 1)
    assert batch.prefill_seconds > 0
    assert batch.decode_seconds > 0


@pytest.mark.parametrize(
    "options",
    [
        {"max_tokens": 0},
        {"max_tokens": -1},
        *({"time_budget_seconds": bad} for bad in (0.0, -1.0, math.nan, math.inf)),
    ],
)
def test_limits_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        CompletionOptions(**options)  # type: ignore[arg-type]


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(OptionError, match="seed"):
        Generation(TextDecoder(), [[1]], seed=-1)
