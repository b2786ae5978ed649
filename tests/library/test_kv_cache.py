"""Laws of the key/value cache: it changes how long a text takes, never its numbers."""

from typing import Any

import pytest
import torch

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import ContextError, InputError
from gpt_bigcode.modeling.kv_cache import KeyValueCache
from reference_models import deviation, make_ours, tiny_fields, token_ids

LIMIT = 1e-5


@pytest.fixture(scope="module", params=[True, False], ids=["multi-query", "multi-head"])
def model(request: pytest.FixtureRequest) -> Any:
    return make_ours(tiny_fields(multi_query=request.param), seed=3)


def empty_cache(rows: int = 1, **settings: Any) -> KeyValueCache:
    return KeyValueCache(GPTBigCodeConfig.from_dict(tiny_fields()), rows, **settings)


@pytest.mark.parametrize("pieces", [(1,) * 20, (7, 13), (19, 1), (1, 19), (5, 5, 5, 5)], ids=str)
@torch.no_grad()
def test_pieces_give_what_the_whole_gives(model: Any, pieces: tuple[int, ...]) -> None:
    ids = token_ids(2, 20)
    whole = model(ids, use_cache=False).logits
    cache = KeyValueCache(model.config, 2)
    parts = [
        model(piece, past_key_values=cache).logits
        for piece in torch.split(ids, list(pieces), dim=1)
    ]
    assert cache.length == 20
    assert deviation(torch.cat(parts, dim=1), whole) <= LIMIT


@torch.no_grad()
def test_a_batch_padded_on_the_left_is_its_rows_alone(model: Any) -> None:
    lengths = (1, 2, 17, 60)
    mask = torch.stack([(torch.arange(64) >= 60 - length).long() for length in lengths])
    ids = token_ids(4, 64) * mask
    cache = KeyValueCache(model.config, 4)
    steps = [
        model(ids[:, start:end], attention_mask=mask[:, :end], past_key_values=cache).logits[:, -1]
        for start, end in ((0, 60), (60, 61), (61, 62), (62, 63), (63, 64))
    ]
    for row, length in enumerate(lengths):
        alone = model(ids[row : row + 1, 60 - length :], use_cache=False).logits[0, length - 1 :]
        batched = torch.stack([step[row] for step in steps])
        assert deviation(batched, alone) <= LIMIT


@torch.no_grad()
def test_truncated_to_a_prefix_it_continues_as_if_new(model: Any) -> None:
    ids, other = token_ids(2, 20), token_ids(2, 9, seed=5)
    cache = model(ids).past_key_values
    cache.truncate(6)
    got = model(other, past_key_values=cache).logits
    expected = model(torch.cat([ids[:, :6], other], dim=1)).logits[:, 6:]
    assert cache.length == 15
    assert deviation(got, expected) <= LIMIT
    cache.truncate(0)
    assert deviation(model(other, past_key_values=cache).logits, model(other).logits) <= LIMIT


@torch.no_grad()
def test_truncating_to_more_than_there_is(model: Any) -> None:
    cache = model(token_ids(1, 5)).past_key_values
    for length in (6, -1):
        with pytest.raises(ContextError, match="5"):
            cache.truncate(length)
    assert cache.length == 5


@pytest.mark.parametrize("rows", [[2, 0], [1], [0, 0, 2, 1, 1], []], ids=str)
@torch.no_grad()
def test_kept_rows_continue_their_own_text(model: Any, rows: list[int]) -> None:
    ids, following = token_ids(3, 8), token_ids(len(rows), 4, seed=6)
    cache = model(ids).past_key_values
    cache.select_rows(rows)
    assert cache.batch_size == len(rows)
    if rows:
        got = model(following, past_key_values=cache).logits
        expected = model(torch.cat([ids[rows], following], dim=1)).logits[:, 8:]
        assert deviation(got, expected) <= LIMIT


def test_rows_that_are_not_there() -> None:
    for rows in ([2], [-1], [0, 5]):
        with pytest.raises(InputError, match="row"):
            empty_cache(2).select_rows(rows)


def test_room_is_made_in_blocks_and_not_for_every_token() -> None:
    cache = empty_cache()
    capacities = []
    for token in range(1100):
        for layer in range(2):
            cache.append(layer, torch.zeros(1, 1, 1, 8), torch.full((1, 1, 1, 8), float(token)))
        cache.advance(1)
        capacities.append(cache.capacity)
    keys, values = cache.layer(1)
    assert torch.equal(values[0, 0, :, 7], torch.arange(1100.0))
    assert not keys.any()
    assert sorted(set(capacities)) == [256, 512, 1024, 2048]
    assert capacities == sorted(capacities)


@torch.no_grad()
def test_within_its_capacity_nothing_moves() -> None:
    model = make_ours(seed=3)
    cache = KeyValueCache(model.config, 1, capacity=64)
    places = set()
    for _ in range(40):
        model(token_ids(1, 1), past_key_values=cache)
        places.add(tuple(part.data_ptr() for part in cache.layer(0)))
    assert len(places) == 1


@torch.no_grad()
def test_growing_keeps_what_is_there(model: Any) -> None:
    cache = KeyValueCache(model.config, 2, capacity=3)
    ids = token_ids(2, 3)
    model(ids, past_key_values=cache)
    before = torch.stack(cache.layer(1))
    cache.reserve(1000)
    assert cache.capacity == 1024
    assert torch.equal(torch.stack(cache.layer(1)), before)
    cache.reserve(10)
    assert cache.capacity == 1024


@torch.no_grad()
def test_it_holds_keys_and_values(model: Any) -> None:
    ids = token_ids(2, 5)
    got = model(ids, output_hidden_states=True)
    stored = torch.cat(got.past_key_values.layer(0), dim=-1)
    block = model.transformer.h[0]
    projected = block.attn.c_attn(block.ln_1(got.hidden_states[0]))
    if model.config.multi_query:
        expected = projected[:, None, :, 24:]
    else:
        expected = projected.unflatten(-1, (3, 24))[..., 8:].transpose(1, 2)
    assert stored.shape == (2, 1 if model.config.multi_query else 3, 5, 16)
    assert deviation(stored, expected) <= LIMIT


SANTACODER = {"n_layer": 24, "n_head": 16, "n_embd": 2048, "n_positions": 2048}
PUBLISHED = {
    "tiny_starcoder_py": ({"n_layer": 20, "n_head": 12, "n_embd": 768}, 5_120),
    "santacoder": (SANTACODER, 12_288),
    "santacoder, multi-head": ({**SANTACODER, "multi_query": False}, 196_608),
    "starcoderbase-3b": ({"n_layer": 36, "n_head": 22, "n_embd": 2816}, 18_432),
    "starcoder": ({"n_layer": 40, "n_head": 48, "n_embd": 6144}, 20_480),
    "granite-20b-code": ({"n_layer": 52, "n_head": 48, "n_embd": 6144}, 26_624),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_bytes_of_one_token(name: str) -> None:
    fields, expected = PUBLISHED[name]
    config = GPTBigCodeConfig.from_dict(fields)
    cache = KeyValueCache(config, dtype=torch.bfloat16, capacity=1)
    assert cache.bytes_per_token == expected
    full = KeyValueCache(config, 3, dtype=torch.float32, capacity=1)
    assert full.bytes_per_token == 2 * expected


@torch.no_grad()
def test_a_failed_pass_leaves_it_as_it_was(model: Any) -> None:
    ids = token_ids(1, 12)
    cache = model(ids[:, :8]).past_key_values
    with pytest.raises(InputError):
        model(ids[:, 8:], past_key_values=cache, attention_mask=torch.ones(1, 3))
    got = model(ids[:, 8:], past_key_values=cache).logits
    assert deviation(got, model(ids).logits[:, 8:]) <= LIMIT


def test_a_first_pass_with_a_cache_has_the_gradients_of_one_without(model: Any) -> None:
    ids = token_ids(2, 7)
    gradients = []
    for cached in (True, False):
        model.zero_grad()
        model(ids, labels=ids, use_cache=cached).loss.backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    assert all(torch.equal(one, two) for one, two in zip(*gradients, strict=True))
