"""KeyValueCache: the keys and values of the tokens seen so far.

All keys of a layer are contiguous, and so are all values: a product reads nothing that it does not
need. Multi-query attention has a single head: 2 * L * D numbers per token.
"""

from collections.abc import Sequence
from copy import copy
from typing import Self

import torch
from torch import Tensor

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import ContextError, InputError

_BLOCK_TOKENS = 256


class KeyValueCache:
    """Preallocated keys and values of all layers.

    `capacity` is the number of tokens that fit without growing; it grows by doubling, in blocks of
    256 tokens. `length` is the number of tokens that every layer has.
    """

    def __init__(
        self,
        config: GPTBigCodeConfig,
        batch_size: int = 1,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        capacity: int = _BLOCK_TOKENS,
    ) -> None:
        shape = (config.n_layer, 2, batch_size, config.kv_heads, capacity, config.head_dim)
        self._store = torch.empty(shape, dtype=dtype, device=device)
        self._length = 0

    @property
    def length(self) -> int:
        """Tokens seen, S."""
        return self._length

    @property
    def batch_size(self) -> int:
        """Rows, B."""
        return self._store.shape[2]

    @property
    def capacity(self) -> int:
        """Tokens that fit before the next growth."""
        return self._store.shape[4]

    @property
    def bytes_per_token(self) -> int:
        """Bytes that one token of one row takes."""
        layers, both, _, heads, _, size = self._store.shape
        return layers * both * heads * size * self._store.element_size()

    @property
    def store(self) -> Tensor:
        """All of the memory, [L, 2, B, K, capacity, D]; growing replaces this tensor."""
        return self._store

    def copy(self) -> Self:
        """A copy with its own memory."""
        other = copy(self)
        other.select_rows(range(self.batch_size))
        return other

    def clear_unused(self) -> None:
        """Zero the memory after the tokens seen: a mask does not hide NaN there."""
        self._store[..., self._length :, :] = 0

    def reserve(self, tokens: int) -> None:
        """Grow to at least `tokens` tokens, keeping the content."""
        if tokens <= self.capacity:
            return
        wanted = max(tokens, 2 * self.capacity)
        capacity = -(-wanted // _BLOCK_TOKENS) * _BLOCK_TOKENS
        *shape, _, size = self._store.shape
        grown = self._store.new_empty((*shape, capacity, size))
        grown[..., : self._length, :] = self._store[..., : self._length, :]
        self._store = grown

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store one layer's new keys and values and return all of them.

        Args:
            layer: index of the layer.
            key: [B, K, T, D]. Gradients do not flow through the store.
            value: the same shape.

        Returns:
            All keys and all values, [B, K, S, D], views of the store.

        Raises:
            InputError: the cache was made for other layers, rows, heads or another type.
        """
        batch, heads, new, size = key.shape
        layers, _, *expected, _, expected_size = self._store.shape
        if (
            layer >= layers
            or [batch, heads, size] != [*expected, expected_size]
            or key.dtype != self._store.dtype
        ):
            raise InputError(
                f"past_key_values: made for {layers} layers of {expected} rows and heads of "
                f"{self._store.dtype}, got {[batch, heads]} of {key.dtype}"
            )
        end = self._length + new
        self.reserve(end)
        stored = self._store[layer]
        stored[0, :, :, self._length : end] = key.detach()
        stored[1, :, :, self._length : end] = value.detach()
        return stored[0, :, :, :end], stored[1, :, :, :end]

    def open(self, new: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Make room for T more tokens of the only row and its one head.

        Returns:
            For each layer: where the new keys and values go [2, T, D], all keys [D, S], all
            values [S, D]: views of the store, valid until the next call.
        """
        end = self._length + new
        self.reserve(end)
        seen = self._store[:, :, 0, 0, :end]
        keys, values = seen[:, 0].transpose(1, 2), seen[:, 1]
        return seen[:, :, self._length :].unbind(0), keys.unbind(0), values.unbind(0)

    def advance(self, tokens: int) -> None:
        """Count `tokens` more as seen, after every layer has appended them."""
        self._length += tokens

    def tokens(self, start: int, end: int) -> bytes:
        """The keys and values of some tokens of the only row."""
        part = self._store[:, :, 0, :, start:end].contiguous().cpu()
        return part.view(torch.uint8).numpy().tobytes()

    def restore(self, data: bytearray, tokens: int) -> None:
        """Append to the only row what `tokens` returned."""
        layers, both, _, heads, _, size = self._store.shape
        part = torch.frombuffer(data, dtype=self._store.dtype)
        part = part.view(layers, both, heads, tokens, size).to(self._store.device)
        self.reserve(self._length + tokens)
        self._store[:, :, 0, :, self._length : self._length + tokens] = part
        self._length += tokens

    def truncate(self, length: int) -> None:
        """Forget every token after the first `length`.

        Raises:
            ContextError: there are fewer.
        """
        if not 0 <= length <= self._length:
            raise ContextError(f"cannot truncate {self._length} cached tokens to {length}")
        self._length = length

    def select_rows(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order; a row may be named more than once.

        Raises:
            InputError: a row that is not there.
        """
        if any(not 0 <= row < self.batch_size for row in rows):
            raise InputError(f"rows: {list(rows)} are not all among {self.batch_size}")
        index = torch.tensor(list(rows), dtype=torch.long, device=self._store.device)
        self._store = self._store.index_select(2, index)

    def layer(self, index: int) -> tuple[Tensor, Tensor]:
        """One layer's keys and values, each [B, K, S, D], views of the store."""
        key, value = self._store[index, ..., : self._length, :].unbind(0)
        return key, value
