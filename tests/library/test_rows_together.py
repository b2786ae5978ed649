"""Rows of several decoders in one pass: each gets what it would get alone, bit for bit."""

from copy import copy
from pathlib import Path

import numpy as np
import pytest

from gpt_bigcode.backends.interfaces import BlockDecoder
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.hardware import Precision
from gpt_bigcode.loading import open_decoder

PROMPTS = ([1, 2, 3], [7] * 40, [9, 8, 7, 6, 5], list(range(20)))
NEW = ([4], [5, 6, 7], [2], [30, 31])


@pytest.fixture(params=["auto", "int8"], ids=["numpy", "int8"])
def decoder(request: pytest.FixtureRequest, tiny_checkpoint: Path) -> BlockDecoder:
    config = GPTBigCodeConfig.from_json_file(tiny_checkpoint / "config.json")
    precision = Precision(request.param)
    opened = open_decoder(tiny_checkpoint, config, device="cpu", precision=precision)
    assert isinstance(opened, BlockDecoder)
    assert opened.exact_steps
    return opened


def test_each_row_gets_what_it_gets_alone(decoder: BlockDecoder) -> None:
    alone = []
    for prompt, new in zip(PROMPTS, NEW, strict=True):
        decoder.prefill([prompt])
        alone.append([decoder.decode([token])[0] for token in [*new, 11]])
    rows = []
    for prompt in PROMPTS:
        rows.append(copy(decoder))
        rows[-1].prefill([prompt])
    first = rows[0].append_each(rows, NEW)
    order = [2, 0, 3]  # who else is there, and where, may change from one pass to the next
    second = rows[3].append_each([rows[place] for place in order], [[11]] * 3)
    for place, wanted in enumerate(alone):
        assert np.array_equal(first[place], wanted[:-1])
    for logits, place in zip(second, order, strict=True):
        assert np.array_equal(logits, alone[place][-1:])


def test_many_rows_are_no_other_products(decoder: BlockDecoder) -> None:
    """From 128 rows on the matrices of 8 bits may be multiplied in another way."""
    decoder.prefill([PROMPTS[0]])
    new = list(range(40, 48))
    alone = np.concatenate([decoder.decode([token]) for token in new])
    rows = [copy(decoder) for _ in range(20)]
    for row in rows:
        row.prefill([PROMPTS[0]])
    for logits in rows[0].append_each(rows, [new] * len(rows)):
        assert np.array_equal(logits, alone)


def test_a_fork_goes_its_own_way(decoder: BlockDecoder) -> None:
    decoder.prefill([PROMPTS[3]])
    wanted = decoder.decode([4])
    decoder.truncate(len(PROMPTS[3]))
    fork = decoder.fork()
    decoder.decode([5])
    assert np.array_equal(fork.decode([4]), wanted)
