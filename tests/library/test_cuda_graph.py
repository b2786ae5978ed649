"""GraphedDecoder: its static step, without capture, gives what plain decoding gives."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from gpt_bigcode.backends import cuda_graph
from gpt_bigcode.backends.cuda_graph import GraphedDecoder
from gpt_bigcode.backends.torch_decoder import TorchDecoder
from gpt_bigcode.checkpoint.loading import load_model
from gpt_bigcode.errors import ContextError, InputError
from gpt_bigcode.generation.loop import Generation, Limits, Sampler
from gpt_bigcode.generation.sampling import build_sampler
from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM

CLOSE = 2e-5


@pytest.fixture(params=["tiny_checkpoint", "tiny_plain_checkpoint"])
def model(request: pytest.FixtureRequest) -> GPTBigCodeForCausalLM:
    """Multi-query, multi-head; 128 positions."""
    loaded = load_model(request.getfixturevalue(request.param))
    assert isinstance(loaded, GPTBigCodeForCausalLM)
    return loaded


@pytest.fixture(autouse=True)
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graph, "_LEAST_CAPACITY", 16)
    monkeypatch.setattr("gpt_bigcode.backends.torch_decoder._SPARE_TOKENS", 1)
    monkeypatch.setattr("gpt_bigcode.modeling.kv_cache._BLOCK_TOKENS", 16)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What each step was started with; None: with the token that stayed on the device."""
    kinds: list[object] = []
    start = cuda_graph.StaticStep.start

    def counted(
        step: cuda_graph.StaticStep, ids: Sequence[Sequence[int]] | None, length: int
    ) -> None:
        kinds.append(ids)
        start(step, ids, length)

    monkeypatch.setattr(cuda_graph.StaticStep, "start", counted)
    return kinds


def prompt(length: int) -> list[int]:
    ids: list[int] = np.random.default_rng(length).integers(19, 380, length).tolist()
    return ids


def naive(model: GPTBigCodeForCausalLM, text: Sequence[int]) -> np.ndarray:
    with torch.inference_mode():
        logits: np.ndarray = model(torch.tensor([list(text)]), use_cache=False).logits[0].numpy()
    return logits


def test_every_place_and_every_capacity(model: GPTBigCodeForCausalLM) -> None:
    """The cache grows from 16 to 128 places on the way."""
    text = prompt(128)
    wanted = naive(model, text)
    decoder = GraphedDecoder(model)
    capacities = set()
    assert np.abs(decoder.prefill([text[:1]])[0] - wanted[0]).max() <= CLOSE
    for place in range(1, len(text)):
        logits = decoder.decode([text[place]])
        assert np.abs(logits[0] - wanted[place]).max() <= CLOSE
        capacities.add(decoder._filled().capacity)
    assert capacities == {16, 32, 64, 128}
    with pytest.raises(ContextError):
        decoder.decode([5])


@pytest.mark.parametrize("tokens", [2, 3, 8, 9])
def test_several_tokens_at_once(model: GPTBigCodeForCausalLM, tokens: int) -> None:
    text = prompt(64)
    wanted = naive(model, text)
    decoder = GraphedDecoder(model)
    decoder.prefill([text[:5]])
    for place in range(5, len(text) - tokens, tokens):
        decoder.append(prompt(tokens))  # a guess that was wrong
        decoder.truncate(place)
        logits = decoder.append(text[place : place + tokens])
        assert np.abs(logits - wanted[place : place + tokens]).max() <= CLOSE


def test_rows_of_different_length_and_rows_that_end(model: GPTBigCodeForCausalLM) -> None:
    texts = [prompt(40), prompt(41), prompt(42)]
    decoder = GraphedDecoder(model)
    decoder.prefill([texts[0][:4], texts[1][:11], texts[2][:7]])
    rows = [(0, 4), (1, 11), (2, 7)]
    for turn in range(20):
        if turn == 8:
            decoder.select_rows([2, 0])
            rows = [rows[2], rows[0]]
        logits = decoder.decode([texts[row][first + turn] for row, first in rows])
        for place, (row, first) in enumerate(rows):
            wanted = naive(model, texts[row][: first + turn + 1])[-1]
            assert np.abs(logits[place] - wanted).max() <= CLOSE


@pytest.mark.parametrize(
    "sampler",
    [
        pytest.param(Sampler(), id="greedy"),
        pytest.param(build_sampler(temperature=1.0), id="sampled"),
        pytest.param(build_sampler(temperature=0.0, repetition_penalty=1.5), id="with-a-rule"),
    ],
)
def test_texts_are_those_of_plain_decoding(model: GPTBigCodeForCausalLM, sampler: Sampler) -> None:
    def written(decoder: TorchDecoder) -> list[list[int]]:
        rows: list[list[int]] = [[], []]
        prompts = [prompt(9), prompt(20)]
        steps = Generation(decoder, prompts, sampler=sampler, limits=Limits(60), seed=3)
        for token in (token for step in steps for token in step):
            rows[token.row].append(token.id)
        return rows

    decoder = GraphedDecoder(model)
    first = written(decoder)
    assert first == written(TorchDecoder(model))
    assert written(decoder) == first  # over the memory of the first text


def test_the_best_token_stays_where_it_was_computed(
    model: GPTBigCodeForCausalLM, started: list[object]
) -> None:
    decoder = GraphedDecoder(model)
    logits = decoder.prefill([prompt(3)])
    for _ in range(8):
        logits = decoder.decode([int(logits[0].argmax())])
    handed = [ids for ids in started if ids is not None]
    assert len(handed) == 2  # afterwards the caller only confirms
    assert len(started) - len(handed) == 7


def test_another_token_than_the_best_is_computed_anew(
    model: GPTBigCodeForCausalLM, started: list[object]
) -> None:
    decoder, plain = GraphedDecoder(model), TorchDecoder(model)
    logits, _ = decoder.prefill([prompt(3)]), plain.prefill([prompt(3)])
    for turn in range(12):
        token = (int(logits[0].argmax()) + (turn % 4 == 3)) % 380
        logits = decoder.decode([token])
        assert np.abs(logits - plain.decode([token])).max() <= CLOSE
    assert None in started


def test_an_id_without_a_row_is_refused(model: GPTBigCodeForCausalLM) -> None:
    decoder = GraphedDecoder(model)
    decoder.prefill([prompt(3)])
    with pytest.raises(InputError, match="token ids"):
        decoder.decode([model.config.vocab_size])
