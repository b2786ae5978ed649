"""KeyValueCache: the keys and values of the tokens seen so far; knows no attention.

Keys and values of a token lie side by side in one tensor, as in the reference's merged cache, and
multi-query attention has one head of them: 2 * L * D numbers a token.
"""

from collections.abc import Sequence

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
        shape = (config.n_layer, batch_size, config.kv_heads, capacity, 2 * config.head_dim)
        self._store = torch.empty(shape, dtype=dtype, device=device)
        self._length = 0

    @property
    def length(self) -> int:
        """Tokens seen, S."""
        return self._length

    @property
    def batch_size(self) -> int:
        """Rows, B."""
        return self._store.shape[1]

    @property
    def capacity(self) -> int:
        """Tokens that fit before the next growth."""
        return self._store.shape[3]

    @property
    def bytes_per_token(self) -> int:
        """Bytes that one token of one row takes."""
        layers, _, heads, _, size = self._store.shape
        return layers * heads * size * self._store.element_size()

    @property
    def store(self) -> Tensor:
        """All of the memory, [L, B, K, capacity, 2D]; another tensor after a growth."""
        return self._store

    def clear_unused(self) -> None:
        """Write zeros behind the tokens seen, for who reads that too and masks it: NaN stays."""
        self._store[:, :, :, self._length :] = 0

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` tokens in all, keeping what is there."""
        if tokens <= self.capacity:
            return
        wanted = max(tokens, 2 * self.capacity)
        capacity = -(-wanted // _BLOCK_TOKENS) * _BLOCK_TOKENS
        layers, batch, heads, _, size = self._store.shape
        grown = self._store.new_empty((layers, batch, heads, capacity, size))
        grown[:, :, :, : self._length] = self._store[:, :, :, : self._length]
        self._store = grown

    def append(self, layer: int, key_value: Tensor) -> Tensor:
        """Store one layer's new keys and values and return all of them.

        Args:
            layer: index of the layer.
            key_value: [B, K, T, 2D], keys first. Gradients do not flow through the store.

        Returns:
            [B, K, S, 2D], a view of the store.

        Raises:
            InputError: other layers, rows, heads or numbers than the cache was made for.
        """
        batch, heads, new, size = key_value.shape
        layers, *expected, _, expected_size = self._store.shape
        if (
            layer >= layers
            or [batch, heads, size] != [*expected, expected_size]
            or key_value.dtype != self._store.dtype
        ):
            raise InputError(
                f"past_key_values: made for {layers} layers of {expected} rows and heads of "
                f"{self._store.dtype}, got {[batch, heads]} of {key_value.dtype}"
            )
        end = self._length + new
        self.reserve(end)
        self._store[layer, :, :, self._length : end] = key_value.detach()
        return self._store[layer, :, :, :end]

    def open(self, new: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Make room for T more tokens of the only row and its one head.

        Returns:
            For each layer where the new keys and values go [T, 2D], all keys [D, S], and all
            values [S, D]: views of the store, good until the next call.
        """
        end, half = self._length + new, self._store.shape[-1] // 2
        self.reserve(end)
        seen = self._store[:, 0, 0, :end]
        keys, values = seen[..., :half].transpose(1, 2), seen[..., half:]
        return seen[:, self._length :].unbind(0), keys.unbind(0), values.unbind(0)

    def advance(self, tokens: int) -> None:
        """Count `tokens` more as seen, after every layer has appended them."""
        self._length += tokens

    def tokens(self, start: int, end: int) -> bytes:
        """The keys and values of some tokens of the only row."""
        part = self._store[:, 0, :, start:end].contiguous().cpu()
        return part.view(torch.uint8).numpy().tobytes()

    def restore(self, data: bytearray, tokens: int) -> None:
        """Append tokens to the only row that `tokens` gave."""
        layers, _, heads, _, size = self._store.shape
        part = torch.frombuffer(data, dtype=self._store.dtype).view(layers, heads, tokens, size)
        self.reserve(self._length + tokens)
        self._store[:, 0, :, self._length : self._length + tokens] = part.to(self._store.device)
        self._length += tokens

    def truncate(self, length: int) -> None:
        """Forget every token after the first `length`.

        Raises:
            ContextError: there are fewer.
        """
        if not 0 <= length <= self._length:
            raise ContextError(f"cannot truncate {self._length} cached tokens to {length}")
        self._length = length

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order; a row may be named more than once.

        Raises:
            InputError: a row that is not there.
        """
        if any(not 0 <= row < self.batch_size for row in rows):
            raise InputError(f"rows: {list(rows)} are not all among {self.batch_size}")
        index = torch.tensor(list(rows), dtype=torch.long, device=self._store.device)
        self._store = self._store.index_select(1, index)

    def layer(self, index: int) -> Tensor:
        """One layer's keys and values, [B, K, S, 2D], a view of the store."""
        return self._store[index, :, :, : self._length]
