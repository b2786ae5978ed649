"""The protocols that every engine implements: decoding, scoring and labeling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
LogProbabilities = NDArray[np.float64]


@dataclass(frozen=True)
class ScoredRow:
    """Tokens of one window.

    Attributes:
        ids: n + 1 ids; the model gets the first n, at most its context.
        first: index of the first id that is scored, 1 to n.
    """

    ids: Sequence[int]
    first: int


class Engine(Protocol):
    """What all engines have in common."""

    @property
    def context_length(self) -> int:
        """The most tokens that a row may have."""
        ...

    @property
    def vocabulary_size(self) -> int:
        """V."""
        ...


class Scorer(Engine, Protocol):
    """A model that tells how likely given tokens are."""

    @property
    def batch_tokens(self) -> int:
        """How many tokens to compute together for the best throughput."""
        ...

    def log_probabilities(self, rows: Sequence[ScoredRow]) -> list[LogProbabilities]:
        """The natural logarithms of the probabilities of ids[first:], for every row in order.

        A row's values do not depend on the other rows, up to rounding.

        Raises:
            NonFiniteError: the model computed NaN or infinity.
        """
        ...


class Labeler(Engine, Protocol):
    """A model with a classification head; its rows have 1 to `context_length` ids."""

    @property
    def label_count(self) -> int:
        """C, the labels of its head."""
        ...

    @property
    def batch_tokens(self) -> int:
        """How many tokens to compute together for the best throughput."""
        ...

    def sequence_logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        """[C] for every row, taken at its last id; independent of the other rows, up to rounding.

        Raises:
            ContextError, InputError: a row that is too long, or empty.
            MemoryLimitError: the rows do not fit.
            NonFiniteError: the model computed NaN or infinity.
        """
        ...

    def token_logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        """[T, C] for every row of T ids; errors as above."""
        ...


class Decoder(Engine, Protocol):
    """A model that reads rows of tokens and returns the logits of each row's next token."""

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Logits:
        """Forget everything and prefill one row per prompt; lengths may differ. [B, V]."""
        ...

    def decode(self, tokens: Sequence[int]) -> Logits:
        """Append one token to each row. [B, V]."""
        ...

    def select_rows(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order."""
        ...


@runtime_checkable
class StepDecoder(Decoder, Protocol):
    """A decoder that can also append several tokens to its only row in one pass, and drop some."""

    @property
    def exact_steps(self) -> bool:
        """Whether `append` gives, bit for bit, what `decode` gives token by token."""
        ...

    @property
    def guess_cost(self) -> float:
        """What one more token of `append` costs, in steps of `decode`; a constant, never timed."""
        ...

    @property
    def machine_epsilon(self) -> float:
        """The relative spacing of the coarsest numbers between prompt and logits."""
        ...

    def append(self, tokens: Sequence[int]) -> Logits:
        """Append T tokens to the only row. [T, V]: the logits after each of them."""
        ...

    def truncate(self, length: int) -> None:
        """Forget all tokens of the only row after the first `length`."""
        ...


@runtime_checkable
class BlockDecoder(StepDecoder, Protocol):
    """A decoder whose only row can be saved as blocks of tokens, and restored from them."""

    @property
    def block_tokens(self) -> int:
        """How many tokens of a prompt are computed at once."""
        ...

    @property
    def loose_tokens(self) -> int:
        """A shorter tail of a prompt gives the same bits however it is split; 0: no tail does."""
        ...

    def ends(self, length: int) -> Sequence[int]:
        """Where the parts of a prompt of that length end; each part is one forward pass.

        Blocks come first. Two prompts with the same parts and tokens up to one of these ends have
        the same state there, bit for bit.
        """
        ...

    @property
    def block_bytes(self) -> int:
        """How many bytes the keys and values of a block take."""
        ...

    @property
    def identity(self) -> str:
        """What else the numbers depend on: engine, its version, precision, threads."""
        ...

    def prefill_after(
        self, blocks: Sequence[bytes], prompt: Sequence[int], known: int | None = None
    ) -> Logits:
        """Forget everything, restore the prompt's first tokens and prefill the rest. [1, V].

        Args:
            blocks: the first tokens, as returned by `block` or `tokens`.
            prompt: the whole prompt.
            known: how many tokens of the blocks to use; None: all. The results equal those of a
                prefill bit for bit only if whole blocks are used.
        """
        ...

    def append_each(
        self, decoders: Sequence[Self], tokens: Sequence[Sequence[int]]
    ) -> list[Logits]:
        """Append tokens to the only row of each decoder; the logits after each token, [T, V].

        Only for decoders of the same weights with `exact_steps`: each row gets, bit for bit, what
        it would get alone.
        """
        ...

    def fork(self) -> Self:
        """A copy of this decoder and its rows, with its own memory."""
        ...

    def restore(self, blocks: Sequence[bytes]) -> None:
        """Forget everything and restore tokens, as returned by `block` or `tokens`."""
        ...

    def tokens(self, start: int, end: int) -> bytes:
        """The keys and values of some tokens of the only row."""
        ...

    def block(self, index: int) -> bytes:
        """The keys and values of a whole block of the only row."""
        ...


class DecoderWrapper:
    """A decoder around another; subclasses override what differs."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    @property
    def context_length(self) -> int:
        """See `Engine`."""
        return self._decoder.context_length

    @property
    def vocabulary_size(self) -> int:
        """See `Engine`."""
        return self._decoder.vocabulary_size

    def select_rows(self, rows: Sequence[int]) -> None:
        """See `Decoder`."""
        self._decoder.select_rows(rows)


class StepDecoderWrapper(DecoderWrapper):
    """A `StepDecoder` around another; subclasses override what differs."""

    _decoder: StepDecoder

    @property
    def exact_steps(self) -> bool:
        """See `StepDecoder`."""
        return self._decoder.exact_steps

    @property
    def guess_cost(self) -> float:
        """See `StepDecoder`."""
        return self._decoder.guess_cost

    @property
    def machine_epsilon(self) -> float:
        """See `StepDecoder`."""
        return self._decoder.machine_epsilon

    def decode(self, tokens: Sequence[int]) -> Logits:
        """See `Decoder`."""
        return self._decoder.decode(tokens)

    def append(self, tokens: Sequence[int]) -> Logits:
        """See `StepDecoder`."""
        return self._decoder.append(tokens)

    def truncate(self, length: int) -> None:
        """See `StepDecoder`."""
        self._decoder.truncate(length)
