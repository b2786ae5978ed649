"""Laws of the training recipe: no text is lost, ids are the family's, fast paths are exact."""

import json
import random
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, pre_tokenizers

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.heads import GPTBigCodeForCausalLM
from training import filters
from training.batches import BatchSource
from training.documents import (
    END,
    MIDDLE,
    PREFIX,
    SUFFIX,
    Order,
    RowMaker,
    RowOptions,
    arrange,
    cut,
    cut_lines,
    load_tokenizer,
    trim,
)
from training.growth import grow, origins
from training.measure import bits_per_byte, validation_rows
from training.muon import Muon, Settings, orthogonalize
from training.network import Network
from training.parsing import parses_so_far
from training.schedule import CPU_PLAN, PLANS
from training.train import Clock
from training.train_tokenizer import SPECIAL_TOKENS, train

SOURCE = '''def area(width, height):
    """Größe in m² — of a 12 by 34 field."""
    if width < 0:
        raise ValueError("width: 2024")
    return width * height
'''
TEXTS = [SOURCE, SOURCE.replace("area", "volume") * 3, "x = [1, 2, 3]\n" * 40]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train(TEXTS, vocabulary=300).save(str(path))
    return load_tokenizer(str(path))


def tiny_model(layers: int = 2) -> GPTBigCodeForCausalLM:
    torch.manual_seed(5)
    config = GPTBigCodeConfig(
        vocab_size=300,
        n_positions=64,
        n_embd=32,
        n_layer=layers,
        n_head=4,
        initializer_range=0.2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPTBigCodeForCausalLM(config)


def tiny_rows(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(0, 300, (3, 13), generator=generator)
    return rows, torch.arange(12).expand(3, 12) + torch.tensor([[0], [7], [52]])


# The tokenizer


def test_the_special_tokens_are_starcoders_in_order(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == list(range(19))
    assert SPECIAL_TOKENS[:5] == (
        "<|endoftext|>",
        "<fim_prefix>",
        "<fim_middle>",
        "<fim_suffix>",
        "<fim_pad>",
    )
    assert SPECIAL_TOKENS[18] == "<reponame>"
    assert all(token.special for token in tokenizer.get_added_tokens_decoder().values())
    assert (END, PREFIX, MIDDLE, SUFFIX) == (0, 1, 2, 3)


def test_every_byte_has_a_token(tokenizer: Tokenizer) -> None:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    assert len(alphabet) == 256
    assert all(tokenizer.token_to_id(symbol) is not None for symbol in alphabet)
    assert tokenizer.get_vocab_size() == 300


@pytest.mark.parametrize("text", [SOURCE, "\t x\r\n", "😀\U00100000é", "<fim_middle>", "2024"])
def test_text_comes_back_and_is_never_a_special_token(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids) == text
    assert min(ids) >= len(SPECIAL_TOKENS)


def test_digits_stand_alone(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode("2024").ids) == 4


# Infilling


def test_cutting_loses_nothing_and_reaches_every_place() -> None:
    generator = random.Random(3)
    pieces = [cut("abcd", generator) for _ in range(2000)]
    assert all("".join(piece) == "abcd" for piece in pieces)
    assert len(set(pieces)) == 15  # all pairs 0 <= low <= high <= 4


def test_layout_prefix_first() -> None:
    row = arrange([10, 11], [12], [13, 14], order=Order.PREFIX_FIRST)
    assert row == [PREFIX, 10, 11, SUFFIX, 13, 14, MIDDLE, 12]


def test_layout_suffix_first() -> None:
    row = arrange([10, 11], [12], [13, 14], order=Order.SUFFIX_FIRST)
    assert row == [PREFIX, SUFFIX, 13, 14, MIDDLE, 10, 11, 12]


@pytest.mark.parametrize("surplus", range(8))
def test_trimming_keeps_what_is_near_the_cursor(surplus: int) -> None:
    prefix, suffix = trim([1, 2, 3, 4, 5], [6, 7], surplus)
    assert len(prefix) + len(suffix) == 7 - surplus
    assert prefix == [1, 2, 3, 4, 5][5 - len(prefix) :]
    assert suffix == [6, 7][: len(suffix)]


def undo(row: list[int]) -> list[int]:
    """The ids of the text that a rearranged row holds."""
    end, middle, suffix = row.index(END), row.index(MIDDLE), row.index(SUFFIX)
    before = row[1:suffix]
    if before:
        return before + row[middle + 1 : end] + row[suffix + 1 : middle]
    # Suffix first: where the prefix ends is not marked, but prefix and middle are in order.
    return row[middle + 1 : end] + row[suffix + 1 : middle]


def test_rearranged_rows_hold_the_whole_text(tokenizer: Tokenizer) -> None:
    maker = RowMaker([SOURCE], tokenizer, RowOptions(infill_share=1.0, file_start_share=1.0))
    orders = set()
    for seed in range(30):
        row = maker.row(600, random.Random(seed))
        assert len(row) == 600
        assert row[:2] == [END, PREFIX]
        orders.add(row[2] == SUFFIX)
        assert tokenizer.decode(undo(row[1:])) == SOURCE
    assert orders == {True, False}


def test_middles_that_are_lines_begin_at_the_cursor_and_end_with_a_line() -> None:
    inside = lengths = 0
    for seed in range(400):
        prefix, middle, suffix = cut_lines(SOURCE, random.Random(seed))
        assert prefix + middle + suffix == SOURCE
        assert suffix.startswith("\n") or not suffix
        begun = prefix.rpartition("\n")[2]
        inside += bool(begun.strip())
        lengths += "\n" in middle
        # Behind the whole indentation, never in it.
        assert begun.strip() or middle[0] not in " \n"
    assert 0.1 < inside / 400 < 0.3
    assert 0.15 < lengths / 400 < 0.35


@pytest.mark.parametrize("text", ["", "\n", " \n\t\n", "x", "\r\n    y\r\n"])
def test_no_text_is_too_odd_for_a_cut_by_lines(text: str) -> None:
    for seed in range(20):
        assert "".join(cut_lines(text, random.Random(seed))) == text


@pytest.mark.parametrize(("share", "expected"), [(0.0, (0, 5)), (0.5, (8, 22)), (1.0, (30, 30))])
def test_a_share_of_the_gaps_is_lines(
    tokenizer: Tokenizer, share: float, expected: tuple[int, int]
) -> None:
    options = RowOptions(infill_share=1.0, file_start_share=1.0, line_gap_share=share)
    maker = RowMaker([SOURCE], tokenizer, options)
    at_line_ends = 0
    for seed in range(30):
        row = maker.row(600, random.Random(seed))
        assert row[:2] == [END, PREFIX]
        assert SOURCE.startswith(tokenizer.decode(undo(row[1:])))
        suffix = tokenizer.decode(row[row.index(SUFFIX) + 1 : row.index(MIDDLE)])
        at_line_ends += suffix.startswith("\n") or not suffix
    assert expected[0] <= at_line_ends <= expected[1]


def test_plain_rows_hold_files_joined_by_the_end_token(tokenizer: Tokenizer) -> None:
    maker = RowMaker(TEXTS, tokenizer, RowOptions(infill_share=0.0, file_start_share=1.0))
    row = maker.row(700, random.Random(2))
    ends = [place for place, token in enumerate(row) if token == END]
    assert ends[0] == 0
    assert len(ends) > 1
    for start, stop in pairwise(ends):
        assert tokenizer.decode(row[start + 1 : stop]) in TEXTS


def test_a_short_room_cuts_the_far_ends_but_keeps_the_middle(tokenizer: Tokenizer) -> None:
    maker = RowMaker([SOURCE * 9], tokenizer, RowOptions(infill_share=1.0, file_start_share=1.0))
    rearranged = 0
    for seed in range(20):
        row = maker.row(100, random.Random(seed))
        if PREFIX in row:  # else the middle alone was too long and the row is plain
            rearranged += 1
            assert row.count(MIDDLE) == row.count(SUFFIX) == row.count(PREFIX) == 1
            assert row.index(PREFIX) < row.index(SUFFIX) < row.index(MIDDLE)
            assert END in row[row.index(MIDDLE) :]
    assert rearranged >= 5


def test_a_batch_depends_on_seed_and_step_alone(tokenizer: Tokenizer) -> None:
    maker = RowMaker(TEXTS, tokenizer, RowOptions())
    first = maker.batch(1, 7, (4, 65))
    maker.batch(1, 8, (4, 65))
    assert first.shape == (4, 65)
    assert (maker.batch(1, 7, (4, 65)) == first).all()
    assert (maker.batch(1, 8, (4, 65)) != first).any()


def test_workers_make_the_same_batches(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps({"package": "p", "path": "f.py", "text": text}) for text in TEXTS]
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    monkeypatch.setenv("BIGCODE_TRAINING_HOME", str(tmp_path))
    maker = RowMaker(TEXTS, tokenizer, RowOptions())
    here = BatchSource(maker, seed=4, workers=0)
    there = BatchSource(maker, seed=4, workers=1)
    shapes = {0: (2, 33), 1: (2, 33), 2: (1, 65)}

    def forecast(now: int, later: int) -> tuple[int, int]:
        return shapes[now] if later == now else (2, 33)

    for step in range(3):
        mine = here.get(step, partial(forecast, step))
        # A forecast that turns out wrong must not matter.
        theirs = there.get(step, partial(forecast, step))
        assert mine.shape == shapes[step]
        assert (mine == theirs).all()
    there.close()


# Filters


def judged(text: str) -> str:
    return filters.judge(text.encode()).reason


def test_filters_name_their_reason() -> None:
    good = "# Adds.\n" + SOURCE * 3
    assert judged(good) == "kept"
    assert judged("x = 1\n") == "size"
    assert judged(good + "y = '" + "a b" * 400 + "'\n") == "line length"
    assert judged(good + "def f(:\n") == "does not parse"
    assert judged("# Generated by a tool.\n" + good) == "generated text"
    assert judged("x = 1\n" * 60) in {"comment share", "table of numbers"}
    assert judged(good + "def has_close_elements(numbers):\n    pass\n") == "benchmark"
    assert judged(good + "total = sum_of_multiple(3)\n") == "kept"
    assert filters.path_reason("pip/_vendor/rich/text.py") is not None
    assert filters.path_reason("pip/main.py") is None


def test_secrets_are_replaced() -> None:
    key = "AKIA" + "ABCDEFGHIJKLMNOP"
    text = filters.redact(f"mail = 'jane.doe@mail.test.org'\nkey = '{key}'\nc = a@b.T\n")
    assert text == "mail = '<EMAIL>'\nkey = '<KEY>'\nc = a@b.T\n"


def test_a_licence_header_goes_but_a_comment_stays() -> None:
    assert filters.drop_licence_header("# Copyright 2020 X\n\nimport os\n") == "import os\n"
    assert filters.drop_licence_header("# Adds.\nimport os\n") == "# Adds.\nimport os\n"


# Network, optimizer, growth, schedule


def test_the_training_pass_is_the_librarys_own() -> None:
    model, (rows, positions) = tiny_model(), tiny_rows()
    logits = model(rows[:, :-1], position_ids=positions, use_cache=False).logits
    wanted = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
    torch.autograd.backward(wanted)
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    loss = Network(model, compiled=False).loss(rows, positions)
    torch.autograd.backward(loss)
    torch.testing.assert_close(loss, wanted)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, grads[name], rtol=1e-4, atol=1e-6)


def test_mixed_precision_stays_near_full_precision() -> None:
    model, (rows, positions) = tiny_model(), tiny_rows()
    network, table = Network(model, compiled=False), model.transformer.wte.weight
    torch.autograd.backward(network.loss(rows, positions))
    full = table.grad
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = network.loss(rows, positions)
    torch.autograd.backward(loss)
    mixed = table.grad
    assert loss.dtype == torch.float32
    assert full is not None
    assert mixed is not None
    assert 0 < float((full - mixed).norm()) < 0.03 * float(full.norm())


def test_orthogonalized_matrices_have_like_singular_values() -> None:
    for shape in ((3, 24, 8), (2, 8, 24)):
        matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        update = orthogonalize(matrices)
        values = torch.linalg.svdvals(update)
        assert update.shape == shape
        assert 0.5 < float(values.min()) <= float(values.max()) < 1.3


def test_growing_changes_no_output_and_the_new_blocks_learn() -> None:
    model, optimizer, (rows, positions) = tiny_model(), Muon(Settings()), tiny_rows()
    network = Network(model, compiled=False)

    def step() -> float:
        loss = network.loss(rows, positions)
        torch.autograd.backward(loss)
        optimizer.step(model.named_parameters(), matrix_rate=3e-3, rate=3e-3)
        model.zero_grad()
        return float(loss.detach())

    start = step()
    with torch.no_grad():
        before = model(rows, use_cache=False).logits
    grow(model, optimizer, 5)
    with torch.no_grad():
        assert torch.equal(model(rows, use_cache=False).logits, before)
    assert model.config.n_layer == len(model.transformer.h) == 5
    for _ in range(3):
        last = step()
    assert last < start
    silent = [place for place, (_, copied) in enumerate(origins(2, 5)) if copied]
    for place in silent:
        block: Any = model.transformer.h[place]
        assert bool(block.mlp.c_proj.weight.any())
    assert origins(4, 7) == [
        *((0, False), (0, True), (1, False), (1, True)),
        *((2, False), (3, False), (3, True)),
    ]


@pytest.mark.parametrize("name", sorted(PLANS))
def test_the_rate_warms_up_and_ends_at_zero(name: str) -> None:
    plan = PLANS[name]
    factors = [plan.factor(share / 1000) for share in range(1001)]
    top = factors.index(1.0)
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert factors[-1] == plan.factor(1.2) == 0.0
    assert [stage.layers for stage in plan.stages] == sorted(s.layers for s in plan.stages)


def test_near_the_end_some_rows_have_full_length() -> None:
    lengths = {CPU_PLAN.row_tokens(0.9, step, 2048) for step in range(6)}
    assert lengths == {512, 2048}
    assert {CPU_PLAN.row_tokens(0.1, step, 2048) for step in range(6)} == {256}


def test_a_pause_counts_as_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("training.train.time.monotonic", lambda: now)
    clock = Clock(0.0)
    for _ in range(10):
        now += 2.0
        clock.tick()
    assert clock.elapsed_seconds == 20.0
    now += 3600.0
    clock.tick()
    assert clock.elapsed_seconds <= 20.0 + 13.0


def test_bits_per_byte_of_a_model_that_knows_nothing(tokenizer: Tokenizer) -> None:
    model = tiny_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    rows, size = validation_rows(tokenizer, [SOURCE * 3], 1, 32)
    text = tokenizer.decode(rows[0, 1:].tolist())
    assert len(text.encode()) == size
    expected = 32 * torch.log2(torch.tensor(300.0)) / size
    assert bits_per_byte(model, rows, size) == pytest.approx(float(expected), rel=1e-5)


# The rule for unfinished files


@pytest.mark.parametrize(
    "text",
    [
        "x = 1\ny = (2,\n",
        "try:\n    a = 1\n",
        "try:\n    if x:\n",
        "@decorated\n",
        "def f():\n    '''doc\n",
        "if x:\n    pass\nelse:\n",
        "x = 1\nthis line is not = = finished",
        "",
    ],
)
def test_unfinished_files_parse_so_far(text: str) -> None:
    assert parses_so_far(text)


@pytest.mark.parametrize(
    "text",
    ["x = = 1\n", "def f():\nx = 1\n", "x = 1)\n", "try:\n    a\nx = 1\n", "  x = 1\n y = 2\n"],
)
def test_wrong_files_do_not(text: str) -> None:
    assert not parses_so_far(text)


def test_every_beginning_of_a_file_parses_so_far() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    for end in range(0, len(text), 397):
        assert parses_so_far(text[:end]), text[max(0, end - 80) : end]
