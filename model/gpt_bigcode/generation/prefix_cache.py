"""Keys and values of the beginnings of prompts, kept on disk for the next call.

A prompt is cut into the blocks in which its decoder reads it, and the state of each whole block is
an entry. Its name is a hash of what the numbers depend on and of all tokens up to the block's end,
so a call finds the longest beginning that it shares with any earlier call. The rest is read in the
same blocks as without the cache, so every product has the same shapes and the same result, bit for
bit.
"""

import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from time import perf_counter
from typing import Self

import numpy as np

from gpt_bigcode.backends.interfaces import BlockDecoder, Logits, StepDecoderWrapper
from gpt_bigcode.checkpoint.tensor_index import weights_id
from gpt_bigcode.errors import UnreadableFileError
from gpt_bigcode.storage.disk_cache import DiskCache

_VERSION = 3  # to be counted up whenever the same tokens give other numbers
_NAME_BYTES = 16
_LIMIT_BYTES = 1 << 30
_LEAST_SECONDS = 0.01


def prefix_cache(folder: Path, *, limit_bytes: int = _LIMIT_BYTES) -> DiskCache:
    """The cache of prompt beginnings in a folder."""
    return DiskCache(path=folder.absolute(), suffix=".kv", limit_bytes=limit_bytes)


class PrefixDecoder(StepDecoderWrapper):
    """A decoder that begins a prompt of one row with what is kept of it; `save` keeps the rest."""

    _decoder: BlockDecoder

    def __init__(
        self,
        decoder: BlockDecoder,
        cache: DiskCache,
        weights: str,
        *,
        least_seconds: float = _LEAST_SECONDS,
    ) -> None:
        """Wrap a decoder.

        Args:
            decoder: what computes.
            cache: where blocks are kept.
            weights: the `weights_id` of its weights.
            least_seconds: a block that is read faster than this is not kept.
        """
        super().__init__(decoder)
        self.reused_tokens = 0
        self._cache, self._weights = cache, weights
        self._least_seconds = least_seconds
        self._new: list[tuple[int, str]] = []  # blocks that are not kept yet

    @classmethod
    def open(cls, decoder: BlockDecoder, folder: Path, checkpoint: Path) -> Self | None:
        """Wrap the decoder of a checkpoint; None if its files cannot be identified."""
        try:
            return cls(decoder, prefix_cache(folder), weights_id(checkpoint))
        except UnreadableFileError:
            return None

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Logits:
        """Forget everything and read one row per prompt. [B, V]."""
        self.reused_tokens, self._new = 0, []
        if len(prompts) != 1:
            return self._decoder.prefill(prompts)
        (prompt,) = prompts
        names = self._names(prompt)
        blocks: list[bytes] = []
        for name in names:
            block = self._cache.get(name)
            if block is None or len(block) != self._decoder.block_bytes:
                break
            blocks.append(block)
        size = self._decoder.block_tokens
        self.reused_tokens = len(blocks) * size
        started = perf_counter()
        logits = self._decoder.prefill_after(blocks, prompt)
        seconds = (perf_counter() - started) * size / (len(prompt) - self.reused_tokens)
        if seconds >= self._least_seconds:
            self._new = list(enumerate(names))[len(blocks) :]
        return logits

    def save(self) -> None:
        """Keep the blocks of the last prompt; best done when its answer has been shown."""
        new, self._new = self._new, []
        for index, name in new:
            self._cache.put(name, self._decoder.block(index))
        if new:
            self._cache.trim()

    def _names(self, prompt: Sequence[int]) -> list[str]:
        """One for each whole block before the prompt's last token, which is always read."""
        size = self._decoder.block_tokens
        about = [_VERSION, self._decoder.identity, size, self._decoder.block_bytes]
        chain = blake2b(json.dumps(about).encode(), digest_size=_NAME_BYTES)
        names = []
        for start in range(0, (len(prompt) - 1) // size * size, size):
            chain.update(np.asarray(prompt[start : start + size], "<i8").tobytes())
            names.append(f"{self._weights}-{chain.hexdigest()}")
        return names
