"""The trunk and the language model give the reference's numbers, in float32 and below."""

from functools import cache
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from gpt_bigcode.config import ACTIVATIONS
from reference_models import (
    Pair,
    deviation,
    make_pair,
    positions_of,
    tiny_fields,
    token_ids,
)

# Of the largest value. Seen: 3e-6; gelu in its other form differs by 1e-4.
LIMIT = 1e-5
# Queries in each forward pass of one text of 12 tokens.
PASSES = {"whole": (12,), "chunked": (5, 1, 4, 2), "token by token": (1,) * 12}
# Two texts of 12 and 8 tokens.
PADDING = {"none": (0, 0), "left": (0, 4), "right": (0, -4)}

pair = cache(lambda **changes: make_pair(tiny_fields(**changes)))


@pytest.mark.parametrize("multi_query", [True, False])
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation_and_form_of_attention(
    *, activation: str, scaled: bool, multi_query: bool
) -> None:
    models = make_pair(
        tiny_fields(
            activation_function=activation, scale_attn_weights=scaled, multi_query=multi_query
        )
    )
    ids = token_ids(3, 11)
    expected = forward_reference(models, ids, torch.ones_like(ids))
    with torch.no_grad():
        explicit = models.ours(ids, output_attentions=True, output_hidden_states=True)
        fused = models.ours(ids, output_hidden_states=True)
    for got in (explicit, fused):
        assert deviation(got.logits, expected.logits) <= LIMIT
        assert len(got.hidden_states) == len(expected.hidden_states) == 3
        for state, reference in zip(got.hidden_states, expected.hidden_states, strict=True):
            assert deviation(state, reference) <= LIMIT
    assert fused.attentions is None
    assert len(explicit.attentions) == len(expected.attentions) == 2
    for weights, reference in zip(explicit.attentions, expected.attentions, strict=True):
        assert weights.shape == (3, 3, 11, 11)
        assert deviation(weights, reference) <= LIMIT


def test_the_limit_tells_the_two_forms_of_gelu_apart() -> None:
    ids = token_ids(3, 11)
    exact, tanh = (pair(activation_function=name) for name in ("gelu", "gelu_new"))
    with torch.no_grad():
        assert deviation(exact.ours(ids).logits, tanh.theirs(ids).logits) > 5 * LIMIT


@pytest.mark.parametrize("switches", list(product([True, False], repeat=3)))
def test_softmax_switches_change_nothing_in_float32(switches: tuple[bool, bool, bool]) -> None:
    softmax, scale, multi_query = switches
    models = make_pair(
        tiny_fields(
            attention_softmax_in_fp32=softmax,
            scale_attention_softmax_in_fp32=scale,
            multi_query=multi_query,
        )
    )
    ids = token_ids(2, 9)
    expected = forward_reference(models, ids, torch.ones_like(ids)).logits
    with torch.no_grad():
        assert deviation(models.ours(ids).logits, expected) <= LIMIT
        assert deviation(models.ours(ids, output_attentions=True).logits, expected) <= LIMIT


@pytest.mark.parametrize(
    "fields",
    [
        {"n_inner": None},
        {"n_layer": 1, "n_head": 1},
        {"n_layer": 3, "n_head": 24, "layer_norm_epsilon": 0.1},
        {"n_embd": 8, "n_head": 2, "n_inner": 3, "vocab_size": 5, "n_positions": 11},
        {"n_layer": 5, "tie_word_embeddings": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("multi_query", [True, False])
def test_other_shapes(*, fields: dict[str, Any], multi_query: bool) -> None:
    models = make_pair(tiny_fields(**fields, multi_query=multi_query))
    ids = token_ids(2, 11, vocabulary=5)
    expected = forward_reference(models, ids, torch.ones_like(ids))
    with torch.no_grad():
        assert deviation(models.ours(ids).logits, expected.logits) <= LIMIT


@pytest.mark.parametrize("multi_query", [True, False])
@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("given", ["ids", "embeds", "token types", "positions"])
def test_padding_cache_and_inputs(
    *, given: str, passes: str, padding: str, multi_query: bool
) -> None:
    models = pair(multi_query=multi_query)
    ids, mask = token_ids(2, 12), padding_mask(PADDING[padding], 12)
    inputs = {"input_ids": ids}
    if given == "embeds":
        inputs = {"inputs_embeds": models.theirs.transformer.wte(ids).detach() * 1.5}
    elif given == "token types":
        inputs["token_type_ids"] = token_ids(2, 12, seed=9)
    elif given == "positions":
        inputs["position_ids"] = token_ids(2, 12, seed=10)
    with torch.no_grad():
        expected = models.theirs(
            **{"position_ids": positions_of(mask), **inputs},
            attention_mask=mask,
            output_hidden_states=True,
            output_attentions=True,
        )
    for explicit in (False, True):
        got = forward_in_passes(models, inputs, mask, PASSES[passes], explicit=explicit)
        assert_same_on_real_rows(got, expected, mask.bool())


def assert_same_on_real_rows(got: dict[str, Any], expected: Any, real: Tensor) -> None:
    assert deviation(got["logits"][real], expected.logits[real]) <= LIMIT
    for state, reference in zip(got["hidden_states"], expected.hidden_states, strict=True):
        assert deviation(state[real], reference[real]) <= LIMIT
    for layer, weights in enumerate(got["attentions"]):
        reference = expected.attentions[layer].transpose(1, 2)[real]
        assert deviation(weights.transpose(1, 2)[real], reference) <= LIMIT


@pytest.mark.parametrize("multi_query", [True, False])
def test_no_cache_and_a_cache_give_the_same_first_pass(*, multi_query: bool) -> None:
    models = pair(multi_query=multi_query)
    ids = token_ids(2, 12)
    with torch.no_grad():
        without = models.ours(ids, use_cache=False)
        cached = models.ours(ids, use_cache=True)
    assert without.past_key_values is None
    assert cached.past_key_values.length == 12
    assert torch.equal(without.logits, cached.logits)


@pytest.mark.parametrize("multi_query", [True, False])
def test_only_the_logits_asked_for(*, multi_query: bool) -> None:
    models = pair(multi_query=multi_query)
    ids = token_ids(2, 12)
    for kept in (0, 1, 5, 12, torch.tensor([3, 0, 11])):
        with torch.no_grad():
            got = models.ours(ids, logits_to_keep=kept).logits
            expected = models.theirs(ids, logits_to_keep=kept).logits
        assert deviation(got, expected) <= LIMIT


@pytest.mark.parametrize("multi_query", [True, False])
@pytest.mark.parametrize("padding", PADDING)
def test_language_model_loss(*, padding: str, multi_query: bool) -> None:
    models = pair(multi_query=multi_query)
    ids, mask = token_ids(2, 12), padding_mask(PADDING[padding], 12)
    labels = labels_of(ids, mask)
    labels[0, 3:6] = -100
    with torch.no_grad():
        got = models.ours(ids, attention_mask=mask, labels=labels)
        expected = models.theirs(
            ids, attention_mask=mask, position_ids=positions_of(mask), labels=labels
        )
    assert got.loss.dtype == torch.float32
    assert got.loss.item() == pytest.approx(expected.loss.item(), rel=1e-6)


def test_language_model_loss_of_nothing_is_nan() -> None:
    models = pair(multi_query=True)
    ids = token_ids(1, 4)
    with torch.no_grad():
        for tokens, labels in ((ids, torch.full_like(ids, -100)), (ids[:, :1], ids[:, :1])):
            assert models.ours(tokens, labels=labels).loss.isnan()
            assert models.theirs(tokens, labels=labels).loss.isnan()


def test_language_model_loss_is_computed_in_float32() -> None:
    models = make_pair()
    ids = token_ids(2, 12)
    with torch.no_grad():
        got = models.ours.bfloat16()(ids, labels=ids)
        expected = models.theirs.bfloat16()(ids, labels=ids)
    assert got.loss.dtype == expected.loss.dtype == torch.float32
    assert got.loss.item() == pytest.approx(expected.loss.item(), rel=2e-2)


@pytest.mark.parametrize("multi_query", [True, False])
@pytest.mark.parametrize("explicit", [True, False])
def test_gradients_of_every_parameter(*, explicit: bool, multi_query: bool) -> None:
    models = make_pair(tiny_fields(multi_query=multi_query, classifier_dropout=0.0))
    ids, mask = token_ids(3, 10), padding_mask((0, 3, -2), 10)
    labels = labels_of(ids, mask)
    models.ours.train()
    models.theirs.train()
    models.ours(ids, attention_mask=mask, labels=labels, output_attentions=explicit).loss.backward()
    models.theirs(
        ids, attention_mask=mask, position_ids=positions_of(mask), labels=labels, use_cache=False
    ).loss.backward()
    expected = dict(models.theirs.named_parameters())
    got = dict(models.ours.named_parameters())
    assert got.keys() == expected.keys()
    for name, parameter in got.items():
        assert parameter.grad is not None, name
        assert deviation(parameter.grad, expected[name].grad) <= LIMIT, name


@pytest.mark.parametrize("multi_query", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("explicit", [True, False])
def test_half_precision_is_no_farther_from_float32_than_the_reference(
    *, explicit: bool, dtype: torch.dtype, multi_query: bool
) -> None:
    models = make_pair(tiny_fields(n_layer=4, multi_query=multi_query), std=0.2)
    ids = token_ids(8, 48)
    with torch.no_grad():
        exact = models.theirs(ids).logits
        expected = models.theirs.to(dtype)(ids).logits.float()
        got = models.ours.to(dtype)(ids, output_attentions=explicit).logits
    assert got.dtype == dtype
    distance, reference = ((x.float() - exact).abs().mean() for x in (got, expected))
    assert 0 < distance <= 1.5 * reference


def padding_mask(pads: tuple[int, ...], length: int) -> Tensor:
    """[rows, length]; a positive number counts pads on the left, a negative one on the right."""
    order = torch.arange(length)
    rows = [(order >= pad) if pad >= 0 else (order < length + pad) for pad in pads]
    return torch.stack(rows).long()


def labels_of(ids: Tensor, mask: Tensor) -> Tensor:
    """The tokens that follow a real token; what a padding row predicts is nobody's concern."""
    real = mask.bool()
    after_real = torch.cat([real[:, :1], real[:, :-1]], dim=1)
    return ids.masked_fill(~(real & after_real), -100)


def forward_reference(models: Pair, ids: Tensor, mask: Tensor) -> Any:
    with torch.no_grad():
        return models.theirs(
            ids,
            attention_mask=mask,
            position_ids=positions_of(mask),
            output_hidden_states=True,
            output_attentions=True,
        )


def forward_in_passes(
    models: Pair,
    inputs: dict[str, Tensor],
    mask: Tensor,
    passes: tuple[int, ...],
    *,
    explicit: bool,
) -> dict[str, Any]:
    """Our results of one or several passes through the cache, put together again."""
    past, results, start = None, [], 0
    for size in passes:
        end = start + size
        with torch.no_grad():
            result = models.ours(
                **{name: value[:, start:end] for name, value in inputs.items()},
                attention_mask=mask[:, :end],
                past_key_values=past,
                output_hidden_states=True,
                output_attentions=explicit,
            )
        past, start = result.past_key_values, end
        results.append(result)
    assert past is not None
    assert past.length == start
    attentions = zip(*(result.attentions for result in results), strict=True) if explicit else ()
    return {
        "logits": torch.cat([result.logits for result in results], dim=1),
        "hidden_states": [
            torch.cat(states, dim=1)
            for states in zip(*(result.hidden_states for result in results), strict=True)
        ],
        "attentions": [torch.cat([widen(w, start) for w in layer], dim=2) for layer in attentions],
    }


def widen(weights: Tensor, keys: int) -> Tensor:
    """[B, H, T, S] with zeros for the keys that a pass did not see yet."""
    return torch.nn.functional.pad(weights, (0, keys - weights.shape[-1]))
