"""Scores and labels in PyTorch: rows of token ids, padded on the right."""

from collections.abc import Sequence
from pathlib import Path
from typing import Generic, Self, TypeAlias, TypeVar, Unpack, cast

import numpy as np
import torch
from torch import Tensor

from gpt_bigcode.backends.devices import choose_device, memory_errors, set_threads
from gpt_bigcode.backends.interfaces import Decoder, Logits, LogProbabilities, ScoredRow
from gpt_bigcode.backends.numpy_heads import check_rows, finite
from gpt_bigcode.backends.torch_decoder import TorchDecoder
from gpt_bigcode.backends.torch_loading import load_computable
from gpt_bigcode.checkpoint.tensor_index import CONFIG_FILE, Task
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import NonFiniteError
from gpt_bigcode.hardware import EngineOptions
from gpt_bigcode.modeling.heads import (
    GPTBigCodeForCausalLM,
    GPTBigCodeForSequenceClassification,
    GPTBigCodeForTokenClassification,
)

_LOGITS_AT_ONCE = 1 << 22
_BATCH_TOKENS, _GPU_BATCH_TOKENS = 2048, 16_384
Classifier: TypeAlias = GPTBigCodeForSequenceClassification | GPTBigCodeForTokenClassification
Model = TypeVar("Model", bound=GPTBigCodeForCausalLM | Classifier)

_PADDING = 0  # any id: no earlier token attends to it


class _BatchedModel(Generic[Model]):
    """A model that computes rows as one batch."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._device = model.transformer.wte.weight.device

    @property
    def context_length(self) -> int:
        """The most tokens that it takes at once."""
        return self._model.config.n_positions

    @property
    def vocabulary_size(self) -> int:
        """V, padding rows of the token table included."""
        return self._model.config.vocab_size

    @property
    def batch_tokens(self) -> int:
        """How many tokens to compute together for the best throughput."""
        return _GPU_BATCH_TOKENS if self._device.type == "cuda" else _BATCH_TOKENS


class TorchScorer(_BatchedModel[GPTBigCodeForCausalLM]):
    """Computes rows as one batch, padded on the right, and the head for scored tokens only."""

    @classmethod
    def of(cls, decoder: Decoder) -> Self:
        """The scorer that shares a decoder's model."""
        if not isinstance(decoder, TorchDecoder):
            raise TypeError(f"{type(decoder).__name__} has no PyTorch model")
        return cls(decoder.model)

    @torch.inference_mode()
    def log_probabilities(self, rows: Sequence[ScoredRow]) -> list[LogProbabilities]:
        """See `interfaces.Scorer`.

        Raises:
            MemoryLimitError: the rows do not fit; NonFiniteError: NaN or infinity.
        """
        width = max(len(row.ids) for row in rows) - 1
        padded = [[*row.ids[:-1], *[_PADDING] * (width + 1 - len(row.ids))] for row in rows]
        with memory_errors(f"{len(rows)} windows of {width} tokens"):
            ids = torch.tensor(padded, device=self._device)
            states = self._model.transformer(ids, use_cache=False).last_hidden_state
            return [
                self._score(states[place, row.first - 1 : len(row.ids) - 1], row)
                for place, row in enumerate(rows)
            ]

    def _score(self, states: Tensor, row: ScoredRow) -> LogProbabilities:
        """[T, E] -> [T]."""
        targets = torch.tensor(list(row.ids[row.first :]), device=self._device)
        size = max(_LOGITS_AT_ONCE // self.vocabulary_size, 1)
        scored = torch.cat(
            [
                _log_softmax(self._model.lm_head(part), chosen)
                for part, chosen in zip(
                    torch.split(states, size), torch.split(targets, size), strict=True
                )
            ]
        )
        if not bool(scored.isfinite().all()):
            raise NonFiniteError.computed(float16=states.dtype is torch.float16)
        return np.asarray(scored.cpu().numpy(), np.float64)


def _log_softmax(logits: Tensor, targets: Tensor) -> Tensor:
    """[T, V] and [T] -> [T]; the sum in float64, so that equal logits give exactly 1 / V."""
    logits = logits.float()
    highest = logits.amax(dim=-1, keepdim=True)
    total = (logits - highest).exp().sum(dim=-1, dtype=torch.float64)
    chosen = (logits - highest).gather(1, targets.unsqueeze(1)).squeeze(1)
    return chosen.double() - total.log()


class TorchLabeler(_BatchedModel[Classifier]):
    """Computes rows as one batch, padded on the right."""

    @classmethod
    def load(cls, directory: Path, *, task: Task, **options: Unpack[EngineOptions]) -> Self:
        """Load a classifier; arguments and errors are those of `open_labeler`."""
        device, precision = options.get("device", "auto"), options.get("precision", "auto")
        set_threads(options.get("threads"))
        config = GPTBigCodeConfig.from_json_file(directory / CONFIG_FILE)
        if precision == "auto" and choose_device(device).type == "cpu":
            precision = "float32"  # a label near a threshold must not depend on the processor
        model = load_computable(
            directory,
            config,
            task=task,
            device=device,
            precision=precision,
            policy=options.get("policy"),
        )
        return cls(cast("Classifier", model))

    @property
    def label_count(self) -> int:
        """C."""
        return self._model.config.label_count

    @torch.inference_mode()
    def sequence_logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        """See `interfaces.Labeler`."""
        states = self._states(rows, last=True)[:, 0]
        half = states.dtype is torch.float16
        return [finite(logits, float16=half) for logits in self._head(states)]

    @torch.inference_mode()
    def token_logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        """See `interfaces.Labeler`."""
        states = self._states(rows)
        half = states.dtype is torch.float16
        return [
            finite(self._head(states[place, : len(row)]), float16=half)
            for place, row in enumerate(rows)
        ]

    def _states(self, rows: Sequence[Sequence[int]], *, last: bool = False) -> Tensor:
        """[B, T, E], T of the longest row; with `last`, only each row's last token, [B, 1, E]."""
        check_rows(rows, self.context_length)
        width = max(map(len, rows), default=1)
        padded = [[*row, *[_PADDING] * (width - len(row))] for row in rows]
        with memory_errors(f"{len(rows)} windows of {width} tokens"):
            ids = torch.tensor(padded, dtype=torch.long, device=self._device)
            ids = ids.reshape(len(rows), width)
            ends = [len(row) - 1 for row in rows]
            wanted = torch.tensor(ends, dtype=torch.long, device=self._device) if last else None
            output = self._model.transformer(ids, use_cache=False, wanted_tokens=wanted)
            return output.last_hidden_state  # type: ignore[no-any-return]

    def _head(self, states: Tensor) -> Logits:
        """[N, E] -> [N, C]."""
        model = self._model
        head = model.score if isinstance(model, GPTBigCodeForSequenceClassification) else None
        logits = (head or cast("GPTBigCodeForTokenClassification", model).classifier)(states)
        values: Logits = logits.float().cpu().numpy()
        return values
