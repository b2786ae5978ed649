"""TorchDecoder: a PyTorch language model as the decoder that `generation` uses."""

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from itertools import accumulate
from types import MappingProxyType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt_bigcode.backends.devices import memory_errors
from gpt_bigcode.backends.numpy_heads import finite
from gpt_bigcode.backends.torch_single_row import MOST_TOKENS, RowTrunk, is_exact
from gpt_bigcode.hardware import processor_name
from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM
from gpt_bigcode.modeling.kv_cache import KeyValueCache
from gpt_bigcode.quantization.int8_kernel import MANY_ROWS
from gpt_bigcode.quantization.linear import Int4Linear

PREFILL_CHUNK_TOKENS = 512
_SPARE_TOKENS = 256
_LOOSE_TOKENS = 64  # for fewer, attention one token at a time is a small part of the work
_GUESS_COSTS = MappingProxyType({"cpu": 0.25, "cuda": 0.05})


class TorchDecoder:
    """Rows of tokens with their cached keys and values.

    Rows of different lengths are padded on the left; positions are counted over the mask, so a row
    computes what it would compute alone. Equal prompts are computed once and their cache is copied.
    Long prompts are prefilled in chunks, so that memory for activations does not grow with them,
    and the head is applied to the last token only.
    """

    def __init__(
        self, model: GPTBigCodeForCausalLM, *, chunk_tokens: int = PREFILL_CHUNK_TOKENS
    ) -> None:
        self._model = model
        self._chunk = chunk_tokens
        scale = model.transformer.ln_f.weight  # of the type of activations; tables may differ
        self._device, self._dtype = scale.device, scale.dtype
        trunk = model.transformer
        self._row_trunk = RowTrunk(trunk) if RowTrunk.fits(trunk) else None
        self._cache: KeyValueCache | None = None
        self._padding = torch.zeros(0, dtype=torch.long)  # [B], tokens of padding on the left
        self._padded = False

    @property
    def model(self) -> GPTBigCodeForCausalLM:
        """The model itself."""
        return self._model

    @property
    def context_length(self) -> int:
        """The most tokens that a row may have."""
        return self._model.config.n_positions

    @property
    def vocabulary_size(self) -> int:
        """V, padding rows of the token table included."""
        return self._model.config.vocab_size

    @cached_property
    def exact_steps(self) -> bool:
        """Whether `append` gives, bit for bit, what `decode` gives.

        In int8 it does, because integers add up exactly. Other types sum the products of several
        rows in another order than those of one row.
        """
        return self._row_trunk is not None and is_exact(self._model)

    @property
    def guess_cost(self) -> float:
        """What one more token of `append` costs, in steps of `decode`.

        A step reads all weights once; on a processor the products of a few more rows add to that.
        """
        return _GUESS_COSTS["cuda" if self._device.type == "cuda" else "cpu"]

    @cached_property
    def machine_epsilon(self) -> float:
        """That of the activations' type; int4 layers round theirs to bfloat16."""
        layers = self._model.transformer.modules()
        rounded = any(isinstance(layer, Int4Linear) for layer in layers)
        return torch.finfo(torch.bfloat16 if rounded else self._dtype).eps

    @torch.inference_mode()
    def prefill(self, prompts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Forget everything and prefill one row per prompt; [B, V].

        Raises:
            MemoryLimitError: the cache does not fit.
        """
        distinct = list(dict.fromkeys(tuple(prompt) for prompt in prompts))
        width = max(len(prompt) for prompt in distinct)
        padding = [width - len(prompt) for prompt in distinct]
        rows = [[0] * pad + list(row) for pad, row in zip(padding, distinct, strict=True)]
        ids = torch.tensor(rows, device=self._device)
        self._padding = torch.tensor(padding, device=self._device)
        self._padded = any(padding)
        with memory_errors(f"{len(prompts)} rows of {width} tokens"):
            self._cache = self._new_cache(len(distinct), width + _SPARE_TOKENS)
            logits = self._head(self._read_parts(ids, self._cache))
            if len(distinct) < len(prompts):
                places = {prompt: place for place, prompt in enumerate(distinct)}
                index = [places[tuple(prompt)] for prompt in prompts]
                self.select_rows(index)
                logits = logits[index]
        return logits

    @torch.inference_mode()
    def decode(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Append one token to each row; [B, V]."""
        ids = torch.tensor(list(tokens), device=self._device).unsqueeze(1)
        with memory_errors(f"{len(tokens)} rows"):
            return self._head(self._read(ids, self._filled()))

    @torch.inference_mode()
    def append(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Append T tokens to the only row, in one pass; the logits after each of them, [T, V]."""
        ids = torch.tensor([list(tokens)], device=self._device)
        with memory_errors(f"{len(tokens)} tokens"):
            return self._head(self._read_all(ids, self._filled())[0])

    @torch.inference_mode()
    def append_each(
        self, decoders: Sequence[Self], tokens: Sequence[Sequence[int]]
    ) -> list[NDArray[np.float32]]:
        """Append tokens to the only row of each decoder, in one pass; see `BlockDecoder`."""
        if self._row_trunk is None:
            raise RuntimeError("only for exact steps")
        counts = [len(part) for part in tokens]
        if sum(counts) >= MANY_ROWS and len(counts) > 1:  # which would be other products
            half = len(counts) // 2
            first = self.append_each(decoders[:half], tokens[:half])
            return first + self.append_each(decoders[half:], tokens[half:])
        ids = torch.tensor([token for part in tokens for token in part])
        caches = [decoder._filled() for decoder in decoders]  # noqa: SLF001 - its own class
        with memory_errors(f"{len(ids)} tokens"):
            logits = self._head(self._row_trunk.read_rows(ids, caches, counts))
        return np.split(logits, list(accumulate(counts))[:-1])

    @torch.inference_mode()
    def fork(self) -> Self:
        """A copy of this decoder and its rows, with its own memory."""
        other = copy(self)
        with memory_errors("a copy of keys and values"):
            other._cache = self._filled().copy()  # noqa: SLF001 - its own class
        return other

    @property
    def block_tokens(self) -> int:
        """How many tokens of a prompt are computed at once."""
        return self._chunk

    @property
    def loose_tokens(self) -> int:
        """A shorter tail of a prompt gives the same bits however it is split; 0: no tail does."""
        return _LOOSE_TOKENS if self.exact_steps else 0

    def ends(self, length: int) -> list[int]:
        """Where the parts of a prompt end; each part is one forward pass.

        With exact steps, the parts after the blocks halve in size, so that a text that grows by a
        token keeps nearly all of its parts.
        """
        found = list(range(self._chunk, length, self._chunk))
        place, size = length // self._chunk * self._chunk, self._chunk // 2
        while self.exact_steps and size >= _LOOSE_TOKENS:
            if place + size < length:
                place += size
                found.append(place)
            size //= 2
        return [*found, length]

    @property
    def block_bytes(self) -> int:
        """How many bytes the keys and values of a block take."""
        config = self._model.config
        numbers = config.n_layer * config.kv_heads * 2 * config.head_dim * self._chunk
        return numbers * self._dtype.itemsize

    @property
    def identity(self) -> str:
        """What else the results depend on."""
        layers = sorted({type(module).__name__ for module in self._model.transformer.h.modules()})
        how = f"{self._dtype}, {torch.get_num_threads()} threads, {processor_name()}"
        return f"PyTorch {torch.__version__}, {self._device}, {layers}, {how}"

    @torch.inference_mode()
    def prefill_after(
        self, blocks: Sequence[bytes], prompt: Sequence[int], known: int | None = None
    ) -> NDArray[np.float32]:
        """Forget everything, restore the prompt's first tokens and prefill the rest. [1, V].

        Raises:
            MemoryLimitError: the cache does not fit.
        """
        ids = torch.tensor([list(prompt)], device=self._device)
        with memory_errors(f"{len(prompt)} tokens"):
            cache = self._restored(blocks, len(prompt))
            if known is not None:
                cache.truncate(known)
            return self._head(self._read_parts(ids, cache))

    @torch.inference_mode()
    def restore(self, blocks: Sequence[bytes]) -> None:
        """Forget everything and restore tokens, as returned by `block` or `tokens`.

        Raises:
            MemoryLimitError: the cache does not fit.
        """
        tokens = sum(map(len, blocks)) * self._chunk // self.block_bytes
        with memory_errors(f"{tokens} tokens"):
            self._restored(blocks, tokens)

    def _restored(self, blocks: Sequence[bytes], tokens: int) -> KeyValueCache:
        """A cache of one row with these blocks and spare room beyond `tokens`."""
        self._padding = torch.zeros(1, dtype=torch.long, device=self._device)
        self._padded = False
        self._cache = self._new_cache(1, tokens + _SPARE_TOKENS)
        for block in blocks:
            self._cache.restore(bytearray(block), len(block) * self._chunk // self.block_bytes)
        return self._cache

    def block(self, index: int) -> bytes:
        """The keys and values of a whole block of the only row."""
        return self.tokens(index * self._chunk, (index + 1) * self._chunk)

    def tokens(self, start: int, end: int) -> bytes:
        """The keys and values of some tokens of the only row."""
        return self._filled().tokens(start, end)

    def truncate(self, length: int) -> None:
        """Forget all tokens of the only row after the first `length`."""
        self._filled().truncate(length)

    @torch.inference_mode()
    def select_rows(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order; a row may be named more than once."""
        self._filled().select_rows(rows)
        self._padding = self._padding[list(rows)]
        self._padded = bool(self._padding.any())

    def _new_cache(self, rows: int, capacity: int) -> KeyValueCache:
        """An empty cache for at least `capacity` tokens."""
        return KeyValueCache(
            self._model.config, rows, dtype=self._dtype, device=self._device, capacity=capacity
        )

    def _filled(self) -> KeyValueCache:
        if self._cache is None:
            raise RuntimeError("prefill comes first")
        return self._cache

    def _read_parts(self, ids: Tensor, cache: KeyValueCache) -> Tensor:
        """Compute the part of [B, T] that is not in the cache; the last token's state, [B, E]."""
        for end in self.ends(ids.shape[1]):
            if end > cache.length:
                hidden = self._read(ids[:, cache.length : end], cache)
        return hidden

    def _read(self, ids: Tensor, cache: KeyValueCache) -> Tensor:
        """[B, T] -> [B, E], the last token's state."""
        return self._read_all(ids, cache, last=True)[:, -1]

    def _read_all(self, ids: Tensor, cache: KeyValueCache, *, last: bool = False) -> Tensor:
        """[B, T] -> [B, T, E], every token's state; with `last` [B, 1, E], the last one's."""
        alone = len(ids) == 1 and not self._padded
        most = max(MOST_TOKENS, self.loose_tokens - 1)
        if alone and self._row_trunk is not None and ids.shape[1] <= most:
            return self._row_trunk(ids[0], cache).unsqueeze(0)
        mask = None
        if self._padded:
            seen = cache.length + ids.shape[1]
            mask = torch.arange(seen, device=self._device) >= self._padding[:, None]
        wanted = None
        if last and ids.shape[1] > 1:
            wanted = torch.full((len(ids),), ids.shape[1] - 1, device=self._device)
        output = self._model.transformer(
            ids, past_key_values=cache, attention_mask=mask, use_cache=True, wanted_tokens=wanted
        )
        return output.last_hidden_state  # type: ignore[no-any-return]

    def _head(self, hidden: Tensor) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._model.lm_head(hidden).float().cpu().numpy()
        # Only here the type is known; other types are checked where a token is chosen.
        return finite(logits, float16=True) if self._dtype is torch.float16 else logits
