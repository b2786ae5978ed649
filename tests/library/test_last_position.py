"""What is read at one token alone is what a pass over all tokens gives there."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.backends.numpy_tensors import _gelu_tanh, unwarned
from gpt_bigcode.checkpoint.loading import save_model
from gpt_bigcode.modeling.kv_cache import KeyValueCache
from gpt_bigcode.modeling.transformer import GPTBigCodeModel
from reference_models import make_ours, tiny_fields, token_ids

LIMIT = 1e-5
LENGTHS = (1, 2, 17, 256, 257, 513, 598)


@pytest.fixture(scope="module", params=[True, False], ids=["multi-query", "multi-head"])
def model(request: pytest.FixtureRequest) -> Any:
    return make_ours(tiny_fields(n_positions=600, multi_query=request.param), seed=5)


@pytest.fixture(scope="module")
def trunk(model: Any) -> GPTBigCodeModel:
    found: GPTBigCodeModel = model.eval().transformer
    return found


@pytest.fixture(scope="module")
def decoder(model: Any, tmp_path_factory: pytest.TempPathFactory) -> NumpyDecoder:
    folder = tmp_path_factory.mktemp("model")
    save_model(model, folder)
    return NumpyDecoder.load(folder)


def _states(position: int, states: Any) -> Any:
    assert position % 512 == 0
    return states


def _close(got: Any, expected: Any) -> bool:
    got, expected = np.asarray(got), np.asarray(expected)
    limit = LIMIT * np.abs(expected).max()
    return bool(got.shape == expected.shape and np.abs(got - expected).max() <= limit)


@pytest.mark.parametrize("length", LENGTHS)
def test_the_last_state_is_that_of_a_full_pass(decoder: NumpyDecoder, length: int) -> None:
    ids = token_ids(1, length)[0].tolist()
    everything = np.concatenate(decoder.map_states(ids, _states))
    assert len(everything) == length
    assert _close(decoder.last_state(ids), everything[-1:])
    assert _close(decoder.prefill([ids]), decoder.head(everything[-1:]))


@pytest.mark.parametrize("queries", [1, 5, 16])
def test_how_many_queries_are_taken_at_once_does_not_matter(
    decoder: NumpyDecoder, monkeypatch: pytest.MonkeyPatch, queries: int
) -> None:
    ids = token_ids(1, 300)[0].tolist()
    expected = np.concatenate(decoder.map_states(ids, _states))
    monkeypatch.setattr("gpt_bigcode.backends.numpy_decoder._SCORES_AT_ONCE", 0)
    monkeypatch.setattr("gpt_bigcode.backends.numpy_decoder._LEAST_QUERIES", queries)
    assert _close(np.concatenate(decoder.map_states(ids, _states)), expected)


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_wanted_tokens_of_a_batch(trunk: GPTBigCodeModel, padding: str, *, explicit: bool) -> None:
    ids = token_ids(3, 20)
    mask = torch.ones_like(ids)
    if padding != "none":
        mask[1, slice(7) if padding == "left" else slice(13, 20)] = 0
    wanted = torch.tensor([19, 12, 8])
    given = None if padding == "none" else mask
    with torch.no_grad():
        settings: Any = {"attention_mask": given, "output_attentions": explicit}
        whole = trunk(ids, use_cache=False, **settings).last_hidden_state
        chosen = trunk(ids, use_cache=False, wanted_tokens=wanted, **settings).last_hidden_state
    assert _close(chosen, whole[torch.arange(3), wanted].unsqueeze(1))
    assert not _close(chosen[1], whole[1, 11:12])


def test_wanted_tokens_behind_a_cache(trunk: GPTBigCodeModel) -> None:
    ids, parts = token_ids(2, 30), []
    with torch.no_grad():
        whole = trunk(ids, use_cache=False).last_hidden_state
        cache = KeyValueCache(trunk.config, 2, dtype=torch.float32, device=ids.device, capacity=30)
        for start, end in ((0, 9), (9, 10), (10, 30)):
            last = torch.full((2,), end - start - 1)
            output = trunk(ids[:, start:end], cache, use_cache=True, wanted_tokens=last)
            parts.append(output.last_hidden_state)
    assert cache.length == 30
    for part, place in zip(parts, (8, 9, 29), strict=True):
        assert _close(part, whole[:, place : place + 1])


def test_the_activation_is_exact_at_its_ends() -> None:
    """Where its exponential is infinite too."""
    values = np.concatenate([np.linspace(-60, 60, 4001), [-1e9, 1e9]]).astype(np.float32)
    inner = math.sqrt(2 / math.pi) * (values + 0.044715 * values.astype(np.float64) ** 3)
    expected = 0.5 * values * (1 + np.tanh(inner))
    got = unwarned(_gelu_tanh)(values)  # as the decoder calls it
    assert np.allclose(got, expected, rtol=2e-6, atol=1e-6)
    assert got[-1] == values[-1]
    assert got[-2] == 0


@torch.no_grad()
def test_wanted_tokens_that_attend_to_an_encoder() -> None:
    model = make_ours(tiny_fields(multi_query=False, add_cross_attention=True), seed=5)
    trunk: Any = model.eval().transformer
    ids, wanted = token_ids(3, 9), torch.tensor([8, 3, 0])
    encoder: Any = {"encoder_hidden_states": torch.randn(3, 5, model.config.n_embd)}
    whole = trunk(ids, **encoder).last_hidden_state
    chosen = trunk(ids, wanted_tokens=wanted, **encoder).last_hidden_state
    assert _close(chosen, whole[torch.arange(3), wanted].unsqueeze(1))
