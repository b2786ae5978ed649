"""A prompt's parts side by side: the same numbers, every token once, and errors that end it."""

import itertools
import threading
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest

from gpt_bigcode.backends import numpy_threads
from gpt_bigcode.backends.interfaces import ScoredRow
from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.backends.numpy_heads import NumpyScorer
from gpt_bigcode.backends.numpy_tensors import BLOCK_TOKENS, KVRow, half_blocks
from gpt_bigcode.backends.numpy_threads import read_parts
from reference_models import make_ours, tiny_fields, token_ids

SECONDS = 60  # until a test gives up on a thread
LENGTHS = (1, 63, 64, 255, 256, 257, 320, 700)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from gpt_bigcode.checkpoint.loading import save_model

    folder = tmp_path_factory.mktemp("model")
    save_model(make_ours(tiny_fields(n_layer=3, n_positions=1024), seed=3), folder)
    return folder


def ids_of(length: int) -> list[int]:
    ids: list[int] = token_ids(1, length)[0].tolist()
    return ids


@pytest.mark.parametrize("start", [0, BLOCK_TOKENS, 3 * BLOCK_TOKENS])
@pytest.mark.parametrize("length", LENGTHS)
def test_parts_follow_each_other_and_stay_in_their_block(start: int, length: int) -> None:
    ids = range(start + length)
    parts = half_blocks(ids, start)
    assert list(itertools.chain(*parts)) == list(ids)[start:]
    assert all(part[0] // BLOCK_TOKENS == part[-1] // BLOCK_TOKENS for part in parts)
    # What follows a whole block changes none of its parts.
    whole = start + length // BLOCK_TOKENS * BLOCK_TOKENS
    assert [part for part in parts if part[-1] < whole] == half_blocks(ids[:whole], start)


@pytest.mark.parametrize("threads", [2, 3, 16])
@pytest.mark.parametrize("length", LENGTHS)
def test_threads_change_no_bit(weights: Path, length: int, threads: int) -> None:
    ids = ids_of(length)
    alone, together = (NumpyDecoder.load(weights, threads=count) for count in (1, threads))
    for _ in range(5):
        assert np.array_equal(together.prefill([ids]), alone.prefill([ids]))
        for token in ids[:3]:
            assert np.array_equal(together.decode([token]), alone.decode([token]))
    for index in range(length // BLOCK_TOKENS):
        assert together.block(index) == alone.block(index)


@pytest.mark.parametrize("length", [257, 320, 700])
def test_kept_blocks_give_the_same_bits(weights: Path, length: int) -> None:
    ids = ids_of(length)
    decoder = NumpyDecoder.load(weights, threads=2)
    cold = decoder.prefill([ids])
    blocks = [decoder.block(index) for index in range((length - 1) // BLOCK_TOKENS)]
    for count in range(len(blocks) + 1):
        assert np.array_equal(decoder.prefill_after(blocks[:count], ids), cold)


def test_one_text_is_scored_on_all_threads_with_the_same_numbers(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt_bigcode.backends.numpy_decoder._CHUNK_TOKENS", 100)
    rows = [ScoredRow(ids_of(length), first) for length, first in ((900, 1), (350, 220), (2, 1))]
    decoder = NumpyDecoder.load(weights)
    seen = set()
    head = decoder.head

    def watched(states: Any) -> Any:
        seen.add(threading.get_ident())
        return head(states)

    monkeypatch.setattr(decoder, "head", watched)
    alone = [NumpyScorer(decoder).log_probabilities([row])[0] for row in rows]
    assert len(seen) == 1
    together = NumpyScorer(decoder, threads=3).log_probabilities(rows)
    for row, one, among in zip(rows, alone, together, strict=True):
        split = NumpyScorer(decoder, threads=3).log_probabilities([row])[0]
        assert np.array_equal(split, one)
        assert np.array_equal(among, one)
    assert len(seen) > 1


def new_row(layers: int = 2) -> KVRow:
    return KVRow(np.empty((layers, 2, 1, 0, 4), np.float32))


class Reader:
    """Puts each token's id where its keys and values belong, and looks at all before it."""

    def __init__(self, fails_at: int | None = None, error: type[BaseException] = OSError) -> None:
        self.fails_at, self.error = fails_at, error
        self.begun: list[int] = []

    def __call__(self, row: KVRow, tokens: Sequence[int]) -> int:
        start = row.length
        self.begun.append(start)
        both = np.tile(np.asarray(tokens, np.float32)[None, None, :, None], (2, 1, 1, 4))
        for layer in range(2):
            if layer == 1 and start == self.fails_at:
                raise self.error("it fails")
            row.put(layer, both + 1000 * layer)
            held = row.store[layer, :, :, : start + len(tokens)]
            assert (held == (np.arange(start + len(tokens)) + 1000 * layer)[:, None]).all()
        row.length += len(tokens)
        return start


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_every_part_sees_all_before_it(threads: int) -> None:
    parts = [range(start, min(start + 10, 1234)) for start in range(0, 1234, 10)]
    row = new_row()
    assert read_parts(Reader(), row, parts, threads) == list(range(0, 1234, 10))
    assert row.length == 1234


@pytest.mark.parametrize("fails_at", [0, 10, 500, 990])
@pytest.mark.parametrize("error", [OSError, MemoryError, KeyboardInterrupt])
def test_an_error_ends_all_threads_and_is_raised(fails_at: int, error: type[BaseException]) -> None:
    parts = [range(start, start + 10) for start in range(0, 1000, 10)]
    reader, raised = Reader(fails_at, error), list[BaseException]()

    def call() -> None:
        try:
            read_parts(reader, new_row(), parts, 4)
        except BaseException as found:  # noqa: BLE001 - looked at below
            raised.append(found)

    before = threading.active_count()
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert [type(found) for found in raised] == [error]
    end = monotonic() + SECONDS  # after Ctrl-C nobody has waited for the others
    while threading.active_count() > before and monotonic() < end:
        sleep(0.01)
    assert threading.active_count() == before
    # The parts that others had begun end too, but no new ones begin.
    assert len(reader.begun) <= fails_at // 10 + 1 + 4


def test_fewer_threads_than_asked_for_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    class Denied(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(numpy_threads, "Thread", Denied)
    parts = [range(start, start + 10) for start in range(0, 100, 10)]
    assert len(read_parts(Reader(), new_row(), parts, 4)) == 10
