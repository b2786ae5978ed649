"""A prompt's last token is what the whole pass gives; the cache is the same bit by bit."""

import numpy as np
import pytest
import torch

from gpt_bigcode.cache import KeyValueCache
from gpt_bigcode.checkpoint import load_model
from gpt_bigcode.heads import GPTBigCodeForCausalLM
from gpt_bigcode.last_token import for_last_token
from gpt_bigcode.transformer import GPTBigCodeModel

TOLERANCE = 1e-5


@pytest.fixture(params=["tiny_checkpoint", "tiny_plain_checkpoint"])
def trunk(request: pytest.FixtureRequest) -> GPTBigCodeModel:
    model = load_model(request.getfixturevalue(request.param))
    assert isinstance(model, GPTBigCodeForCausalLM)
    return model.transformer


def read(
    trunk: GPTBigCodeModel, pieces: tuple[torch.Tensor, ...], padding: int
) -> tuple[torch.Tensor, KeyValueCache]:
    """The last pass's states and the cache of two rows, the second with padding on the left."""
    cache = KeyValueCache(trunk.config, 2, capacity=1)
    for ids in pieces:
        seen = torch.arange(cache.length + ids.shape[1])
        mask = torch.stack([seen >= 0, seen >= padding]) if padding else None
        output = trunk(ids, past_key_values=cache, attention_mask=mask, use_cache=True)
    return output.last_hidden_state, cache


@torch.inference_mode()
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("sizes", [[1], [20], [7, 7, 6], [7, 1]])
def test_the_last_state_and_the_cache_are_those_of_the_whole_pass(
    trunk: GPTBigCodeModel, sizes: list[int], padding: int
) -> None:
    if padding and sizes == [1]:
        padding = 0
    ids = torch.tensor(np.random.default_rng(7).integers(19, 380, (2, sum(sizes))))
    wanted, theirs = read(trunk, torch.split(ids, sizes, dim=1), padding)
    found, ours = read(for_last_token(trunk), torch.split(ids, sizes, dim=1), padding)
    assert found.shape == (2, 1, trunk.config.n_embd)
    assert torch.allclose(found[:, -1], wanted[:, -1], atol=TOLERANCE)
    assert ours.length == theirs.length == sum(sizes)
    for layer in range(trunk.config.n_layer):
        assert torch.equal(ours.layer(layer), theirs.layer(layer))


@torch.inference_mode()
def test_the_trunk_itself_stays_as_it_was(trunk: GPTBigCodeModel) -> None:
    ids = torch.arange(20, 30)[None]
    before = trunk(ids).last_hidden_state
    assert for_last_token(trunk).h[0] is trunk.h[0]
    assert torch.equal(trunk(ids).last_hidden_state, before)
    assert before.shape[1] == 10
