"""Decoding behind 4,000 tokens against decoding behind 500, in both engines.

Knows no text: weights are random, of the built-in model's size with more positions (NumPy) and of a
family member's (PyTorch). The two contexts take turns, so that a busy machine slows both alike.
Run: python benchmarks/long_context.py [--runs N] [--precision P] [--shape SHAPE]
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from typing import TYPE_CHECKING

import numpy as np

from gpt_bigcode.backends.interfaces import StepDecoder
from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.backends.select import open_decoder
from gpt_bigcode.benchmarking.random_weights import FAMILY, family_config, write_random_checkpoint
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.hardware import Precision

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_RUNS = 9
SHORT, LONG = 500, 4000
_STEPS = 8
LONG_SHAPES = [name for name in FAMILY if family_config(name).n_positions >= LONG + _STEPS]
SMALL = GPTBigCodeConfig.from_dict(
    {"n_embd": 384, "n_layer": 7, "n_head": 6, "vocab_size": 8192, "n_positions": 4096}
)


def rates(first: StepDecoder, second: StepDecoder, runs: int) -> list[list[float]]:
    """Tokens a second behind the short and the long context, one of each for every run."""
    lengths = {id(first): SHORT, id(second): LONG}
    found: dict[int, list[float]] = {id(first): [], id(second): []}
    prompt = np.random.default_rng(0).integers(0, first.vocabulary_size, LONG).tolist()
    for decoder in (first, second):
        decoder.prefill([prompt[: lengths[id(decoder)]]])
    for turn in range(-1, runs):
        for decoder in (first, second):
            decoder.truncate(lengths[id(decoder)])
            started = perf_counter()
            for _ in range(_STEPS):
                decoder.decode([1])
            if turn >= 0:
                found[id(decoder)].append(_STEPS / (perf_counter() - started))
    return [found[id(first)], found[id(second)]]


def in_numpy() -> tuple[StepDecoder, StepDecoder]:
    """Two decoders with the same weights."""
    with tempfile.TemporaryDirectory() as folder:
        write_random_checkpoint(Path(folder), SMALL)
        first = NumpyDecoder.load(Path(folder))
    return first, NumpyDecoder(SMALL, first._weights)  # noqa: SLF001


def in_pytorch(shape: str, precision: str) -> tuple[StepDecoder, StepDecoder]:
    """The same in PyTorch."""
    from gpt_bigcode.backends.torch_decoder import TorchDecoder

    config = family_config(shape)
    with tempfile.TemporaryDirectory() as folder:
        write_random_checkpoint(Path(folder), config)
        first = open_decoder(Path(folder), config, device="cpu", precision=precision)
        if not isinstance(first, TorchDecoder):
            sys.exit(f"{shape} is computed in NumPy")
        # Loaded weights may be mapped: the folder has to stay until they are read.
        return first, TorchDecoder(first.model)


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=DEFAULT_RUNS)
    parser.add_argument("--precision", choices=list(Precision), default="float32")
    parser.add_argument("--shape", choices=LONG_SHAPES, default="tiny_starcoder_py")
    options = parser.parse_args()
    runs, precision, shape = options.runs, options.precision, options.shape
    ways: dict[str, Callable[[], tuple[StepDecoder, StepDecoder]]] = {
        "pocket-coder's size, NumPy float32": in_numpy,
        f"{shape}, PyTorch {precision}": lambda: in_pytorch(shape, precision),
    }
    print(
        f"Python {platform.python_version()}, NumPy {np.__version__}, torch {version('torch')}, "
        f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; "
        f"{runs} alternating runs\n"
    )
    print(f"| | behind {SHORT} tokens | behind {LONG:,} | ratio, median (range) |")
    print("|---|---|---|---|")
    for name, way in ways.items():
        short, long = rates(*way(), runs)
        ratios = [far / near for near, far in zip(short, long, strict=True)]
        cells = " | ".join(f"{statistics.median(values):.1f}/s" for values in (short, long))
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"| {name} | {cells} | {statistics.median(ratios):.2f} ({spread}) |", flush=True)


if __name__ == "__main__":
    main()
