"""GraphedDecoder: the same step for every token, captured once as a CUDA graph.

A step of a small model consists of hundreds of short kernels, and launching them takes longer than
running them. A graph launches them with one call, but requires fixed addresses and shapes: so a
step attends to the cache's whole capacity through a mask, and reads its position from a tensor. On
a CPU the step is computed without capture, for the tests.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt_bigcode.backends.devices import memory_errors
from gpt_bigcode.backends.torch_decoder import PREFILL_CHUNK_TOKENS, TorchDecoder
from gpt_bigcode.errors import InputError
from gpt_bigcode.modeling.attention import AttentionMask
from gpt_bigcode.modeling.context import ForwardPass
from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM
from gpt_bigcode.modeling.kv_cache import KeyValueCache

MOST_STEP_TOKENS = 8
"""The longest draft that is verified by a captured step."""
_LEAST_CAPACITY = 512
_WARM_UPS = 2
_HOST_BUFFERS = 2  # one is read while the other is written


class StaticCache(KeyValueCache):
    """A view of a cache for one captured step: it appends where a tensor says, at any length."""

    def __init__(self, cache: KeyValueCache, places: Tensor) -> None:
        """Share the memory of `cache`; `places`, [T], are the positions of the next T tokens."""
        self._store = cache.store
        self._length = 1  # not empty, so that the whole store is attended to
        self._places = places

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """[B, K, T, D] each -> [B, K, capacity, D], views of the store."""
        keys, values = self._store[layer].unbind(0)
        return (
            keys.index_copy_(2, self._places, key),
            values.index_copy_(2, self._places, value),
        )


class StaticStep:
    """T tokens of every row over buffers of fixed shape and address.

    Args:
        model: the model.
        cache: whose memory is used; the step is valid as long as the store is not replaced.
        tokens: T.
    """

    def __init__(self, model: GPTBigCodeForCausalLM, cache: KeyValueCache, tokens: int) -> None:
        self.store, self.tokens = cache.store, tokens
        rows, device = cache.batch_size, cache.store.device
        self._padding = torch.zeros(rows, dtype=torch.long, device=device)
        self._padded_by: Tensor | None = None
        self._model = model
        self._ids = torch.zeros(rows, tokens, dtype=torch.long, device=device)
        self._places = torch.zeros(tokens, dtype=torch.long, device=device)
        self._cache = StaticCache(cache, self._places)
        self._all_places = torch.arange(cache.capacity, device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        shape = (rows, tokens, model.config.vocab_size)
        self._logits = torch.zeros(shape, device=device)
        pinned = device.type == "cuda"
        self._host = [torch.zeros(shape, pin_memory=pinned) for _ in range(_HOST_BUFFERS)]
        self._best = [
            torch.zeros(rows, dtype=torch.long, pin_memory=pinned) for _ in range(_HOST_BUFFERS)
        ]
        event: Any = torch.cuda.Event
        self._arrived = [event() for _ in range(_HOST_BUFFERS)] if pinned else []
        self._turn = 0

    def capture(self, length: int) -> None:
        """Record the step as a graph.

        Args:
            length: tokens in the cache; the positions after them are overwritten.

        Raises:
            RuntimeError: something in it cannot be captured.
        """
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries initialize themselves in the first calls
            for _ in range(_WARM_UPS):
                self._place(length)
                self._compute()
        torch.cuda.current_stream().wait_stream(side)
        self._place(length)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._compute()
        self._graph = graph

    def pad(self, padding: Tensor) -> None:
        """[B]: how many tokens of each row are padding on the left."""
        if padding is not self._padded_by:
            self._padding.copy_(padding)
            self._padded_by = padding

    def start(self, ids: Sequence[Sequence[int]] | None, length: int) -> None:
        """Start the step and the copy of its logits to the host, without waiting.

        Args:
            ids: [B, T]; None: the best token of the previous step, which stayed on the device.
            length: tokens in the cache before these.
        """
        if ids is not None:
            self._ids.copy_(torch.tensor(ids))
            self._place(length)
        if self._graph is None:
            self._compute()
        else:
            self._graph.replay()
        self._turn = (self._turn + 1) % _HOST_BUFFERS
        self._host[self._turn].copy_(self._logits, non_blocking=True)
        self._best[self._turn].copy_(self._ids[:, -1], non_blocking=True)
        if self._arrived:
            self._arrived[self._turn].record()

    def logits(self) -> NDArray[np.float32]:
        """Wait for the latest step. [B, T, V], valid until the step after the next is started."""
        if self._arrived:
            self._arrived[self._turn].synchronize()
        values: NDArray[np.float32] = self._host[self._turn].numpy()
        return values

    def best(self) -> list[int]:
        """The token with the highest logit of each row; call `logits` first."""
        return self._best[self._turn].tolist()

    def _place(self, length: int) -> None:
        self._places.copy_(torch.arange(length, length + self.tokens))

    def _compute(self) -> None:
        """The forward pass; leaves the best token and its place for the next step."""
        trunk = self._model.transformer
        positions = (self._places - self._padding[:, None]).clamp(min=0)
        hidden = trunk.wte(self._ids) + trunk.wpe(positions)
        seen = self._all_places <= self._places[:, None]  # [T, capacity]
        mask = seen & (self._all_places >= self._padding[:, None, None])
        shared = ForwardPass(cache=self._cache, mask=AttentionMask(mask[:, None]))
        for block in trunk.h:
            hidden = block(hidden, shared)
        self._logits.copy_(self._model.lm_head(trunk.ln_f(hidden)))
        self._ids.copy_(self._logits[:, -1].argmax(-1, keepdim=True).expand_as(self._ids))
        self._places.add_(self.tokens)


class GraphedDecoder(TorchDecoder):
    """A `TorchDecoder` that decodes by captured steps.

    While the caller always takes the most likely token, the next step is started before the caller
    has seen this one's logits, with the token that stayed on the device.
    """

    def __init__(
        self,
        model: GPTBigCodeForCausalLM,
        *,
        chunk_tokens: int = PREFILL_CHUNK_TOKENS,
        detail: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Capture nothing yet.

        Args:
            model: the model.
            chunk_tokens: as for `TorchDecoder`.
            detail: called with the reason if steps cannot be captured.
        """
        super().__init__(model, chunk_tokens=chunk_tokens)
        self._detail = detail
        self._steps: dict[int, StaticStep] = {}
        self._usable = True
        self._predicted: list[int] | None = None  # the best tokens of the last step
        self._ahead = False  # whether a step with them has been started

    @torch.inference_mode()
    def decode(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Append one token to each row; [B, V]."""
        with memory_errors(f"{len(tokens)} rows"):
            step, cache, wanted = self._step(1), self._filled(), list(tokens)
            if step is None:
                return super().decode(tokens)
            expected = wanted == self._predicted
            if not (expected and self._ahead):
                step.start([[token] for token in self._checked(wanted)], cache.length)
            self._ahead = False
            cache.advance(1)
            logits = step.logits()[:, 0].copy()
            self._predicted = step.best()
            if expected and cache.length < min(cache.capacity, self.context_length):
                step.start(None, cache.length)
                self._ahead = True
            return logits

    @torch.inference_mode()
    def append(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Append T tokens to the only row, in one pass; the logits after each of them, [T, V]."""
        with memory_errors(f"{len(tokens)} tokens"):
            self._forget_prediction()
            step = self._step(len(tokens)) if len(tokens) <= MOST_STEP_TOKENS else None
            if step is None:
                return super().append(tokens)
            cache = self._filled()
            step.start([self._checked(tokens)], cache.length)
            cache.advance(len(tokens))
            logits: NDArray[np.float32] = step.logits()[0].copy()
            return logits

    def truncate(self, length: int) -> None:
        """Forget all tokens of the only row after the first `length`."""
        self._forget_prediction()
        super().truncate(length)

    def select_rows(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order; a row may be named more than once."""
        self._forget_prediction()
        super().select_rows(rows)

    def _new_cache(self, rows: int, capacity: int) -> KeyValueCache:
        """A cache whose capacity is rounded up, so that the previous one can often be reused."""
        self._forget_prediction()
        rounded = _LEAST_CAPACITY
        while rounded < capacity:
            rounded *= 2
        last = self._cache
        if last is not None and (last.batch_size, last.capacity) == (rows, rounded):
            last.truncate(0)
            return last
        return super()._new_cache(rows, rounded)

    def _forget_prediction(self) -> None:
        """Drop the step that ran ahead: it wrote only after the cache's end."""
        self._predicted, self._ahead = None, False

    def _checked(self, tokens: Sequence[int]) -> list[int]:
        """Check ids: on a GPU, one that is out of range would end the process."""
        if not all(0 <= token < self.vocabulary_size for token in tokens):
            raise InputError(f"token ids: not all in 0..{self.vocabulary_size - 1}")
        return list(tokens)

    def _step(self, tokens: int) -> StaticStep | None:
        """The step for T tokens; None if none was captured, or the context is full."""
        cache = self._filled()
        if not self._usable or cache.length + tokens > self.context_length:
            return None
        cache.reserve(cache.length + tokens)
        step = self._steps.get(tokens)
        if step is None or step.store is not cache.store:
            self._forget_prediction()
            cache.clear_unused()
            self._steps = {size: s for size, s in self._steps.items() if s.store is cache.store}
            step = self._captured(StaticStep(self._model, cache, tokens))
            if step is None:
                return None
            self._steps[tokens] = step
        step.pad(self._padding)
        return step

    def _captured(self, step: StaticStep) -> StaticStep | None:
        """The step as a graph; None, from then on, if it cannot be captured."""
        if self._device.type != "cuda":
            return step
        try:
            step.capture(self._filled().length)
        except RuntimeError as error:
            self._usable = False
            reason = str(error).partition("\n")[0][:200]
            self._detail(f"no CUDA graph, kernels are launched one by one: {reason}")
            return None
        return step
