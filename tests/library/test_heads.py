"""The classification heads give the reference's scores and losses, and find the last token."""

from typing import Any

import pytest
import torch
from torch import Tensor

from gpt_bigcode.errors import InputError
from reference_models import (
    Pair,
    deviation,
    make_ours,
    make_pair,
    positions_of,
    tiny_fields,
    token_ids,
)

LIMIT = 1e-5
PAD = 7
SEQUENCE, TOKEN = "sequence-classification", "token-classification"


@pytest.fixture(scope="module", params=[True, False], ids=["multi-query", "multi-head"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return make_pair(
        tiny_fields(multi_query=request.param, num_labels=3, pad_token_id=PAD), SEQUENCE
    )


def texts(rows: int = 4, length: int = 9) -> Tensor:
    """Tokens without the padding token."""
    ids = token_ids(rows, length, vocabulary=52)
    return torch.where(ids >= PAD, ids + 1, ids)


def padded(side: str) -> tuple[Tensor, Tensor]:
    """Tokens and mask of rows of 9, 5, 1 and 8 tokens."""
    lengths = torch.tensor([[9], [5], [1], [8]])
    order = torch.arange(9)
    mask = (order < lengths if side == "right" else order >= 9 - lengths).long()
    return torch.where(mask.bool(), texts(), PAD), mask


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("masked", [True, False])
@torch.no_grad()
def test_scores_of_padded_texts(*, pair: Pair, masked: bool, side: str) -> None:
    ids, mask = padded(side)
    arguments = {"position_ids": positions_of(mask)} | ({"attention_mask": mask} if masked else {})
    got = pair.ours(ids, **arguments, output_hidden_states=True, output_attentions=True)
    expected = pair.theirs(ids, **arguments, output_hidden_states=True, output_attentions=True)
    assert got.logits.shape == (4, 3)
    assert deviation(got.logits, expected.logits) <= LIMIT
    real = mask.bool()
    assert deviation(got.hidden_states[1][real], expected.hidden_states[1][real]) <= LIMIT
    assert got.attentions[1].shape == expected.attentions[1].shape
    assert got.past_key_values.length == 9


@torch.no_grad()
def test_padding_by_the_mask_is_the_text_alone(pair: Pair) -> None:
    lengths = (9, 5, 1, 8)
    for side in ("left", "right"):
        ids, mask = padded(side)
        got = pair.ours(ids, attention_mask=mask).logits
        for row, length in enumerate(lengths):
            alone = ids[row : row + 1, mask[row].bool()]
            assert alone.shape == (1, length)
            assert deviation(got[row : row + 1], pair.ours(alone).logits) <= LIMIT


@torch.no_grad()
def test_which_token_is_read(pair: Pair) -> None:
    ids = texts()
    ids[1, 3] = PAD  # inside the text
    ids[2, 6:] = PAD
    ids[3] = PAD  # nothing but padding
    got = pair.ours(ids, output_hidden_states=True)
    expected_tokens = [8, 8, 5, 0]
    assert deviation(got.logits, pair.theirs(ids).logits) <= LIMIT
    scores = pair.ours.score(got.hidden_states[-1])
    assert deviation(got.logits, scores[torch.arange(4), expected_tokens]) <= LIMIT


@torch.no_grad()
def test_the_mask_is_believed_before_the_padding_token(pair: Pair) -> None:
    ids = texts()
    ids[:, 6:] = PAD
    mask = torch.ones_like(ids)
    mask[:, 8:] = 0
    got = pair.ours(ids, attention_mask=mask, output_hidden_states=True)
    assert deviation(got.logits, pair.ours.score(got.hidden_states[-1])[:, 7]) <= LIMIT


@torch.no_grad()
def test_several_rows_without_anything_that_tells_where_they_end() -> None:
    model = make_ours(tiny_fields(num_labels=3), SEQUENCE, seed=1)
    ids = texts()
    with pytest.raises(InputError, match=r"attention_mask.*pad_token_id"):
        model(ids)
    got = model(ids[:1], output_hidden_states=True)
    assert deviation(got.logits, model.score(got.hidden_states[-1])[:, -1]) <= LIMIT
    assert model(ids, attention_mask=torch.ones_like(ids)).logits.shape == (4, 3)


@torch.no_grad()
def test_embeddings_are_read_at_their_end(pair: Pair) -> None:
    embeds = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(1))
    got = pair.ours(inputs_embeds=embeds).logits
    assert deviation(got, pair.theirs(inputs_embeds=embeds).logits) <= LIMIT


@torch.no_grad()
def test_scores_through_a_cache(pair: Pair) -> None:
    ids = texts(2, 9)
    first = pair.ours(ids[:, :5])
    second = pair.ours(ids[:, 5:], past_key_values=first.past_key_values)
    assert deviation(second.logits, pair.theirs(ids).logits) <= LIMIT


CLASSES = torch.tensor([2, 0, 1, 2])
SWITCHES = torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
NUMBERS = torch.tensor([0.5, -3.0, 2.0, 8.0])
LOSSES: dict[str, tuple[dict[str, Any], Tensor]] = {
    "guessed: one number": ({"num_labels": 1}, NUMBERS),
    "guessed: one number in a column": ({"num_labels": 1}, NUMBERS[:, None]),
    "guessed: classes": ({"num_labels": 3}, CLASSES),
    "guessed: switches": ({"num_labels": 3}, SWITCHES),
    "guessed: one class left": ({"num_labels": 3}, CLASSES[:1]),
    "regression, one": ({"num_labels": 1, "problem_type": "regression"}, NUMBERS),
    "regression, three": ({"num_labels": 3, "problem_type": "regression"}, SWITCHES * 3 - 1),
    "classes": ({"num_labels": 3, "problem_type": "single_label_classification"}, CLASSES),
    "two classes": ({"problem_type": "single_label_classification"}, CLASSES % 2),
    "switches": ({"num_labels": 3, "problem_type": "multi_label_classification"}, SWITCHES),
    "one switch": (
        {"num_labels": 1, "problem_type": "multi_label_classification"},
        SWITCHES[:, :1],
    ),
}


@pytest.mark.parametrize("multi_query", [True, False])
@pytest.mark.parametrize("case", LOSSES)
def test_sequence_losses(*, case: str, multi_query: bool) -> None:
    fields, labels = LOSSES[case]
    models = make_pair(tiny_fields(multi_query=multi_query, pad_token_id=PAD, **fields), SEQUENCE)
    ids = texts()[: len(labels)]
    got = models.ours(ids, labels=labels)
    expected = models.theirs(ids, labels=labels)
    assert got.loss.item() == pytest.approx(expected.loss.item(), rel=LIMIT)
    got.loss.backward()
    expected.loss.backward()
    assert_same_gradients(models)


def assert_same_gradients(models: Pair) -> None:
    expected = dict(models.theirs.named_parameters())
    for name, parameter in models.ours.named_parameters():
        assert deviation(parameter.grad, expected[name].grad) <= LIMIT, name


def test_integers_of_any_width_are_classes() -> None:
    model = make_ours(tiny_fields(num_labels=3, pad_token_id=PAD), SEQUENCE, seed=1)
    ids = texts()
    losses = {
        model(ids, labels=CLASSES.to(kind)).loss.item() for kind in (torch.int64, torch.int32)
    }
    assert len(losses) == 1
    switches = model(ids, labels=SWITCHES.bool()).loss.item()
    assert switches == pytest.approx(model(ids, labels=SWITCHES).loss.item())


def test_a_guess_does_not_stick() -> None:
    model = make_ours(tiny_fields(num_labels=3, pad_token_id=PAD), SEQUENCE, seed=1)
    before = model(texts(), labels=SWITCHES).loss.item()
    model(texts(), labels=CLASSES)
    assert model(texts(), labels=SWITCHES).loss.item() == before


@pytest.mark.parametrize(
    ("fields", "labels"),
    [
        ({"num_labels": 3}, torch.tensor([0, 1, 2, 3])),
        ({"num_labels": 3}, CLASSES[:3]),
        ({"num_labels": 3}, SWITCHES[:, :2]),
        ({"num_labels": 3, "problem_type": "regression"}, NUMBERS),
        ({"num_labels": 1}, NUMBERS[:3]),
    ],
    ids=[
        "class 3 of 0..2",
        "a row short",
        "a label short",
        "one number for three",
        "a number short",
    ],
)
def test_labels_that_do_not_fit(fields: dict[str, Any], labels: Tensor) -> None:
    model = make_ours(tiny_fields(pad_token_id=PAD, **fields), SEQUENCE, seed=1)
    with pytest.raises(InputError, match="labels"):
        model(texts(), labels=labels)


@pytest.mark.parametrize("multi_query", [True, False])
@pytest.mark.parametrize("labels", [1, 2, 5])
@pytest.mark.parametrize("side", ["left", "right"])
def test_token_classification(*, side: str, labels: int, multi_query: bool) -> None:
    fields = tiny_fields(multi_query=multi_query, num_labels=labels, classifier_dropout=0.0)
    models = make_pair(fields, TOKEN)
    ids, mask = padded(side)
    truth = torch.where(mask.bool(), ids % labels, -100)
    truth[0, :2] = -100
    models.ours.train()
    models.theirs.train()
    arguments = {"attention_mask": mask, "position_ids": positions_of(mask), "labels": truth}
    got, expected = models.ours(ids, **arguments), models.theirs(ids, **arguments)
    real = mask.bool()
    assert got.logits.shape == (4, 9, labels)
    assert deviation(got.logits[real], expected.logits[real]) <= LIMIT
    assert got.loss.item() == pytest.approx(expected.loss.item(), rel=LIMIT)
    if labels > 1:  # the loss of one class is constant
        got.loss.backward()
        expected.loss.backward()
        assert_same_gradients(models)


@pytest.mark.parametrize(
    ("fields", "rate"),
    [
        ({}, 0.1),
        ({"hidden_dropout": 0.3}, 0.3),
        ({"hidden_dropout": 0.3, "classifier_dropout": 0.2}, 0.2),
        ({"hidden_dropout": 0.3, "classifier_dropout": 0.0}, 0.0),
    ],
    ids=str,
)
def test_dropout_before_the_token_classifier(fields: dict[str, float], rate: float) -> None:
    models = make_pair(tiny_fields(**fields), TOKEN)
    assert models.ours.dropout.p == models.theirs.dropout.p == rate


def test_token_labels_that_do_not_fit() -> None:
    model = make_ours(tiny_fields(num_labels=2), TOKEN, seed=1)
    ids = texts()
    for labels in (ids[:, :8] % 2, ids):
        with pytest.raises(InputError, match="labels"):
            model(ids, labels=labels)


@torch.no_grad()
def test_results_as_tuples_have_the_order_of_the_reference(pair: Pair) -> None:
    ids = texts()
    asked = {"labels": CLASSES, "output_hidden_states": True, "output_attentions": True}
    got = pair.ours(ids, **asked).to_tuple()
    expected = pair.theirs(ids, **asked, use_cache=True).to_tuple()
    assert len(got) == len(expected) == 5
    assert deviation(got[1], expected[1]) <= LIMIT
    assert [len(part) for part in got[3:]] == [len(part) for part in expected[3:]] == [3, 2]
