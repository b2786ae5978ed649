"""What single attention heads are taught, by its definition, and that they learn it."""

import itertools
import random

import pytest
import torch

from reference_models import make_ours, tiny_fields, token_ids
from training.documents import END, MIDDLE, PREFIX, SUFFIX, Order, arrange
from training.guidance import (
    LONGEST_MATCH,
    MIDDLE_TOKENS,
    PREFIX_END,
    Guidance,
    Guide,
    earlier_occurrences,
    wanted,
)
from training.muon import Muon, Settings
from training.network import Network
from training.schedule import PLANS

LIMIT = 1e-6


def by_definition(row: list[int], place: int) -> list[int]:
    """Places behind earlier occurrences of the longest run that ends at `place`."""
    for length in range(LONGEST_MATCH, 0, -1):
        if length > place + 1:
            continue
        run = row[place + 1 - length : place + 1]
        starts = range(place + 1 - length)
        found = [start + length for start in starts if row[start : start + length] == run]
        if found:
            return found
    return []


@pytest.mark.parametrize("tokens", [1, 2, 3, 40])
def test_what_followed_the_longest_run_is_wanted(tokens: int) -> None:
    draw = random.Random(4)
    rows = [[draw.randrange(size) for _ in range(tokens)] for size in (1, 2, 3, 9, 100)]
    found = earlier_occurrences(torch.tensor(rows))
    for number, place in itertools.product(range(len(rows)), range(tokens)):
        places = found[number, place].nonzero().flatten().tolist()
        assert places == by_definition(rows[number], place)


def test_so_many_tokens_before_is_one_place() -> None:
    places = wanted(torch.zeros(2, 5, dtype=torch.long), 2)
    assert places.shape == (2, 5, 5)
    assert places[1].nonzero().tolist() == [[2, 0], [3, 1], [4, 2]]


def prefix_end(row: list[int], place: int) -> list[int]:
    """The sentinel behind the prefix, if `place` is among the first tokens of its middle."""
    begins = max((i for i in range(place + 1) if row[i] in (PREFIX, END)), default=-1)
    if begins < 0 or row[begins] == END or row[begins + 1 : begins + 2] == [SUFFIX]:
        return []
    example = row[begins : place + 1]
    if SUFFIX not in example or MIDDLE not in example[example.index(SUFFIX) :]:
        return []
    ended, middle = example.index(SUFFIX), example.index(MIDDLE)
    return [begins + ended] if len(example) - 1 - middle < MIDDLE_TOKENS else []


@pytest.mark.parametrize("order", Order)
def test_a_middle_looks_at_the_end_of_its_own_prefix(order: Order) -> None:
    draw = random.Random(8)

    def some(least: int, most: int) -> list[int]:
        return [draw.randrange(20, 30) for _ in range(draw.randint(least, most))]

    rows = []
    for _ in range(6):
        example = arrange(some(1, 4), some(0, 7), some(0, 4), order=order)
        rows.append([*some(0, 5), END, *example, END, *some(2, 5), *example, END, *some(40, 40)])
    cut = min(len(row) for row in rows)
    found = wanted(torch.tensor([row[:cut] for row in rows]), PREFIX_END)
    asked = 0
    for number, place in itertools.product(range(len(rows)), range(cut)):
        places = found[number, place].nonzero().flatten().tolist()
        assert places == prefix_end(rows[number], place)
        asked += len(places)
    assert (asked > 0) == (order is Order.PREFIX_FIRST)


@torch.no_grad()
def test_the_scores_are_those_of_the_models_head() -> None:
    model = make_ours(seed=5).eval()
    ids = token_ids(2, 12)
    watched = model(ids, output_attentions=True, output_hidden_states=True)
    inputs: dict[int, torch.Tensor] = {}
    Network(model, compiled=False).hidden(
        torch.cat([ids, ids[:, :1]], 1), torch.arange(12).expand(2, 12), inputs
    )
    causal = torch.ones(12, 12, dtype=torch.bool).tril()
    for layer, head in itertools.product(range(2), range(3)):
        assert torch.allclose(inputs[layer], watched.hidden_states[layer], atol=LIMIT)
        scores = Guidance(model, [Guide(layer, head, 0)]).scores(
            Guide(layer, head, 0), inputs[layer]
        )
        weights = scores.masked_fill(~causal, -torch.inf).softmax(-1)
        assert torch.allclose(weights, watched.attentions[layer][:, head], atol=LIMIT)


def test_a_head_that_is_not_there_is_refused() -> None:
    model = make_ours(seed=5)
    for guide in (Guide(2, 0, 1), Guide(0, 3, 1)):
        with pytest.raises(ValueError, match="guide"):
            Guidance(model, [guide])
    with pytest.raises(ValueError, match="multi-query"):
        Guidance(make_ours(tiny_fields(multi_query=False)), [Guide(0, 0, 1)])


def test_guided_heads_learn_where_to_look() -> None:
    """Random tokens that come twice; in nats, less than 0.7 is more than half of the attention."""
    generator = torch.Generator().manual_seed(6)
    fields = tiny_fields(n_layer=2, n_head=2, n_embd=64, n_positions=64, vocab_size=64)
    model = make_ours(fields, seed=6)
    network, optimizer = Network(model, compiled=False), Muon(Settings())
    guides = [Guide(0, 0, 1), Guide(1, 0, 0)]
    positions = torch.arange(31).expand(16, 31)

    def surprises() -> list[torch.Tensor]:
        half = torch.randint(0, 64, (16, 16), generator=generator)
        ids, inputs = torch.cat([half, half], 1), dict[int, torch.Tensor]()
        network.hidden(ids, positions, inputs)
        return [Guidance(model, [guide]).loss(ids[:, :-1], inputs) for guide in guides]

    before = [float(surprise.detach()) for surprise in surprises()]
    for _ in range(180):
        torch.autograd.backward(torch.stack(surprises()).sum())
        optimizer.step(model.named_parameters(), matrix_rate=1e-2, rate=1e-2)
        model.zero_grad()
    after = [float(surprise.detach()) for surprise in surprises()]
    assert min(before) > 2
    assert max(after) < 0.7


@pytest.mark.parametrize("name", PLANS)
def test_the_guides_leave_before_the_end(name: str) -> None:
    plan = PLANS[name]
    weights = [plan.guidance(share / 100) for share in range(101)]
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] == 0.0
    assert (weights[0] > 0) == bool(plan.guides)
