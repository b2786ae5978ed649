"""A request's own decoder.

It shares a model's weights, computes on the engine's thread, and begins a prompt with what the
prefix tree knows of it.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from bigcode_cli.server.engine.prefills import Prefills
from bigcode_cli.server.engine.prefix_tree import PrefixTree
from bigcode_cli.server.engine.tails import Tails
from bigcode_cli.server.engine.thread import Engine, Ticket
from gpt_bigcode.backends.interfaces import StepDecoderWrapper

if TYPE_CHECKING:
    from bigcode_cli.server.library import KeptPrompts
    from gpt_bigcode.backends.interfaces import BlockDecoder, Logits


Result = TypeVar("Result")
_MOST_TOGETHER = 16  # tokens; more of a row are a pass of their own


@dataclass(frozen=True)
class Prefilled:
    """A prompt that was read: the decoder that holds it, and the logits after it, [1, V]."""

    decoder: "BlockDecoder"
    logits: "Logits"


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """How a request may use what others have computed.

    Attributes:
        kept: what is kept of prompts; None: nothing.
        prefills: what is being read now; None: nothing that counts.
        exact: the answer has to be the one that a process of its own gives, byte for byte. Else it
            is for an editor: a keystroke more must not cost a prompt.
        keep: use what is kept, and keep what this request computes.
    """

    kept: "KeptPrompts | None" = None
    prefills: Prefills[Prefilled] | None = None
    exact: bool = True
    keep: bool = True


class ServedDecoder(StepDecoderWrapper):
    """A `gpt_bigcode` StepDecoder for one request."""

    _decoder: "BlockDecoder"

    def __init__(
        self, decoder: "BlockDecoder", engine: Engine, ticket: Ticket, reuse: Reuse
    ) -> None:
        """Wrap a decoder.

        Args:
            decoder: the model's; it is not changed: prefill gives the copy a state of its own.
            engine: where it computes.
            ticket: the request.
            reuse: what of other requests counts.
        """
        super().__init__(copy(decoder))
        self.reused_tokens = 0
        self._engine, self._ticket, self._reuse = engine, ticket, reuse
        self._together, self._rows, self._turn = decoder.exact_steps, 1, 0

    def prefill(self, prompts: Sequence[Sequence[int]]) -> "Logits":
        """Forget everything and read one row per prompt. [B, V]."""
        self._rows, self._turn = len(prompts), self._engine.turn()
        kept = self._reuse.kept if self._reuse.keep else None
        if len(prompts) > 1 or kept is None or self._reuse.prefills is None:
            return self._read_call(self._decoder.prefill, prompts)
        prompt = prompts[0]
        found, is_copy = self._reuse.prefills.read(
            (self._reuse.exact, tuple(prompt)),
            self._ticket,
            lambda: Prefilled(self._decoder, self._read(prompt, kept)),
            self._copies,
        )
        self._decoder = found.decoder
        if is_copy:
            self.reused_tokens = len(prompt) - 1
        return found.logits

    def decode(self, tokens: Sequence[int]) -> "Logits":
        """Append one token to each row. [B, V]."""
        if self._together and self._rows == 1:
            return self._engine.step(self._ticket, self._decoder, tokens)
        return self._call(self._decoder.decode, tokens)

    def select_rows(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order."""
        self._rows = len(rows)
        self._call(self._decoder.select_rows, rows)

    def append(self, tokens: Sequence[int]) -> "Logits":
        """Append T tokens to the only row. [T, V]."""
        if self._together and len(tokens) <= _MOST_TOGETHER:
            return self._engine.step(self._ticket, self._decoder, tokens)
        return self._call(self._decoder.append, tokens)

    def truncate(self, length: int) -> None:
        """Forget all tokens of the only row after the first `length`."""
        self._call(self._decoder.truncate, length)

    def _call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        return self._engine.call(self._ticket, lambda: function(*arguments))

    def _read_call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """The parts of a prompt come before those of prompts that were begun later."""
        return self._engine.call(self._ticket, lambda: function(*arguments), self._turn)

    def _copies(self, state: Prefilled, count: int) -> list[Prefilled]:
        return self._call(
            lambda: [Prefilled(state.decoder.fork(), state.logits.copy()) for _ in range(count)]
        )

    def _read(self, prompt: Sequence[int], kept: "KeptPrompts") -> "Logits":
        if self._reuse.exact:
            return self._read_exactly(prompt, kept.blocks, kept.tails)
        return self._read_rest(prompt, kept.tokens)

    def _read_exactly(
        self, prompt: Sequence[int], tree: PrefixTree, tails: Tails | None
    ) -> "Logits":
        """Read a prompt block by block, so that others get their turn, and keep all of it."""
        size = tree.page_tokens
        match = tree.find(prompt[: len(prompt) - 1], exact=True)
        self.reused_tokens = match.tokens
        blocks = list(match.pages)
        whole = (len(prompt) - 1) // size
        while len(blocks) < whole:
            end = (len(blocks) + 1) * size
            blocks.append(self._read_call(self._read_block, list(blocks), prompt[:end]))
            tree.add(prompt, blocks[-1:], first=len(blocks) - 1, exact=True)
        start = whole * size
        if tails is None:
            return self._read_call(self._decoder.prefill_after, blocks, prompt)
        tail, known = tails.find(prompt, start)
        if tail:
            self.reused_tokens = known
            blocks.append(tail)
        logits = self._read_call(self._decoder.prefill_after, blocks, prompt, known)
        tails.add(prompt, start, self._read_call(self._decoder.tokens, start, len(prompt)))
        return logits

    def _read_rest(self, prompt: Sequence[int], tree: PrefixTree) -> "Logits":
        """Prefill the part of a prompt that is not in the tree, and keep all of it."""
        match = tree.find(prompt[: len(prompt) - 1], exact=False)
        known = self.reused_tokens = match.tokens
        pages: list[bytes] = list(match.pages)
        step = self._decoder.block_tokens
        while known + step < len(prompt) - 1:
            end = known + step
            pages = [self._read_call(self._read_on, pages, prompt[:end], known)]
            known = end
        logits = self._read_call(self._decoder.prefill_after, pages, prompt, known)
        first = self.reused_tokens // tree.page_tokens
        starts = range(first * tree.page_tokens, len(prompt), tree.page_tokens)
        ends = [min(start + tree.page_tokens, len(prompt)) for start in starts]
        places = list(zip(starts, ends, strict=True))
        kept = self._read_call(lambda: [self._decoder.tokens(*place) for place in places])
        tree.add(prompt, kept, first=first, exact=False)
        return logits

    def _read_on(self, pages: Sequence[bytes], prompt: Sequence[int], known: int) -> bytes:
        self._decoder.prefill_after(pages, prompt, known)
        return self._decoder.tokens(0, len(prompt))

    def _read_block(self, blocks: Sequence[bytes], prompt: Sequence[int]) -> bytes:
        self._decoder.prefill_after(blocks, prompt)
        return self._decoder.block(len(blocks))
