"""Greedy text of the language model, token by token, is the reference's."""

from typing import Any

import pytest
import torch
from torch import Tensor

from reference_models import Pair, make_pair, tiny_fields, token_ids

NEW = 24


@pytest.fixture(scope="module", params=[True, False], ids=["multi-query", "multi-head"])
def models(request: pytest.FixtureRequest) -> Pair:
    return make_pair(tiny_fields(multi_query=request.param, eos_token_id=None), seed=7)


@pytest.mark.parametrize("cached", [True, False])
def test_one_text(*, models: Pair, cached: bool) -> None:
    ids = token_ids(1, 9, seed=3)
    expected = generate_reference(models.theirs, ids, torch.ones_like(ids))
    assert len(set(expected[0].tolist())) >= 5
    got = generate(models.ours, ids, torch.ones_like(ids), cached=cached)
    assert got.tolist() == expected.tolist()


@pytest.mark.parametrize("cached", [True, False])
def test_texts_of_many_lengths_padded_on_the_left(*, models: Pair, cached: bool) -> None:
    lengths = (1, 2, 17, 30)
    ids, mask = left_padded(lengths)
    expected = generate_reference(models.theirs, ids, mask)
    got = generate(models.ours, ids, mask, cached=cached)
    assert got.tolist() == expected.tolist()
    for row, length in enumerate(lengths):
        alone = ids[row : row + 1, -length:]
        assert generate(models.ours, alone, torch.ones_like(alone), cached=True)[0].tolist() == (
            expected[row].tolist()
        )


def left_padded(lengths: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    longest = max(lengths)
    mask = torch.stack([(torch.arange(longest) >= longest - size).long() for size in lengths])
    return token_ids(len(lengths), longest, seed=4) * mask, mask


def generate_reference(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """[rows, NEW], the reference's own `generate`."""
    with torch.no_grad():
        text = model.generate(
            ids, attention_mask=mask, do_sample=False, max_new_tokens=NEW, pad_token_id=0
        )
    return text[:, ids.shape[1] :]  # type: ignore[no-any-return]


def generate(model: Any, ids: Tensor, mask: Tensor, *, cached: bool) -> Tensor:
    """[rows, NEW], the plainest loop around our forward pass."""
    text, past, fresh = ids, None, ids
    for _ in range(NEW):
        with torch.no_grad():
            result = model(
                fresh if cached else text,
                attention_mask=mask,
                past_key_values=past,
                use_cache=cached,
                logits_to_keep=1,
            )
        past, fresh = result.past_key_values, result.logits[:, -1].argmax(-1, keepdim=True)
        text = torch.cat([text, fresh], dim=1)
        mask = torch.cat([mask, torch.ones_like(fresh)], dim=1)
    return text[:, ids.shape[1] :]
