"""Other implementations give the same numbers: GPT-2 (multi-head), CTranslate2 (multi-query)."""

import json
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
import torch
import transformers
from ctranslate2.converters import TransformersConverter
from torch import Tensor

from reference_models import (
    TINY,
    deviation,
    make_ours,
    make_reference,
    positions_of,
    scatter,
    tiny_fields,
    token_ids,
)

LIMIT = 1e-5
HEADS, HEAD_DIM, WIDTH = 3, 8, 24


def make_gpt2(*, cross: bool = False, activation: str = "gelu_new") -> Any:
    """A GPT-2 of our tiny shape, with large random weights."""
    shape = {
        name: TINY[name] for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
    }
    settings: dict[str, Any] = {**shape, "attn_implementation": "eager"}
    config = transformers.GPT2Config(
        **settings,
        n_inner=TINY["n_inner"],
        activation_function=activation,
        add_cross_attention=cross,
    )
    model: Any = transformers.GPT2LMHeadModel(config)
    model.eval()
    scatter(model, seed=11, std=0.4)
    return model


def from_gpt2(model: Any) -> Any:
    """Our multi-head model with GPT-2's weights: transposed, and [q | k | v] head by head."""
    config = model.config
    ours = make_ours(
        tiny_fields(
            multi_query=False,
            activation_function=config.activation_function,
            add_cross_attention=config.add_cross_attention,
        )
    )
    state = {}
    for name, value in model.state_dict().items():
        turned = value.T if value.dim() == 2 and ".h." in name else value
        if ".c_attn." in name:
            parts = turned.shape[0] // WIDTH  # q, k, v or only k, v
            turned = turned.reshape(parts, HEADS, HEAD_DIM, *turned.shape[1:])
            turned = turned.transpose(0, 1).flatten(0, 2)
        state[name] = turned
    ours.load_state_dict(state, strict=True)
    return ours


@pytest.mark.parametrize("activation", ["gelu_new", "gelu", "relu", "tanh", "silu"])
@torch.no_grad()
def test_gpt2_with_its_weights_rearranged(activation: str) -> None:
    theirs = make_gpt2(activation=activation)
    ours = from_gpt2(theirs)
    ids, mask = token_ids(2, 12), torch.ones(2, 12, dtype=torch.long)
    mask[1, :5] = 0
    expected = theirs(
        ids,
        attention_mask=mask,
        position_ids=positions_of(mask),
        output_hidden_states=True,
        output_attentions=True,
    )
    got = ours(ids, attention_mask=mask, output_hidden_states=True, output_attentions=True)
    real = mask.bool()
    assert deviation(got.logits[real], expected.logits[real]) <= LIMIT
    for layer in range(3):
        state, reference = got.hidden_states[layer], expected.hidden_states[layer]
        assert deviation(state[real], reference[real]) <= LIMIT
    weights, reference = got.attentions[1], expected.attentions[1]
    assert deviation(weights.transpose(1, 2)[real], reference.transpose(1, 2)[real]) <= LIMIT
    assert deviation(ours(ids, attention_mask=mask).logits[real], expected.logits[real]) <= LIMIT


@pytest.mark.parametrize("encoder_padding", ["none", "left", "right"])
@torch.no_grad()
def test_gpt2_s_attention_to_an_encoder(encoder_padding: str) -> None:
    theirs = make_gpt2(cross=True)
    ours = from_gpt2(theirs)
    ids = token_ids(2, 9)
    states = torch.randn(2, 6, WIDTH, generator=torch.Generator().manual_seed(3))
    mask = torch.ones(2, 6, dtype=torch.long)
    if encoder_padding != "none":
        mask[1, slice(0, 4) if encoder_padding == "left" else slice(4, 6)] = 0
    encoder = {
        "encoder_hidden_states": states,
        "encoder_attention_mask": None if encoder_padding == "none" else mask,
    }
    expected = theirs(ids, **encoder, output_attentions=True)
    explicit = ours(ids, **encoder, output_attentions=True)
    assert deviation(explicit.logits, expected.logits) <= LIMIT
    assert deviation(ours(ids, **encoder).logits, expected.logits) <= LIMIT
    for weights, reference in zip(
        explicit.cross_attentions, expected.cross_attentions, strict=True
    ):
        assert deviation(weights, reference) <= LIMIT
    first = ours(ids[:, :4], **encoder)
    second = ours(ids[:, 4:], **encoder, past_key_values=first.past_key_values)
    assert deviation(second.logits, expected.logits[:, 4:]) <= LIMIT
    assert deviation(ours(ids).logits, theirs(ids).logits) <= LIMIT
    assert deviation(ours(ids).logits, expected.logits) > 0.1


def test_gradients_through_attention_to_an_encoder() -> None:
    theirs = make_gpt2(cross=True)
    ours = from_gpt2(theirs)
    ids = token_ids(2, 9)
    inputs = [
        torch.randn(2, 6, WIDTH, generator=torch.Generator().manual_seed(3)).requires_grad_()
        for _ in range(2)
    ]
    for model, states in zip((ours, theirs), inputs, strict=True):
        model(ids, encoder_hidden_states=states, labels=ids).loss.backward()
    got, reference = (states.grad for states in inputs)
    assert got is not None
    assert reference is not None
    assert deviation(got, reference) <= LIMIT
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        if parameter.dim() == 1 and ".c_attn." not in name:
            assert deviation(parameter.grad, expected[name].grad) <= LIMIT, name


@torch.no_grad()
def test_one_key_and_value_head_copied_to_every_head_changes_nothing() -> None:
    single = make_ours(seed=4)
    several = make_ours(tiny_fields(multi_query=False))
    state = dict(single.state_dict())
    for name, value in single.state_dict().items():
        if ".c_attn." in name:
            query, key_value = value.split((WIDTH, 2 * HEAD_DIM))
            per_head = query.unflatten(0, (HEADS, HEAD_DIM))
            shared = key_value.expand(HEADS, *key_value.shape)
            state[name] = torch.cat([per_head, shared], dim=1).flatten(0, 1)
    several.load_state_dict(state, strict=True)
    ids, mask = token_ids(2, 12), torch.ones(2, 12, dtype=torch.long)
    mask[0, :4] = 0
    for explicit in (False, True):
        one, many = (
            model(ids, attention_mask=mask, output_attentions=explicit).logits[mask.bool()]
            for model in (single, several)
        )
        assert deviation(many, one) <= LIMIT


@pytest.fixture(scope="module", params=["gelu", "gelu_pytorch_tanh"])
def translated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A reference checkpoint, our model of it, and CTranslate2's."""
    folder = tmp_path_factory.mktemp("ctranslate2")
    fields = tiny_fields(activation_function=request.param, n_embd=32, n_head=4, n_layer=3)
    theirs = make_reference(fields)
    theirs.save_pretrained(folder / "reference")
    write_tokenizer(folder / "reference")
    TransformersConverter(str(folder / "reference")).convert(str(folder / "converted"))
    peer = ctranslate2.Generator(str(folder / "converted"), compute_type="float32", intra_threads=1)
    ours = make_ours(fields)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, peer


def write_tokenizer(folder: Path) -> None:
    """One word per token, as the converter wants names."""
    words = {f"w{index}": index for index in range(TINY["vocab_size"])}
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "w0"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    special = {f"{kind}_token": "w0" for kind in ("bos", "eos", "unk")}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


@torch.no_grad()
def test_ctranslate2_gives_the_same_logits(translated: Any) -> None:
    ours, peer = translated
    ids = token_ids(3, 20)
    words = [[f"w{token}" for token in row] for row in ids.tolist()]
    expected = torch.from_numpy(np.array(peer.forward_batch(words)))
    for explicit in (False, True):
        assert deviation(ours(ids, output_attentions=explicit).logits, expected) <= LIMIT


@torch.no_grad()
def test_ctranslate2_writes_the_same_text(translated: Any) -> None:
    ours, peer = translated
    ids = token_ids(1, 5)
    expected = peer.generate_batch(
        [[f"w{token}" for token in ids[0].tolist()]],
        max_length=20,
        sampling_topk=1,
        end_token=[],
        include_prompt_in_result=False,
    )[0].sequences_ids[0]
    assert greedy(ours, ids, 20) == expected


def greedy(model: Any, ids: Tensor, count: int) -> list[int]:
    past, text = None, []
    for _ in range(count):
        result = model(ids, past_key_values=past)
        past, ids = result.past_key_values, result.logits[:, -1:].argmax(-1)
        text.append(int(ids))
    return text
