"""Rows of training: cut without losing text, filled, and the same for the same seed."""

import random
from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import Tokenizer

import pocket_coder
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
from training_texts import SOURCE, TEXTS, small_tokenizer

BUILT_IN = Path(pocket_coder.__path__[0])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


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
    assert 0.25 < inside / 400 < 0.45
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


@pytest.mark.parametrize(
    ("prefix", "middle"),
    [("def f(x):\n        ", "return x"), ("a = foo(b, ", "c)")],
)
def test_healed_gaps_have_the_tokens_of_whole_text(prefix: str, middle: str) -> None:
    tokenizer = load_tokenizer(str(BUILT_IN / "tokenizer.json"))

    def ids(*pieces: str) -> list[int]:
        return [token for piece in pieces for token in tokenizer.encode(piece).ids]

    maker = RowMaker([SOURCE], tokenizer, RowOptions(healed=True))
    healed = maker._healed(prefix, middle, "\n")
    assert "".join(healed) == prefix + middle + "\n"
    assert ids(*healed[:2]) == ids(prefix + middle) != ids(prefix, middle)


@pytest.mark.parametrize("prefix", ["", "é", "x = '😀"])
def test_healing_loses_nothing(tokenizer: Tokenizer, prefix: str) -> None:
    maker = RowMaker([SOURCE], tokenizer, RowOptions(healed=True))
    assert "".join(maker._healed(prefix, "'", "\n")) == f"{prefix}'\n"


def test_only_suffix_first_rows_are_healed(tokenizer: Tokenizer) -> None:
    # As `infill` asks: in PSM order the prefix keeps its last token.
    def rows(suffix_first: float, *, healed: bool) -> list[list[int]]:
        maker = RowMaker([SOURCE], tokenizer, RowOptions(1.0, suffix_first, 1.0, 0.5, healed))
        return [maker.row(600, random.Random(seed)) for seed in range(10)]

    assert rows(0.0, healed=True) == rows(0.0, healed=False)
    assert rows(1.0, healed=True) != rows(1.0, healed=False)


def test_healed_rows_hold_the_whole_text(tokenizer: Tokenizer) -> None:
    maker = RowMaker([SOURCE], tokenizer, RowOptions(1.0, 0.5, 1.0, 0.5, healed=True))
    for seed in range(30):
        text = tokenizer.decode(undo(maker.row(600, random.Random(seed))[1:]))
        assert text
        assert SOURCE.startswith(text)


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
