"""Laws of the forward pass that need no reference, and what it refuses."""

import math
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import ContextError, InputError, UnsupportedModelError
from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM
from gpt_bigcode.modeling.kv_cache import KeyValueCache
from gpt_bigcode.modeling.transformer import GPTBigCodeModel
from reference_models import deviation, make_ours, tiny_fields, token_ids

LIMIT = 1e-5
HEADS, HEAD_DIM = 3, 8
LOWEST = float("-inf")


@pytest.fixture(scope="module", params=[True, False], ids=["multi-query", "multi-head"])
def model(request: pytest.FixtureRequest) -> Any:
    return make_ours(tiny_fields(multi_query=request.param), seed=2)


@torch.no_grad()
def test_a_masked_head_is_a_head_whose_output_weights_are_zero(model: Any) -> None:
    ids = token_ids(2, 9)
    mask = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    cut = make_ours(model.config.to_dict())
    cut.load_state_dict(model.state_dict())
    for layer, head in (mask == 0).nonzero().tolist():
        columns = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
        cut.transformer.h[layer].attn.c_proj.weight[:, columns] = 0
    masked = model(ids, head_mask=mask).logits
    assert deviation(masked, cut(ids).logits) <= LIMIT
    assert deviation(masked, model(ids).logits) > 0.1


@torch.no_grad()
def test_a_head_mask_scales_the_attention_weights(model: Any) -> None:
    ids = token_ids(2, 9)
    mask = torch.tensor([0.5, 0.0, 2.0])
    plain = model(ids, output_attentions=True).attentions
    scaled = model(ids, output_attentions=True, head_mask=mask).attentions
    assert deviation(scaled[0], plain[0] * mask.view(1, 3, 1, 1)) <= LIMIT
    per_layer = model(ids, output_attentions=True, head_mask=mask.expand(2, 3)).attentions
    assert torch.equal(per_layer[1], scaled[1])


@torch.no_grad()
def test_a_head_mask_holds_for_cached_and_padded_passes(model: Any) -> None:
    ids, mask = token_ids(2, 9), torch.ones(2, 9, dtype=torch.long)
    mask[1, :4] = 0
    heads = torch.tensor([0.3, 0.0, 1.7])
    whole = model(ids, attention_mask=mask, head_mask=heads).logits
    first = model(ids[:, :6], attention_mask=mask[:, :6], head_mask=heads)
    second = model(
        ids[:, 6:], attention_mask=mask, head_mask=heads, past_key_values=first.past_key_values
    )
    assert deviation(second.logits, whole[:, 6:]) <= LIMIT


@torch.no_grad()
def test_attention_weights_are_those_of_a_plain_computation(model: Any) -> None:
    ids, mask = token_ids(2, 7), torch.ones(2, 7, dtype=torch.long)
    mask[0, :3] = 0
    got = model(ids, attention_mask=mask, output_attentions=True, output_hidden_states=True)
    for layer, block in enumerate(model.transformer.h):
        expected = plain_weights(block, got.hidden_states[layer], mask, model.config)
        real = mask.bool()
        assert deviation(
            got.attentions[layer].transpose(1, 2)[real], expected.transpose(1, 2)[real]
        ) <= (LIMIT)


def plain_weights(block: Any, hidden: Tensor, mask: Tensor, config: GPTBigCodeConfig) -> Tensor:
    """[B, H, T, S], one number at a time."""
    rows = block.attn.c_attn(block.ln_1(hidden)).tolist()
    length = hidden.shape[1]
    weights = torch.zeros(len(rows), HEADS, length, length)
    for row, head in ((row, head) for row in range(len(rows)) for head in range(HEADS)):
        q_at = head * HEAD_DIM * (1 if config.multi_query else 3)
        k_at = HEADS * HEAD_DIM if config.multi_query else q_at + HEAD_DIM
        for new in range(length):
            query = rows[row][new][q_at : q_at + HEAD_DIM]
            keys = [rows[row][old][k_at : k_at + HEAD_DIM] for old in range(new + 1)]
            products = [sum(q * k for q, k in zip(query, key, strict=True)) for key in keys]
            scores = [product / math.sqrt(HEAD_DIM) for product in products]
            powers = [math.exp(s) * int(mask[row, old]) for old, s in enumerate(scores)]
            total = sum(powers) or 1.0
            weights[row, head, new, : new + 1] = torch.tensor(powers) / total
    return weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("explicit", [True, False])
@torch.no_grad()
def test_padding_gives_finite_numbers_everywhere(
    *, model: Any, explicit: bool, dtype: torch.dtype
) -> None:
    half = make_ours(model.config.to_dict(), seed=2).to(dtype)
    ids, mask = token_ids(4, 9), torch.ones(4, 9, dtype=torch.long)
    mask[0, :8] = 0
    mask[1, 2:] = 0
    mask[2] = 0
    got = half(ids, attention_mask=mask, output_attentions=explicit, output_hidden_states=True)
    for value in (got.logits, *got.hidden_states, *(got.attentions or ())):
        assert value.isfinite().all()
    again = torch.ones(4, 1, dtype=torch.long)
    following = half(
        again, attention_mask=torch.cat([mask, again], dim=1), past_key_values=got.past_key_values
    )
    assert following.logits.isfinite().all()


@torch.no_grad()
def test_padding_is_not_read(model: Any) -> None:
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 1]])
    ids = token_ids(1, 9)
    other = torch.where(mask == 0, (ids + 1) % 53, ids)
    results = [model(text, attention_mask=mask).logits[:, 3:] for text in (ids, other)]
    assert torch.equal(results[0], results[1])
    alone = model(ids[:, 3:]).logits
    assert deviation(results[0], alone) <= LIMIT


@torch.no_grad()
def test_a_token_does_not_see_those_after_it(model: Any) -> None:
    ids = token_ids(1, 9)
    changed = ids.clone()
    changed[0, 6:] = (changed[0, 6:] + 5) % 53
    before, after = model(ids).logits, model(changed).logits
    assert torch.equal(before[:, :6], after[:, :6])
    assert deviation(before[:, 6:], after[:, 6:]) > 0.1


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_softmax_switches_decide_how_half_precision_rounds(
    *, dtype: torch.dtype, scale: bool, softmax: bool
) -> None:
    model = make_ours(
        tiny_fields(
            n_layer=3, attention_softmax_in_fp32=softmax, scale_attention_softmax_in_fp32=scale
        ),
        seed=5,
        std=0.2,
    ).to(dtype)
    ids = token_ids(2, 16)
    got = model(ids, output_attentions=True, output_hidden_states=True)
    for layer, block in enumerate(model.transformer.h):
        expected = old_weights(block.attn, block.ln_1(got.hidden_states[layer]), layer, scale=scale)
        assert torch.equal(got.attentions[layer], expected[softmax])


def old_weights(attention: Any, hidden: Tensor, layer: int, *, scale: bool) -> dict[bool, Tensor]:
    """The reference up to 4.53, by its description: with and without softmax in float32."""
    query, key, _ = attention.c_attn(hidden).split((24, 8, 8), dim=-1)
    query = query.unflatten(-1, (3, 8)).transpose(1, 2)
    future = torch.full((16, 16), LOWEST).triu(1)
    plain = (query @ key.unsqueeze(1).mT) * 8**-0.5
    shrunk = (query @ key.unsqueeze(1).mT) * (8**-0.5 / (layer + 1))
    raised = shrunk.float() * (layer + 1) if scale else plain.float()
    return {
        True: torch.softmax(raised + future, dim=-1).to(hidden.dtype),
        False: torch.softmax(plain + future.to(hidden.dtype), dim=-1),
    }


@torch.no_grad()
def test_the_softmax_switches_are_not_idle() -> None:
    results = []
    for softmax, scale in ((True, True), (True, False), (False, True), (False, False)):
        fields = tiny_fields(
            n_layer=3, attention_softmax_in_fp32=softmax, scale_attention_softmax_in_fp32=scale
        )
        model = make_ours(fields, seed=5).bfloat16()
        results.append(model(token_ids(2, 16), output_attentions=True).logits)
    # Layers 1 and 2 divide by powers of two, which changes no digit; layer 3 shows it. The softmax
    # itself rounds only its result either way: torch computes it in float32 inside.
    both, only_softmax, only_scale, neither = results
    assert not torch.equal(both, only_softmax)
    assert torch.equal(only_scale, neither)


@torch.no_grad()
def test_positions_end_at_the_limit(model: Any) -> None:
    assert model(token_ids(1, 64)).logits.shape == (1, 64, 53)
    with pytest.raises(ContextError, match="65 positions, the model has 64"):
        model(token_ids(1, 65))
    past = model(token_ids(1, 60)).past_key_values
    with pytest.raises(ContextError):
        model(token_ids(1, 5), past_key_values=past)
    assert past.length == 60
    with pytest.raises(ContextError):
        model(token_ids(1, 2), position_ids=torch.tensor([[3, 64]]))


@torch.no_grad()
def test_padding_takes_no_position(model: Any) -> None:
    ids, mask = token_ids(1, 70), torch.ones(1, 70, dtype=torch.long)
    mask[0, :6] = 0
    got = model(ids, attention_mask=mask).logits[:, 6:]
    assert deviation(got, model(ids[:, 6:]).logits) <= LIMIT
    mask[0, 5] = 1
    with pytest.raises(ContextError):
        model(ids, attention_mask=mask)


REFUSED = {
    "neither": {},
    "both": {"input_ids": token_ids(1, 3), "inputs_embeds": torch.zeros(1, 3, 24)},
    "no tokens": {"input_ids": token_ids(1, 0)},
    "one dimension": {"input_ids": token_ids(1, 3)[0]},
    "three dimensions": {"input_ids": token_ids(1, 3)[None]},
    "id too large": {"input_ids": torch.tensor([[1, 53]])},
    "id negative": {"input_ids": torch.tensor([[1, -1]])},
    "ids no integers": {"input_ids": torch.tensor([[1.0, 2.0]])},
    "token type too large": {
        "input_ids": token_ids(1, 3),
        "token_type_ids": torch.full((1, 3), 53),
    },
    "token types misshapen": {"input_ids": token_ids(2, 3), "token_type_ids": token_ids(2, 2)},
    "embeds too narrow": {"inputs_embeds": torch.zeros(1, 3, 23)},
    "mask too short": {"input_ids": token_ids(2, 3), "attention_mask": torch.ones(2, 2)},
    "mask too long": {"input_ids": token_ids(2, 3), "attention_mask": torch.ones(2, 4)},
    "mask of other rows": {"input_ids": token_ids(2, 3), "attention_mask": torch.ones(3, 3)},
    "mask of one dimension": {"input_ids": token_ids(1, 3), "attention_mask": torch.ones(3)},
    "mask of four": {"input_ids": token_ids(1, 3), "attention_mask": torch.ones(1, 1, 3, 3)},
    "positions negative": {
        "input_ids": token_ids(1, 2),
        "position_ids": torch.tensor([[0, -1]]),
    },
    "positions too few": {"input_ids": token_ids(1, 3), "position_ids": torch.tensor([[0, 1]])},
    "positions of other rows": {
        "input_ids": token_ids(3, 2),
        "position_ids": torch.tensor([[0, 1], [1, 2]]),
    },
    "head mask too long": {"input_ids": token_ids(1, 3), "head_mask": torch.ones(4)},
    "head mask of other layers": {"input_ids": token_ids(1, 3), "head_mask": torch.ones(3, 3)},
    "labels misshapen": {"input_ids": token_ids(1, 3), "labels": token_ids(1, 2)},
    "labels of hidden logits": {
        "input_ids": token_ids(1, 3),
        "labels": token_ids(1, 3),
        "logits_to_keep": 1,
    },
    "label too large": {"input_ids": token_ids(1, 3), "labels": torch.full((1, 3), 53)},
}


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED.keys())
@torch.no_grad()
def test_refused_arguments(model: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        model(**arguments)


@pytest.mark.parametrize("changes", [{}, {"n_layer": 1}, {"n_head": 6}, {"n_embd": 12}], ids=str)
@torch.no_grad()
def test_a_cache_made_for_something_else_is_refused(model: Any, changes: dict[str, int]) -> None:
    fields = {**model.config.to_dict(), **changes}
    for rows, dtype in ((1, torch.float32), (2, torch.bfloat16), (2, torch.float32)):
        if not changes and (rows, dtype) == (2, torch.float32):
            continue
        other = KeyValueCache(GPTBigCodeConfig.from_dict(fields), rows, dtype=dtype)
        with pytest.raises(InputError, match="past_key_values"):
            model(token_ids(2, 3), past_key_values=other)


def test_encoder_states_are_refused_where_there_is_no_cross_attention() -> None:
    states = torch.zeros(1, 4, 24)
    with pytest.raises(UnsupportedModelError, match=r"encoder_hidden_states.*multi_query"):
        make_ours()(token_ids(1, 3), encoder_hidden_states=states)
    with pytest.raises(InputError, match="no cross-attention"):
        make_ours(tiny_fields(multi_query=False))(token_ids(1, 3), encoder_hidden_states=states)


def test_results_are_tuples_of_what_is_there(model: Any) -> None:
    ids = token_ids(1, 3)
    with torch.no_grad():
        plain = model(ids, use_cache=False)
        full = model(ids, labels=ids, output_attentions=True, output_hidden_states=True)
    assert [value is plain.logits for value in plain.to_tuple()] == [True]
    loss, logits, past, states, attentions = full.to_tuple()
    assert (loss, logits, past) == (full.loss, full.logits, full.past_key_values)
    assert len(states) == 3
    assert len(attentions) == 2


def test_no_cache_is_made_while_training() -> None:
    model = make_ours(seed=1).train()
    assert model(token_ids(1, 3)).past_key_values is None
    assert model(token_ids(1, 3), use_cache=True).past_key_values.length == 3


@pytest.mark.parametrize("where", ["attn_pdrop", "resid_pdrop", "embd_pdrop"])
@torch.no_grad()
def test_dropout_is_random_only_while_training(where: str) -> None:
    model = make_ours(tiny_fields(**{where: 0.5}), seed=1)
    ids = token_ids(1, 9)
    assert torch.equal(model(ids).logits, model(ids).logits)
    model.train()
    for explicit in (False, True):
        results = [model(ids, output_attentions=explicit).logits for _ in range(2)]
        assert not torch.equal(results[0], results[1])


@torch.no_grad()
def test_fused_and_explicit_attention_agree_on_padding_too(model: Any) -> None:
    ids, mask = token_ids(3, 9), torch.ones(3, 9, dtype=torch.long)
    mask[0, :4] = 0
    mask[1, 6:] = 0
    mask[2] = 0
    fused = model(ids, attention_mask=mask).logits
    explicit = model(ids, attention_mask=mask, output_attentions=True).logits
    assert deviation(fused, explicit) <= LIMIT


def test_new_models_start_as_the_reference_says() -> None:
    torch.manual_seed(0)
    config = GPTBigCodeConfig(
        vocab_size=2000, n_embd=128, n_head=4, n_layer=8, n_positions=512, initializer_range=0.05
    )
    model = GPTBigCodeForCausalLM(config)
    assert model.lm_head.weight is model.transformer.wte.weight
    residual = 0.05 / math.sqrt(2 * 8)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif ".ln_" in name:
            assert (parameter == 1).all(), name
        else:
            expected = residual if "c_proj" in name else 0.05
            assert parameter.std().item() == pytest.approx(expected, rel=0.03), name


def test_the_trunk_alone_returns_states() -> None:
    trunk = GPTBigCodeModel(GPTBigCodeConfig.from_dict(tiny_fields())).eval()
    with torch.no_grad():
        got = trunk(token_ids(1, 3), output_hidden_states=True)
    assert torch.equal(got.last_hidden_state, got.hidden_states[-1])


@torch.inference_mode()
def test_states_between_blocks_live_no_longer_than_they_are_needed() -> None:
    model = make_ours(tiny_fields(n_layer=4)).eval()
    states: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def look(_module: Any, arguments: tuple[Any, ...]) -> None:
        states.append(weakref.ref(arguments[0]))
        alive.append(sum(state() is not None for state in states))

    for block in model.transformer.h:
        block.register_forward_pre_hook(look)
    model(token_ids(1, 5))
    assert alive == [1, 1, 1, 1]
    model(token_ids(1, 5), output_hidden_states=True)
    assert alive[4:] == [1, 2, 3, 4]
