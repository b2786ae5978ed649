"""TorchScorer: a GPTBigCodeForCausalLM behind the interface that `scoring` needs.

Knows rows of ids and their padding; knows no text and no windows.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from gpt_bigcode.decoder import TorchDecoder
from gpt_bigcode.devices import memory_errors
from gpt_bigcode.errors import NonFiniteError
from gpt_bigcode.generation import Decoder
from gpt_bigcode.heads import GPTBigCodeForCausalLM
from gpt_bigcode.scorers import LogProbabilities, Row

_LOGITS_AT_ONCE = 1 << 22
_BATCH_TOKENS, _GPU_BATCH_TOKENS = 2048, 16_384
_PADDING = 0  # any id: it stands after what is read, where causal attention does not look


class TorchScorer:
    """Reads rows as one batch, padded on the right, and applies the head to what is scored."""

    def __init__(self, model: GPTBigCodeForCausalLM) -> None:
        self._model = model
        self._device = model.transformer.wte.weight.device

    @classmethod
    def of(cls, decoder: Decoder) -> Self:
        """The scorer that shares a decoder's model."""
        if not isinstance(decoder, TorchDecoder):
            raise TypeError(f"{type(decoder).__name__} has no PyTorch model")
        return cls(decoder.model)

    @property
    def context_length(self) -> int:
        """The most tokens that it reads at once."""
        return self._model.config.n_positions

    @property
    def vocabulary_size(self) -> int:
        """V, padding rows of the token table included."""
        return self._model.config.vocab_size

    @property
    def batch_tokens(self) -> int:
        """How many tokens it reads together at best."""
        return _GPU_BATCH_TOKENS if self._device.type == "cuda" else _BATCH_TOKENS

    @torch.inference_mode()
    def log_probabilities(self, rows: Sequence[Row]) -> list[LogProbabilities]:
        """See `scorers.Scorer`.

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

    def _score(self, states: Tensor, row: Row) -> LogProbabilities:
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
            raise NonFiniteError("the model computed NaN or infinity")
        return np.asarray(scored.cpu().numpy(), np.float64)


def _log_softmax(logits: Tensor, targets: Tensor) -> Tensor:
    """[T, V] and [T] -> [T]; the sum in float64, so that equal logits give exactly 1 / V."""
    logits = logits.float()
    highest = logits.amax(dim=-1, keepdim=True)
    total = (logits - highest).exp().sum(dim=-1, dtype=torch.float64)
    chosen = (logits - highest).gather(1, targets.unsqueeze(1)).squeeze(1)
    return chosen.double() - total.log()
