"""A prompt that grows by a few tokens is not read again, and gets the bits of one that is."""

from pathlib import Path

import numpy as np
import pytest

from bigcode_cli.server.engine.decoder import Prefilled, Reuse, ServedDecoder
from bigcode_cli.server.engine.prefills import Prefills
from bigcode_cli.server.engine.prefix_tree import PrefixTree
from bigcode_cli.server.engine.tails import Tails
from bigcode_cli.server.engine.thread import Engine, Ticket
from bigcode_cli.server.library import KeptPrompts
from gpt_bigcode.backends.torch_decoder import TorchDecoder
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.hardware import Precision
from gpt_bigcode.loading import open_decoder

BLOCK = 128


def _ends(length: int) -> list[int]:
    """Blocks of 128, then 64, then a loose part."""
    ends = list(range(BLOCK, length, BLOCK))
    place = length // BLOCK * BLOCK
    return [*ends, *([place + 64] if place + 64 < length else []), length]


@pytest.mark.parametrize(
    ("kept", "asked", "known"),
    [
        (140, 141, 140),  # one more in the loose part
        (150, 140, 139),  # fewer: the last one is always read
        (140, 200, 128),  # the loose part has become a part of 64
        (200, 210, 200),
        (200, 195, 194),
        (200, 192, 128),  # a part of 64 that ends the prompt has to be read
        (192, 193, 192),  # it was one already
        (140, 140, 139),
    ],
)
def test_what_counts(kept: int, asked: int, known: int) -> None:
    tails = Tails(1 << 20, _ends, 64)
    tails.add(range(kept), BLOCK, b"kept")
    found = tails.find(range(asked), BLOCK)
    assert found == ((b"kept", known) if known > BLOCK else (b"", BLOCK))
    assert tails.find([9, *range(1, asked)], BLOCK) == (b"", BLOCK)
    changed = [*range(asked - 5), *range(1000, 1005)]
    assert tails.find(changed, BLOCK)[1] <= max(asked - 5, BLOCK)


def test_the_oldest_go_first() -> None:
    tails = Tails(10, _ends, 64)
    for number in range(3):
        tails.add([number] * 140, BLOCK, b"12345")
    assert tails.bytes == 10
    assert tails.find([0] * 141, BLOCK) == (b"", BLOCK)
    assert tails.find([2] * 141, BLOCK) == (b"12345", 140)


def test_a_growing_prompt_gets_the_bits_of_a_new_one(tiny_checkpoint: Path) -> None:
    config = GPTBigCodeConfig.from_json_file(tiny_checkpoint / "config.json")
    opened = open_decoder(tiny_checkpoint, config, device="cpu", precision=Precision("int8"))
    assert isinstance(opened, TorchDecoder)
    cold = TorchDecoder(opened.model, chunk_tokens=BLOCK)
    tails = Tails(1 << 28, cold.ends, cold.loose_tokens)
    kept = KeptPrompts(PrefixTree(1 << 28, BLOCK), PrefixTree(1 << 28, 32), tails)
    prefills: Prefills[Prefilled] = Prefills()
    engine, ticket = Engine("test"), Ticket()
    length = min(config.n_positions - 4, 300)
    text = [int(token) for token in np.random.default_rng(5).integers(5, 200, length)]
    reused = []
    try:
        for count in [*range(100, length, 17), *range(length - 20, length), length - 3]:
            reuse = Reuse(kept=kept, prefills=prefills)
            warm = ServedDecoder(cold, engine, ticket, reuse)
            wanted = [cold.prefill([text[:count]]), cold.decode([7])]
            given = [warm.prefill([text[:count]]), warm.decode([7])]
            assert all(map(np.array_equal, wanted, given)), count
            reused.append(count - warm.reused_tokens)
    finally:
        engine.close()
    assert reused[-5:] == [1] * 5
