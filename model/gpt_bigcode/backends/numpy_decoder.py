"""The forward pass in NumPy, float32.

It is the reference that tests compare every fast path with, and it completes text with small
checkpoints in less time than `import torch` takes.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Self, TypeVar

import numpy as np

from gpt_bigcode.backends.numpy_tensors import (
    ACTIVATION_FUNCTIONS,
    BLOCK_TOKENS,
    Floats,
    KVRow,
    half_blocks,
    read_weights,
    same_numbers,
    unwarned,
)
from gpt_bigcode.checkpoint.tensor_index import CONFIG_FILE, HEAD, Task, find_tensors
from gpt_bigcode.config import ACTIVATIONS, GPTBigCodeConfig
from gpt_bigcode.errors import ContextError, InputError
from gpt_bigcode.hardware import processor_name

Result = TypeVar("Result")
Parts = Sequence[Sequence[int]]
_CHUNK_TOKENS = 512  # of a single row: large enough for threads to spend little time in Python
_SCORES_AT_ONCE = 1 << 18  # 1 MiB: few calls, and scores that stay in the cache
_GUESS_COST = 0.45  # products of single rows stay exact, and only the weights are read once
_LEAST_QUERIES = 16  # fewer at once would make too many calls


@lru_cache(maxsize=16)
def _later(tokens: int) -> Floats:
    """What masks the scores of the last T tokens among themselves, [T, 1, T], when added."""
    return np.triu(np.full((tokens, tokens), -np.inf, np.float32), 1)[:, None]


class NumpyDecoder:
    """A GPTBigCode language model as a `gpt_bigcode.backends.interfaces.Decoder`.

    Rows of different length are computed together without padding: their tokens are concatenated,
    and only attention is computed row by row.
    """

    def __init__(
        self, config: GPTBigCodeConfig, weights: Mapping[str, Floats], *, threads: int = 1
    ) -> None:
        self.config = config
        self._threads = threads
        self._weights = weights
        self._activation = ACTIVATION_FUNCTIONS[ACTIVATIONS[config.activation_function]]
        self._scale = np.float32(config.head_dim**-0.5 if config.scale_attn_weights else 1.0)
        self._rows: list[KVRow] = []
        self._stepwise = False  # compute each token of a pass as if it came alone

    @classmethod
    def load(cls, directory: Path, *, task: Task = Task.CAUSAL_LM, threads: int = 1) -> Self:
        """Load a checkpoint.

        Args:
            directory: the checkpoint.
            task: which head it has; other heads than a language model's are applied by
                `gpt_bigcode.backends.numpy_heads`.
            threads: how many parts of a prompt are computed in parallel.

        Raises:
            ConfigError, CheckpointError: as for `gpt_bigcode.checkpoint.loading.load_model`.
        """
        config = GPTBigCodeConfig.from_json_file(directory / CONFIG_FILE)
        return cls(
            config,
            read_weights(find_tensors(directory, config, task, same_numbers)),
            threads=threads,
        )

    @property
    def context_length(self) -> int:
        """The most tokens that a row may have."""
        return self.config.n_positions

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return self.config.vocab_size

    @property
    def exact_steps(self) -> bool:
        """Whether `append` gives, bit for bit, what `decode` gives token by token."""
        return True

    @property
    def guess_cost(self) -> float:
        """What one more token of `append` costs, in steps of `decode`."""
        return _GUESS_COST

    @property
    def machine_epsilon(self) -> float:
        """That of float32."""
        return float(np.finfo(np.float32).eps)

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Floats:
        """Forget everything and prefill one row per prompt, equal ones once. [B, V]."""
        read: dict[tuple[int, ...], tuple[KVRow, Floats]] = {}
        for prompt in map(tuple, prompts):
            if prompt not in read:
                row = self._empty_row()
                read[prompt] = (row, self._read_prompt(row, prompt)[0])
        chosen = [read[tuple(prompt)] for prompt in prompts]
        self._rows = [row.copy() for row, _ in chosen]
        return np.stack([logits for _, logits in chosen])

    def decode(self, tokens: Sequence[int]) -> Floats:
        """Append one token to each row. [B, V]."""
        return self.head(self._read(self._rows, [(token,) for token in tokens], last=True))

    def append(self, tokens: Sequence[int]) -> Floats:
        """Append T tokens to the only row; the logits after each, [T, V], as `decode` gives them.

        Bit for bit, because every product is computed token by token, by the same BLAS call. It is
        still faster, because all but the first token find the weights in the cache.
        """
        return self.append_each([self], [tokens])[0]

    def append_each(
        self, decoders: Sequence[Self], tokens: Sequence[Sequence[int]]
    ) -> list[Floats]:
        """Append tokens to the only row of each decoder, in one pass; see `append`."""
        rows = [row for decoder in decoders for row in decoder._rows]  # noqa: SLF001 - its own class
        self._stepwise = True
        try:
            logits = self.head(self._read(rows, tokens))
        finally:
            self._stepwise = False
        return np.split(logits, list(accumulate(map(len, tokens)))[:-1])

    def fork(self) -> Self:
        """A copy of this decoder and its rows, with its own memory."""
        other = copy(self)
        other._rows = [row.copy() for row in self._rows]  # noqa: SLF001 - its own class
        return other

    @property
    def block_tokens(self) -> int:
        """How many tokens of a prompt are kept together."""
        return BLOCK_TOKENS

    @property
    def loose_tokens(self) -> int:
        """See `BlockDecoder`: no tail of a prompt may be split elsewhere."""
        return 0

    def ends(self, length: int) -> list[int]:
        """Where the parts of a prompt end; see `BlockDecoder`."""
        return [*range(BLOCK_TOKENS, length, BLOCK_TOKENS), length]

    @property
    def block_bytes(self) -> int:
        """How many bytes the keys and values of a block take."""
        config, itemsize = self.config, np.dtype(np.float32).itemsize
        return 2 * config.n_layer * config.kv_heads * BLOCK_TOKENS * config.head_dim * itemsize

    @property
    def identity(self) -> str:
        """What else the results depend on."""
        threads = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS")
        how = f"{threads} threads, parts of {BLOCK_TOKENS // 2}, {processor_name()}"
        return f"NumPy {np.__version__}, float32, {how}"

    def prefill_after(
        self, blocks: Sequence[bytes], prompt: Sequence[int], known: int | None = None
    ) -> Floats:
        """Forget everything, restore the prompt's first tokens and prefill the rest. [1, V]."""
        self.restore(blocks)
        if known is not None:
            self.truncate(known)
        return self._read_prompt(self._rows[0], prompt)

    def restore(self, blocks: Sequence[bytes]) -> None:
        """Forget everything and restore tokens, as returned by `block` or `tokens`."""
        row = self._empty_row()
        *shape, _, size = row.store.shape
        for block in blocks:
            tokens = np.frombuffer(block, np.float32).reshape(*shape, -1, size)
            end = row.length + tokens.shape[-2]
            row.reserve(end)
            row.store[..., row.length : end, :] = tokens
            row.length = end
        self._rows = [row]

    def block(self, index: int) -> bytes:
        """The keys and values of a whole block of the only row."""
        return self.tokens(index * BLOCK_TOKENS, (index + 1) * BLOCK_TOKENS)

    def tokens(self, start: int, end: int) -> bytes:
        """The keys and values of some tokens of the only row."""
        return self._rows[0].store[..., start:end, :].tobytes()

    def truncate(self, length: int) -> None:
        """Forget all tokens of the only row after the first `length`."""
        self._rows[0].length = length

    def select_rows(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order."""
        self._rows = [self._rows[row] for row in rows]

    def _empty_row(self) -> KVRow:
        config = self.config
        shape = (config.n_layer, 2, config.kv_heads, 0, config.head_dim)
        return KVRow(np.empty(shape, np.float32))

    def map_states(
        self, ids: Sequence[int], use: Callable[[int, Floats], Result], *, threads: int = 1
    ) -> list[Result]:
        """Call `use` with the last layer's states of a text, part by part; return its results.

        The rows of `prefill` and `decode` are not touched; `head` turns states into logits.

        Args:
            ids: the whole text.
            use: called on any thread with the index of a part's first token and its states, [T, E].
            threads: how many parts are computed in parallel; the results do not depend on it.
        """

        def read(part: KVRow, tokens: Sequence[int]) -> Result:
            return use(part.length, self._read([part], [tokens]))

        parts = [ids[at : at + _CHUNK_TOKENS] for at in range(0, len(ids), _CHUNK_TOKENS)]
        return _read_parts(read, self._empty_row(), parts, threads)

    def last_state(self, ids: Sequence[int]) -> Floats:
        """The last state of a text, [1, E], without computing the others in the last layer."""
        row = self._empty_row()
        for start in range(0, len(ids), _CHUNK_TOKENS):
            chunk = ids[start : start + _CHUNK_TOKENS]
            state = self._read([row], [chunk], last=True)
        return state

    @unwarned
    def head(self, states: Floats) -> Floats:
        """Logits: [T, E] -> [T, V]."""
        return self._product(self.normalized(states), self._weights[HEAD])

    @unwarned
    def normalized(self, states: Floats) -> Floats:
        """The input of every head: [T, E] -> [T, E]."""
        return self._norm(states, "ln_f")

    def weight(self, name: str) -> Floats | None:
        """A tensor by its name without the trunk's prefix, or None."""
        return self._weights.get(name)

    def _read_prompt(self, row: KVRow, prompt: Sequence[int]) -> Floats:
        """Compute what the row does not hold yet; the logits after the last token, [1, V]."""

        def read(part: KVRow, tokens: Sequence[int]) -> Floats:
            return self._read([part], [tokens], last=True)

        parts = half_blocks(prompt, row.length)
        return self.head(_read_parts(read, row, parts, self._threads)[-1])

    @unwarned
    def _read(
        self, rows: Sequence[KVRow], new: Sequence[Sequence[int]], *, last: bool = False
    ) -> Floats:
        """Compute the new tokens of every row; their states, concatenated, [T, E].

        With `last`, only the states of each row's last token, [B, E]: the last layer then computes
        keys and values of all tokens, and nothing else of the others.
        """
        ids = np.concatenate([np.asarray(tokens, np.int64) for tokens in new])
        positions = np.concatenate(
            [np.arange(row.length, row.length + len(t)) for row, t in zip(rows, new, strict=True)]
        )
        if positions.max() >= self.config.n_positions:
            raise ContextError(f"more tokens than the model's {self.config.n_positions} positions")
        if not 0 <= ids.min() <= ids.max() < self.config.vocab_size:
            raise InputError(f"token ids: not all in 0..{self.config.vocab_size - 1}")
        edges = [0, *accumulate(len(tokens) for tokens in new)]
        hidden = self._weights["wte.weight"][ids] + self._weights["wpe.weight"][positions]
        for layer in range(self.config.n_layer):
            ends = last and layer == self.config.n_layer - 1
            normed = self._norm(hidden, f"h.{layer}.ln_1")
            attended = self._attention(normed, layer, rows, edges, ends=ends)
            hidden = (hidden[np.asarray(edges[1:]) - 1] if ends else hidden) + attended
            normed = self._norm(hidden, f"h.{layer}.ln_2")
            inner = self._activation(self._linear(normed, f"h.{layer}.mlp.c_fc"))
            hidden = hidden + self._linear(inner, f"h.{layer}.mlp.c_proj")
        for row, tokens in zip(rows, new, strict=True):
            row.length += len(tokens)
        return np.asarray(hidden)

    def _attention(
        self,
        hidden: Floats,
        layer: int,
        rows: Sequence[KVRow],
        edges: Sequence[int],
        *,
        ends: bool,
    ) -> Floats:
        """Causal self-attention of all rows' new tokens, [T, E]; with `ends`, of the last ones."""
        config, size = self.config, self.config.head_dim
        projected = self._linear(hidden, f"h.{layer}.attn.c_attn")
        if config.multi_query:
            query, key_value = projected[:, : config.n_embd], projected[:, config.n_embd :]
            both = key_value.reshape(len(projected), 1, 2, size)
        else:
            per_head = projected.reshape(len(projected), config.n_head, 3, size)
            query, both = per_head[:, :, 0], per_head[:, :, 1:]
        both = both.transpose(2, 1, 0, 3)  # [2, K, T, D]
        context = np.empty((len(hidden), config.n_embd), np.float32)
        for row, (start, end) in zip(rows, pairwise(edges), strict=True):
            seen = row.length + end - start
            row.put(layer, both[:, :, start:end])
            # Few queries at once: their scores stay in the cache, and fewer of them are masked.
            step = max(_SCORES_AT_ONCE // (config.n_head * seen), _LEAST_QUERIES)
            step = 1 if self._stepwise else step
            for place in range(end - 1 if ends else start, end, step):
                part = slice(place, min(place + step, end))
                keys, values = row.store[layer, :, :, : row.length + part.stop - start]
                context[part] = self._attend(query[part], keys, values)
        if ends:
            context = context[np.asarray(edges[1:]) - 1]
        return self._linear(context, f"h.{layer}.attn.c_proj")

    def _attend(self, query: Floats, keys: Floats, values: Floats) -> Floats:
        """One row: queries of its last T tokens over keys and values [K, S, D]; [T, E]."""
        new, (heads, seen, size) = len(query), keys.shape
        # A key/value head serves a group of query heads: all of them for multi-query, else one.
        grouped = (query * self._scale).reshape(new, heads, -1, size).swapaxes(0, 1)
        shape = grouped.shape
        scores = grouped.reshape(heads, -1, size) @ keys.swapaxes(1, 2)
        scores = scores.reshape(*shape[:3], seen)
        if new > 1:
            scores[..., seen - new :] += _later(new)
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        context = (scores.reshape(heads, -1, seen) @ values).reshape(shape)
        context /= scores.sum(axis=-1, keepdims=True)
        return np.asarray(context.swapaxes(0, 1).reshape(new, -1))

    def _linear(self, x: Floats, name: str) -> Floats:
        product = self._product(x, self._weights[f"{name}.weight"])
        product += self._weights[f"{name}.bias"]
        return product

    def _product(self, x: Floats, weight: Floats) -> Floats:
        """[T, in] x [out, in] -> [T, out]."""
        if self._stepwise:  # a stack of products of one row each
            return np.asarray((x[:, None, :] @ weight.T)[:, 0])
        return np.asarray(x @ weight.T)

    def _norm(self, x: Floats, name: str) -> Floats:
        # Sums instead of np.mean, whose Python takes longer than the norm of a single token.
        width = np.float32(x.shape[-1])
        normed = x - np.add.reduce(x, axis=-1, keepdims=True) / width
        variance = np.add.reduce(normed * normed, axis=-1, keepdims=True) / width
        normed /= np.sqrt(variance + np.float32(self.config.layer_norm_epsilon))
        normed *= self._weights[f"{name}.weight"]
        normed += self._weights[f"{name}.bias"]
        return np.asarray(normed, np.float32)


def _read_parts(
    read: Callable[[KVRow, Sequence[int]], Result], row: KVRow, parts: Parts, threads: int
) -> list[Result]:
    """See `numpy_threads.read_parts`, which is imported only for several parts and threads."""
    if min(threads, len(parts)) <= 1:
        return [read(row, tokens) for tokens in parts]
    from gpt_bigcode.backends.numpy_threads import read_parts

    return read_parts(read, row, parts, threads)
