"""How fast a decoder is on this machine, and how fast it could be.

Every token reads all weights and the cache once, so that the rate at which memory can be read is
the limit of decoding. It is measured here, with as many threads.
"""

import ctypes
import gc
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from types import MappingProxyType

import numpy as np

from gpt_bigcode.backends.interfaces import Decoder
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import ContextError

_READ_BYTES = 512 << 20  # well beyond any cache
_READS = 5
_OWN_STATUS = Path("/proc/self/status")
_DECODED_TOKENS = 32


WEIGHT_BYTES = MappingProxyType(
    {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "int8": 1.0, "int4": 0.5625}
)
"""Bytes of a weight; int4 with a scale and an offset for every 64."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The median of some measurements, and their range."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """From one measurement or more."""
        return cls(median=median(values), lowest=min(values), highest=max(values))


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What one decoder did.

    Attributes:
        prefill_tokens_per_second: of a prompt.
        decode_tokens_per_second: after it, one row, without speculation.
        first_token_seconds: from a loaded model and the prompt to the first new token.
    """

    prefill_tokens_per_second: Spread
    decode_tokens_per_second: Spread
    first_token_seconds: Spread


def require_room(context: int, positions: int) -> int:
    """How many tokens can be decoded and timed after `context` others.

    Raises:
        ContextError: none.
    """
    room = positions - 1 - context
    if context < 1 or room < 1:
        raise ContextError(f"{context} tokens leave no room in {positions}")
    return room


def measure_decoder(decoder: Decoder, *, context: int, repeat: int) -> Rates:
    """Prefill `context` random tokens and decode more, `repeat` times after one to warm up.

    Raises:
        ContextError: the model has no room for that.
    """
    room = require_room(context, decoder.context_length)
    prompt = np.random.default_rng(0).integers(0, decoder.vocabulary_size, context).tolist()
    count = min(_DECODED_TOKENS, room)
    reading, writing, first = [], [], []
    for turn in range(repeat + 1):
        started = perf_counter()
        token = int(decoder.prefill([prompt])[0].argmax())
        read = perf_counter()
        for _ in range(count):
            token = int(decoder.decode([token])[0].argmax())
        ended = perf_counter()
        if turn:
            reading.append(context / (read - started))
            writing.append(count / (ended - read))
            first.append(read - started)
    return Rates(
        prefill_tokens_per_second=Spread.of(reading),
        decode_tokens_per_second=Spread.of(writing),
        first_token_seconds=Spread.of(first),
    )


def measure_bandwidth(threads: int) -> float:
    """Bytes per second that threads read from memory: the best of some passes over 512 MiB.

    Raises:
        MemoryError: there is no room for the array.
    """
    numbers = np.ones(_READ_BYTES // 4, np.float32)
    parts = np.array_split(numbers, threads)
    with ThreadPoolExecutor(threads) as pool:
        best = float("inf")
        for _ in range(_READS):
            started = perf_counter()
            list(pool.map(_read, parts))
            best = min(best, perf_counter() - started)
    return numbers.nbytes / best


def _read(part: "np.ndarray[tuple[int], np.dtype[np.float32]]") -> float:
    return float(part @ part)


def bytes_per_token(config: GPTBigCodeConfig, precision: str, context: int) -> float:
    """What decoding one token reads: all weights but the positions, and the cache."""
    weight = WEIGHT_BYTES[precision]
    weights = (config.parameter_count() - config.n_positions * config.n_embd) * weight
    cached = config.n_layer * config.kv_heads * 2 * config.head_dim * context
    return weights + cached * (4.0 if weight == WEIGHT_BYTES["float32"] else 2.0)


def resident_bytes() -> int | None:
    """The memory that this process holds now; None where the system does not tell.

    What was freed is given back to the system first.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if _OWN_STATUS.exists() else None
    if trim is not None:
        trim(0)
    found = re.search(r"^VmRSS:\s+(\d+) kB$", _own_status(), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _own_status() -> str:
    try:
        return _OWN_STATUS.read_text("ascii", "replace")
    except OSError:
        return ""
