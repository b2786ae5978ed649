"""TorchDecoder: cached = uncached, batch = alone, chunked = whole, ours = the reference's."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpt_bigcode.backends.interfaces import Decoder
from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.backends.torch_decoder import TorchDecoder
from gpt_bigcode.checkpoint.loading import load_model
from gpt_bigcode.errors import NonFiniteError
from gpt_bigcode.generation.loop import Generation, Limits, Sampler
from gpt_bigcode.generation.sampling import build_sampler
from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM
from gpt_bigcode.stopping.text_stop import FinishReason
from naive_decoding import naive_generate

KINDS = ("tiny_checkpoint", "tiny_plain_checkpoint")  # multi-query, multi-head


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.fixture
def model(folder: Path) -> GPTBigCodeForCausalLM:
    loaded = load_model(folder)
    assert isinstance(loaded, GPTBigCodeForCausalLM)
    return loaded


def uncached(model: GPTBigCodeForCausalLM) -> Callable[[Sequence[int]], np.ndarray]:
    def forward(text: Sequence[int]) -> np.ndarray:
        with torch.inference_mode():
            output = model(torch.tensor([list(text)]), use_cache=False)
        logits: np.ndarray = output.logits[0, -1].numpy()
        return logits

    return forward


def load_reference(folder: Path) -> Any:
    from transformers import GPTBigCodeForCausalLM as Reference

    reference = Reference.from_pretrained(folder, attn_implementation="eager")
    assert reference.generation_config is not None
    reference.generation_config.eos_token_id = None  # it would stop there
    return reference


def prompt(length: int, seed: int = 0) -> list[int]:
    ids: list[int] = np.random.default_rng([length, seed]).integers(19, 380, length).tolist()
    return ids


def generate(decoder: Decoder, prompts: list[list[int]], **options: object) -> list[list[int]]:
    written: list[list[int]] = [[] for _ in prompts]
    for step in Generation(decoder, prompts, **options):  # type: ignore[arg-type]
        for token in step:
            written[token.row].append(token.id)
    return written


def test_a_decoder_is_a_decoder(model: GPTBigCodeForCausalLM) -> None:
    decoder: Decoder = TorchDecoder(model)
    assert decoder.context_length == 128
    assert decoder.vocabulary_size == model.config.vocab_size


@pytest.mark.parametrize("length", [1, 2, 17, 60])
def test_cached_is_uncached_token_by_token(model: GPTBigCodeForCausalLM, length: int) -> None:
    ids = prompt(length)
    steps = Generation(TorchDecoder(model), [ids], limits=Limits(40))
    cached = [token for step in steps for token in step]
    naive = naive_generate(uncached(model), ids, max_tokens=40)
    assert [token.id for token in cached] == [token.id for token in naive]
    assert len({token.id for token in naive}) > 3  # a text that stands still would prove little
    for ours, theirs in zip(cached, naive, strict=True):
        assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-4)


def test_a_sampled_text_is_the_naive_twin_s(model: GPTBigCodeForCausalLM) -> None:
    sampler = build_sampler(temperature=1.0, top_k=50, repetition_penalty=1.1)
    options = {"sampler": sampler, "seed": 8}
    cached = generate(TorchDecoder(model), [prompt(9)], limits=Limits(60), **options)[0]
    naive = naive_generate(uncached(model), prompt(9), sampler=sampler, seed=8, max_tokens=60)
    assert cached == [token.id for token in naive]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1)])
def test_a_batch_is_each_row_alone(model: GPTBigCodeForCausalLM, order: tuple[int, ...]) -> None:
    prompts = [prompt(1), prompt(2), prompt(17), prompt(60)]
    batch = [prompts[index] for index in order]
    decoder = TorchDecoder(model)
    logits = decoder.prefill(batch)
    for row, ids in enumerate(batch):
        np.testing.assert_allclose(logits[row], uncached(model)(ids), atol=1e-4)
    together = generate(decoder, batch, limits=Limits(30))
    for row, ids in enumerate(batch):
        assert together[row] == generate(TorchDecoder(model), [ids], limits=Limits(30))[0]


def test_rows_that_are_dropped_do_not_disturb_the_others(model: GPTBigCodeForCausalLM) -> None:
    prompts = [prompt(5), prompt(40), prompt(23)]
    alone = [generate(TorchDecoder(model), [ids], limits=Limits(50))[0] for ids in prompts]
    decoder = TorchDecoder(model)
    batch = Generation(decoder, prompts, limits=Limits(50))
    written: list[list[int]] = [[] for _ in prompts]
    for step in batch:
        for token in step:
            written[token.row].append(token.id)
        if len(written[1]) == 7:
            batch.finish(1, FinishReason.STOP)
    assert written == [alone[0], alone[1][:7], alone[2]]


def test_equal_prompts_are_read_once(model: GPTBigCodeForCausalLM) -> None:
    read: list[tuple[int, ...]] = []
    note = model.transformer.register_forward_pre_hook(
        lambda _module, arguments: read.append(tuple(arguments[0].shape))
    )
    decoder = TorchDecoder(model)
    first, second = prompt(12), prompt(7)
    logits = decoder.prefill([first, second, first, first])
    note.remove()
    assert read == [(2, 12)]
    np.testing.assert_array_equal(logits[[0, 0]], logits[[2, 3]])
    logits = decoder.decode([1, 2, 3, 1])
    texts = [[*first, 1], [*second, 2], [*first, 3], [*first, 1]]
    np.testing.assert_allclose(logits, [uncached(model)(text) for text in texts], atol=1e-4)


@pytest.mark.parametrize("chunk", [1, 3, 16, 59, 60, 61])
def test_chunked_reading_is_reading_at_once(model: GPTBigCodeForCausalLM, chunk: int) -> None:
    rows = [prompt(60), prompt(4), prompt(33)]
    whole = TorchDecoder(model, chunk_tokens=1000)
    pieces = TorchDecoder(model, chunk_tokens=chunk)
    np.testing.assert_allclose(pieces.prefill(rows), whole.prefill(rows), atol=1e-4)
    np.testing.assert_allclose(pieces.decode([1, 2, 3]), whole.decode([1, 2, 3]), atol=1e-4)


def test_no_layer_ever_sees_more_than_a_chunk(model: GPTBigCodeForCausalLM) -> None:
    sizes: list[int] = []
    block = model.get_submodule("transformer.h.0")
    block.register_forward_pre_hook(lambda _module, args: sizes.append(args[0].shape[1]))
    TorchDecoder(model, chunk_tokens=16).prefill([prompt(60), prompt(3)])
    assert sizes == [16, 16, 16, 12]


def test_the_head_sees_only_the_last_token_of_each_row(model: GPTBigCodeForCausalLM) -> None:
    seen: list[int] = []
    model.lm_head.register_forward_pre_hook(lambda _module, args: seen.append(args[0].numel()))
    decoder = TorchDecoder(model, chunk_tokens=10)
    decoder.prefill([prompt(60), prompt(3)])
    assert seen == [2 * model.config.n_embd]


def test_a_prefill_forgets_what_was_before(model: GPTBigCodeForCausalLM) -> None:
    decoder = TorchDecoder(model)
    fresh = decoder.prefill([prompt(9)]).copy()
    decoder.prefill([prompt(50), prompt(3)])
    decoder.decode([5, 6])
    np.testing.assert_array_equal(decoder.prefill([prompt(9)]), fresh)


@pytest.mark.parametrize("length", [126, 127])
@pytest.mark.parametrize("max_tokens", [1, 64, 10**9])
def test_the_last_position_is_used_and_no_other(
    model: GPTBigCodeForCausalLM, length: int, max_tokens: int
) -> None:
    rows = [prompt(length), prompt(3)]
    written = generate(TorchDecoder(model), rows, limits=Limits(max_tokens))
    assert [len(ids) for ids in written] == [
        min(max_tokens, 128 - length),
        min(max_tokens, 125),
    ]


def test_greedy_is_the_reference_s_greedy(folder: Path, model: GPTBigCodeForCausalLM) -> None:
    reference = load_reference(folder)
    for length in (1, 13, 60):
        ids = torch.tensor([prompt(length)])
        theirs = reference.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=48,
            pad_token_id=0,
        )
        ours = generate(TorchDecoder(model), [prompt(length)], limits=Limits(48))[0]
        assert ours == theirs[0, length:].tolist()


def test_a_padded_batch_is_the_reference_s_padded_batch(
    folder: Path, model: GPTBigCodeForCausalLM
) -> None:
    reference = load_reference(folder)
    rows = [prompt(20), prompt(6)]
    ids = torch.tensor([rows[0], [0] * 14 + rows[1]])
    mask = torch.tensor([[1] * 20, [0] * 14 + [1] * 6])
    theirs = reference.generate(
        ids, attention_mask=mask, do_sample=False, max_new_tokens=30, pad_token_id=0
    )
    assert generate(TorchDecoder(model), rows, limits=Limits(30)) == theirs[:, 20:].tolist()


@pytest.mark.parametrize("options", [{}, {"temperature": 0.9, "top_k": 40}])
def test_the_numpy_engine_writes_the_same(
    folder: Path, model: GPTBigCodeForCausalLM, options: dict[str, float]
) -> None:
    sampler = build_sampler(**options)  # type: ignore[arg-type]
    rows = [prompt(3), prompt(40), prompt(40), prompt(11)]
    ours, theirs = (
        generate(decoder, rows, sampler=sampler, limits=Limits(30), seed=2)
        for decoder in (TorchDecoder(model), NumpyDecoder.load(folder))
    )
    assert ours == theirs


@pytest.mark.parametrize("sampler", [Sampler(), build_sampler(temperature=1.0)])
def test_damaged_weights_are_an_error(model: GPTBigCodeForCausalLM, sampler: Sampler) -> None:
    with torch.no_grad():
        model.get_parameter("transformer.h.1.mlp.c_fc.bias")[3] = float("nan")
    with pytest.raises(NonFiniteError):
        generate(TorchDecoder(model), [prompt(4)], sampler=sampler)


def test_bfloat16_stays_near_float32(folder: Path, model: GPTBigCodeForCausalLM) -> None:
    half = load_model(folder, dtype=torch.bfloat16)
    assert isinstance(half, GPTBigCodeForCausalLM)
    rows = [prompt(40), prompt(8)]
    full, low = TorchDecoder(model).prefill(rows), TorchDecoder(half).prefill(rows)
    assert low.dtype == np.float32
    assert np.isfinite(low).all()
    assert np.abs(full - low).max() < 0.05 * np.abs(full).max()
