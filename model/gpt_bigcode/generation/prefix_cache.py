"""Keys and values of the beginnings of prompts, kept on disk for the next call.

A prompt is cut into the blocks in which its decoder reads it, and the state of each whole block is
an entry. Its name is a hash of what the numbers depend on and of all tokens up to the block's end,
so a call finds the longest beginning that it shares with any earlier call. The rest is read in the
same blocks as without the cache, so every product has the same shapes and the same result, bit for
bit. Where the rest takes long, its state and the logits after it are kept too, for the same prompt.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from time import perf_counter
from typing import Self

import numpy as np

from gpt_bigcode.backends.interfaces import BlockDecoder, Logits, StepDecoderWrapper
from gpt_bigcode.checkpoint.tensor_index import weights_id
from gpt_bigcode.errors import UnreadableFileError
from gpt_bigcode.storage.disk_cache import DiskCache

_VERSION = 4  # to be counted up whenever the same tokens give other numbers
_NAME_BYTES = 16
_LIMIT_BYTES = 1 << 30
_LEAST_SECONDS = 0.01
_LEAST_REST_SECONDS = 0.25


def prefix_cache(folder: Path, *, limit_bytes: int = _LIMIT_BYTES) -> DiskCache:
    """The cache of prompt beginnings in a folder."""
    return DiskCache(path=folder.absolute(), suffix=".kv", limit_bytes=limit_bytes)


@dataclass(frozen=True)
class _Rest:
    """The tokens after the last whole block of a prompt, and the logits after them, [1, V]."""

    name: str
    tokens: range
    logits: Logits


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
        least_rest_seconds: float = _LEAST_REST_SECONDS,
    ) -> None:
        """Wrap a decoder.

        Args:
            decoder: what computes.
            cache: where blocks are kept.
            weights: the `weights_id` of its weights.
            least_seconds: a block that is read faster than this is not kept.
            least_rest_seconds: likewise for the tokens after the last whole block.
        """
        super().__init__(decoder)
        self.reused_tokens = 0
        self._cache, self._weights = cache, weights
        self._least_seconds, self._least_rest_seconds = least_seconds, least_rest_seconds
        self._new: list[tuple[int, str]] = []  # blocks that are not kept yet
        self._rest: _Rest | None = None  # likewise

    @classmethod
    def open(cls, decoder: BlockDecoder, folder: Path, checkpoint: Path) -> Self | None:
        """Wrap the decoder of a checkpoint; None if its files cannot be identified."""
        try:
            return cls(decoder, prefix_cache(folder), weights_id(checkpoint))
        except UnreadableFileError:
            return None

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Logits:
        """Forget everything and read one row per prompt. [B, V]."""
        self.reused_tokens, self._new, self._rest = 0, [], None
        if len(prompts) != 1:
            return self._decoder.prefill(prompts)
        (prompt,) = prompts
        size = self._decoder.block_tokens
        *names, whole = self._names(prompt)
        blocks: list[bytes] = []
        for name in names:
            block = self._cache.get(name)
            if block is None or len(block) != self._decoder.block_bytes:
                break
            blocks.append(block)
        if len(blocks) == len(names):
            known = self._whole(whole, blocks, prompt)
            if known is not None:
                return known
        self.reused_tokens = len(blocks) * size
        started = perf_counter()
        logits = self._decoder.prefill_after(blocks, prompt)
        a_token = (perf_counter() - started) / (len(prompt) - self.reused_tokens)
        if a_token * size >= self._least_seconds:
            self._new = list(enumerate(names))[len(blocks) :]
        rest = range(len(names) * size, len(prompt))
        if a_token * len(rest) >= self._least_rest_seconds:
            self._rest = _Rest(whole, rest, logits)
        return logits

    def _whole(self, name: str, blocks: Sequence[bytes], prompt: Sequence[int]) -> Logits | None:
        """Take over a whole prompt that was computed before; None: it was not kept."""
        kept = self._cache.get(name)
        if kept is None:
            return None
        size = self._decoder.block_tokens
        rest_bytes = self._decoder.block_bytes // size * (len(prompt) - len(blocks) * size)
        logits = np.frombuffer(kept[rest_bytes:], np.float32)
        if len(logits) != self.vocabulary_size:
            return None
        self._decoder.restore([*blocks, kept[:rest_bytes]])
        self.reused_tokens = len(prompt)
        return logits.reshape(1, -1).copy()

    def save(self) -> None:
        """Keep the blocks of the last prompt; best done when its answer has been shown."""
        new, self._new = self._new, []
        for index, name in new:
            self._cache.put(name, self._decoder.block(index))
        rest, self._rest = self._rest, None
        if rest is not None:
            state = self._decoder.tokens(rest.tokens.start, rest.tokens.stop)
            self._cache.put(rest.name, state + rest.logits.tobytes())
        if new or rest is not None:
            self._cache.trim()

    def _names(self, prompt: Sequence[int]) -> list[str]:
        """One for each whole block before the prompt's last token, and one for the whole prompt."""
        size = self._decoder.block_tokens
        about = [_VERSION, self._decoder.identity, size, self._decoder.block_bytes]
        chain = blake2b(json.dumps(about).encode(), digest_size=_NAME_BYTES)
        names = []
        for start in range(0, (len(prompt) - 1) // size * size, size):
            chain.update(np.asarray(prompt[start : start + size], "<i8").tobytes())
            names.append(f"{self._weights}-{chain.hexdigest()}")
        chain.update(np.asarray([*prompt[len(names) * size :], -1], "<i8").tobytes())
        return [*names, f"{self._weights}-{chain.hexdigest()}"]
