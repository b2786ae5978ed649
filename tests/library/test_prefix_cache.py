"""Warm = cold, bit for bit; and whatever is wrong with the files, only time is lost."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from math import inf
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt_bigcode.backends.interfaces import BlockDecoder
from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.generation.prefix_cache import PrefixDecoder, prefix_cache

ENGINES = ("numpy", "numpy-multi-head", "torch", "torch-multi-head", "torch-bfloat16")


def checkpoint(folder: Path, engine: str = "numpy", seed: int = 3) -> Path:
    # Imported here, because other processes import this file too.
    from gpt_bigcode.checkpoint.loading import save_model
    from reference_models import make_ours, tiny_fields

    folder.mkdir(exist_ok=True)
    fields = tiny_fields(n_positions=1200, multi_query="multi-head" not in engine)
    save_model(make_ours(fields, seed=seed), folder)
    return folder


def open_decoder(folder: Path, engine: str = "numpy") -> BlockDecoder:
    if engine.startswith("numpy"):
        return NumpyDecoder.load(folder)
    import torch

    from gpt_bigcode.backends.torch_decoder import TorchDecoder
    from gpt_bigcode.checkpoint.loading import load_model

    dtype = torch.bfloat16 if "bfloat16" in engine else torch.float32
    return TorchDecoder(load_model(folder, dtype=dtype), chunk_tokens=64)  # type: ignore[arg-type]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def kept(decoder: BlockDecoder, folder: Path, weights: str = "ab", **limit: int) -> PrefixDecoder:
    """A decoder with a cache in a folder, which keeps all whole blocks and nothing else."""
    return PrefixDecoder(
        decoder,
        prefix_cache(folder / "prefixes", **limit),
        weights,
        least_seconds=0.0,
        least_rest_seconds=inf,
    )


def entries(folder: Path) -> list[Path]:
    return sorted((folder / "prefixes").glob("*.kv"))


def ids(length: int, seed: int = 1) -> list[int]:
    tokens: list[int] = np.random.default_rng(seed).integers(0, 53, length).tolist()
    return tokens


def answer(decoder: Any, prompt: Sequence[int], steps: int = 6) -> np.ndarray:
    """The logits behind a prompt and behind each of some greedy tokens."""
    rows = [decoder.prefill([prompt])[0]]
    for _ in range(steps):
        rows.append(decoder.decode([int(rows[-1].argmax())])[0])
    return np.stack(rows)


def test_warm_is_cold_bit_for_bit(tmp_path: Path, engine: str) -> None:
    folder = checkpoint(tmp_path / "model", engine)
    warm = kept(open_decoder(folder, engine), tmp_path)
    cold = open_decoder(folder, engine)
    size = cold.block_tokens
    start = ids(3 * size + 9)
    prompts = [
        (start, 0),
        (start, 3),
        ([*start, *ids(50, 2)], 3),  # more was written
        ([*start[:-4], *ids(30, 3)], 3),  # the end was changed
        ([*start[: 2 * size + 5], *ids(100, 4)], 2),  # the middle was
        (start[: 2 * size], 1),  # the last token is always read
        (start[: 2 * size + 1], 2),
        (start[:7], 0),
        ([52 - start[0], *start[1:]], 0),  # the beginning was
    ]
    for prompt, blocks in prompts:
        expected = answer(cold, prompt)
        np.testing.assert_array_equal(answer(warm, prompt), expected)
        assert warm.reused_tokens == blocks * size
        warm.save()
        fresh = kept(open_decoder(folder, engine), tmp_path)
        np.testing.assert_array_equal(answer(fresh, prompt), expected)
        assert fresh.reused_tokens == (len(prompt) - 1) // size * size


@pytest.mark.parametrize("length", [7, 64, 150])
def test_the_same_prompt_is_not_computed_again(tmp_path: Path, engine: str, length: int) -> None:
    folder = checkpoint(tmp_path / "model", engine)
    cache = prefix_cache(tmp_path / "prefixes")
    prompt = ids(length)

    def opened() -> PrefixDecoder:
        decoder = open_decoder(folder, engine)
        return PrefixDecoder(decoder, cache, "ab", least_seconds=0.0, least_rest_seconds=0.0)

    expected = answer(open_decoder(folder, engine), prompt)
    first = opened()
    np.testing.assert_array_equal(answer(first, prompt), expected)
    first.save()
    again = opened()
    np.testing.assert_array_equal(answer(again, prompt), expected)
    assert again.reused_tokens == length
    longer = [*prompt, 5]
    np.testing.assert_array_equal(
        answer(again, longer), answer(open_decoder(folder, engine), longer)
    )
    size = again._decoder.block_tokens
    assert again.reused_tokens == (length - 1) // size * size
    for path in entries(tmp_path):
        damage(path, "cut")
    np.testing.assert_array_equal(answer(opened(), prompt), expected)


def test_several_rows_are_read_plainly(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model")
    decoder = kept(open_decoder(folder), tmp_path)
    decoder.prefill([ids(300), ids(300)])
    decoder.save()
    assert not (tmp_path / "prefixes").exists()


def test_what_numbers_depend_on_is_part_of_the_name(tmp_path: Path) -> None:
    folder, prompt = checkpoint(tmp_path / "model"), ids(300)
    first = kept(open_decoder(folder), tmp_path)
    first.prefill([prompt])
    first.save()
    for weights, decoder in (
        ("ac", open_decoder(folder)),
        ("ab", open_decoder(folder, "torch")),
        ("ab", open_decoder(folder, "torch-bfloat16")),
    ):
        other = kept(decoder, tmp_path, weights)
        other.prefill([prompt])
        assert other.reused_tokens == 0


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        {
            "flipped": data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :],
            "cut": data[:middle],
            "longer": data + b"\0",
            "empty": b"",
            "foreign": b"x" * len(data),
        }[how]
    )


@pytest.mark.parametrize("how", ["flipped", "cut", "longer", "empty", "foreign"])
def test_a_damaged_file_is_removed_and_read_anew(tmp_path: Path, how: str) -> None:
    folder, prompt = checkpoint(tmp_path / "model"), ids(600)
    decoder = kept(open_decoder(folder), tmp_path)
    expected = answer(decoder, prompt)
    decoder.save()
    files = entries(tmp_path)
    assert len(files) == 2
    for path in files:
        damage(path, how)
    np.testing.assert_array_equal(answer(decoder, prompt), expected)
    assert decoder.reused_tokens == 0
    assert len(entries(tmp_path)) < 2
    decoder.save()
    np.testing.assert_array_equal(answer(decoder, prompt), expected)
    assert decoder.reused_tokens == 512


def test_a_folder_that_cannot_be_used_costs_nothing(tmp_path: Path) -> None:
    folder, prompt = checkpoint(tmp_path / "model"), ids(300)
    (tmp_path / "prefixes").write_bytes(b"mine")
    decoder = kept(open_decoder(folder), tmp_path)
    expected = answer(open_decoder(folder), prompt)
    np.testing.assert_array_equal(answer(decoder, prompt), expected)
    decoder.save()
    np.testing.assert_array_equal(answer(decoder, prompt), expected)
    assert (tmp_path / "prefixes").read_bytes() == b"mine"


def test_blocks_are_freed_with_their_weights(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model")
    for weights in ("ab", "ac"):
        decoder = kept(open_decoder(folder), tmp_path, weights)
        decoder.prefill([ids(300)])
        decoder.save()
    assert prefix_cache(tmp_path / "prefixes").remove("ab-") > decoder._decoder.block_bytes
    assert [path.name[:3] for path in entries(tmp_path)] == ["ac-"]


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    decoder = open_decoder(checkpoint(tmp_path / "model"))
    room = 3 * (decoder.block_bytes + 100)
    ahead = kept(decoder, tmp_path, limit_bytes=room)
    for seed in range(3):
        ahead.prefill([ids(300, seed)])
        ahead.save()
    for age, path in enumerate(entries(tmp_path)):
        os.utime(path, (age, age))
    reused = []
    ahead.prefill([ids(300, 0)])  # is used again, and so the newest
    assert ahead.reused_tokens == 256
    ahead.prefill([ids(300, 7)])
    ahead.save()
    assert len(entries(tmp_path)) == 3
    for seed in (0, 7):
        ahead.prefill([ids(300, seed)])
        reused.append(ahead.reused_tokens)
    assert reused == [256, 256]


def test_what_is_read_in_no_time_is_not_kept(tmp_path: Path) -> None:
    decoder = PrefixDecoder(
        open_decoder(checkpoint(tmp_path / "model")),
        prefix_cache(tmp_path / "prefixes"),
        "ab",
        least_seconds=1e9,
    )
    decoder.prefill([ids(300)])
    decoder.save()
    assert not (tmp_path / "prefixes").exists()


def _work(arguments: tuple[Path, Path, int]) -> list[bool]:
    """One of several processes that read and write the same blocks."""
    model, path, seed = arguments
    decoder = kept(NumpyDecoder.load(model), path, limit_bytes=40_000)
    cold = NumpyDecoder.load(model)
    same = []
    for turn in range(12):
        prompt = ids(300 + turn, seed=(turn + seed) % 4)
        same.append(np.array_equal(answer(decoder, prompt, 1), answer(cold, prompt, 1)))
        decoder.save()
    return same


def test_processes_share_a_folder(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "model")
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(_work, [(model, tmp_path, seed) for seed in range(3)]))
    assert all(all(same) for same in results)
    assert entries(tmp_path)
