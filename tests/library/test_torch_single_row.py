"""RowTrunk: a few tokens of one row give what the trunk's own forward pass gives."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gpt_bigcode.backends.torch_decoder import TorchDecoder
from gpt_bigcode.backends.torch_single_row import MOST_TOKENS, RowTrunk
from gpt_bigcode.checkpoint.loading import load_model
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import ContextError, InputError
from gpt_bigcode.hardware import Precision
from gpt_bigcode.loading import open_decoder
from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM
from gpt_bigcode.modeling.kv_cache import KeyValueCache
from gpt_bigcode.modeling.transformer import GPTBigCodeModel

TOLERANCE = 1e-5


@pytest.fixture
def trunk(tiny_checkpoint: Path) -> GPTBigCodeModel:
    model = load_model(tiny_checkpoint)
    assert isinstance(model, GPTBigCodeForCausalLM)
    return model.transformer


def some_ids(count: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(count).integers(19, 380, count))


@torch.inference_mode()
@pytest.mark.parametrize("new", [1, 2, 5, MOST_TOKENS])
@pytest.mark.parametrize("past", [0, 1, 30])
def test_new_tokens_are_those_of_the_whole_pass(
    trunk: GPTBigCodeModel, past: int, new: int
) -> None:
    ids = some_ids(past + new)
    wanted = trunk(ids[None], use_cache=False).last_hidden_state[0]
    cache = KeyValueCache(trunk.config, capacity=1)  # grows on the way
    rows = RowTrunk(trunk)
    if past:
        before = rows(ids[:past], cache)
        assert torch.allclose(before, wanted[:past], atol=TOLERANCE)
    found = rows(ids[past:], cache)
    assert found.shape == (new, trunk.config.n_embd)
    assert torch.allclose(found, wanted[past:], atol=TOLERANCE)
    assert cache.length == past + new


@torch.inference_mode()
def test_the_cache_is_the_same_as_the_other_one(trunk: GPTBigCodeModel) -> None:
    ids = some_ids(20)
    ours, theirs = KeyValueCache(trunk.config), KeyValueCache(trunk.config)
    RowTrunk(trunk)(ids, ours)
    trunk(ids[None], past_key_values=theirs, use_cache=True)
    for layer in range(trunk.config.n_layer):
        got, expected = torch.stack(ours.layer(layer)), torch.stack(theirs.layer(layer))
        assert torch.allclose(got, expected, atol=TOLERANCE)


@torch.inference_mode()
def test_too_many_tokens_and_unknown_ones_are_errors(trunk: GPTBigCodeModel) -> None:
    rows, cache = RowTrunk(trunk), KeyValueCache(trunk.config)
    with pytest.raises(InputError, match="input_ids"):
        rows(torch.tensor([trunk.config.vocab_size]), cache)
    assert cache.length == 0
    for _ in range(trunk.config.n_positions):
        rows(some_ids(1), cache)
    with pytest.raises(ContextError, match=str(trunk.config.n_positions)):
        rows(some_ids(1), cache)
    assert cache.length == trunk.config.n_positions


def test_it_is_for_multi_query_in_float32(
    trunk: GPTBigCodeModel, tiny_plain_checkpoint: Path
) -> None:
    assert RowTrunk.fits(trunk)
    plain = load_model(tiny_plain_checkpoint)
    assert isinstance(plain, GPTBigCodeForCausalLM)
    assert not RowTrunk.fits(plain.transformer)
    assert not RowTrunk.fits(trunk.bfloat16())


def opened(folder: Path, precision: str) -> TorchDecoder:
    config = GPTBigCodeConfig.from_json_file(folder / "config.json")
    decoder = open_decoder(folder, config, device="cpu", precision=Precision(precision))
    assert isinstance(decoder, TorchDecoder)
    return decoder


@pytest.mark.parametrize("threads", [1, 2])
def test_in_int8_tokens_together_are_tokens_alone_bit_by_bit(
    tiny_checkpoint: Path, threads: int
) -> None:
    before = torch.get_num_threads()
    decoder, ids = opened(tiny_checkpoint, "int8"), some_ids(60).tolist()
    torch.set_num_threads(threads)
    try:
        decoder.prefill([ids[:20]])
        alone = np.concatenate([decoder.decode([token]) for token in ids[20:]])
        assert decoder.exact_steps
        for together in (2, 3, 8, MOST_TOKENS):
            decoder.prefill([ids[:20]])
            pieces = [ids[start : start + together] for start in range(20, 60, together)]
            assert np.array_equal(np.concatenate([decoder.append(part) for part in pieces]), alone)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("precision", "coarsest"),
    [
        ("bfloat16", torch.bfloat16),
        ("int8", torch.float32),
        ("int4", torch.bfloat16),  # its layers round what they read and write
    ],
)
def test_the_machine_epsilon_is_that_of_the_coarsest_numbers(
    precision: str, coarsest: torch.dtype, make_checkpoint: Callable[..., Path]
) -> None:
    folder = make_checkpoint("wide", n_embd=64)
    assert opened(folder, precision).machine_epsilon == torch.finfo(coarsest).eps


def test_other_precisions_do_not_claim_it(tiny_checkpoint: Path) -> None:
    model = load_model(tiny_checkpoint)
    assert isinstance(model, GPTBigCodeForCausalLM)
    assert not TorchDecoder(model).exact_steps
    assert not opened(tiny_checkpoint, "bfloat16").exact_steps
