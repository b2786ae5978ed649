"""TorchLabeler: a model with a classification head behind the interface of `labelers`.

Knows rows of ids and their padding; knows no text and no windows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self, TypeAlias, cast

import torch
from torch import Tensor

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.devices import choose_device, memory_errors, set_threads
from gpt_bigcode.heads import GPTBigCodeForSequenceClassification, GPTBigCodeForTokenClassification
from gpt_bigcode.labelers import Logits, check_rows, finite
from gpt_bigcode.loading import load_computable
from gpt_bigcode.weights import CONFIG_FILE, Task

_BATCH_TOKENS, _GPU_BATCH_TOKENS = 2048, 16_384
_PADDING = 0  # any id: it stands after what is read, where causal attention does not look

Classifier: TypeAlias = GPTBigCodeForSequenceClassification | GPTBigCodeForTokenClassification


class TorchLabeler:
    """Reads rows as one batch, padded on the right; each ends where its own ids end."""

    def __init__(self, model: Classifier) -> None:
        self._model = model
        self._device = model.transformer.wte.weight.device

    @classmethod
    def load(
        cls,
        directory: Path,
        *,
        task: Task,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
    ) -> Self:
        """Read a checkpoint directory; arguments and errors are those of `open_labeler`."""
        set_threads(threads)
        config = GPTBigCodeConfig.from_json_file(directory / CONFIG_FILE)
        if precision == "auto" and choose_device(device).type == "cpu":
            precision = "float32"  # a label near a threshold must not depend on the processor
        model = load_computable(directory, config, task=task, device=device, precision=precision)
        return cls(cast("Classifier", model))

    @property
    def context_length(self) -> int:
        """The most tokens that it reads at once."""
        return self._model.config.n_positions

    @property
    def vocabulary_size(self) -> int:
        """V, padding rows of the token table included."""
        return self._model.config.vocab_size

    @property
    def label_count(self) -> int:
        """C."""
        return self._model.config.label_count

    @property
    def batch_tokens(self) -> int:
        """How many tokens it reads together at best."""
        return _GPU_BATCH_TOKENS if self._device.type == "cuda" else _BATCH_TOKENS

    @torch.inference_mode()
    def sequence_logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        """See `labelers.Labeler`."""
        states = self._states(rows, last=True)[:, 0]
        return [finite(logits) for logits in self._head(states)]

    @torch.inference_mode()
    def token_logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        """See `labelers.Labeler`."""
        states = self._states(rows)
        return [finite(self._head(states[place, : len(row)])) for place, row in enumerate(rows)]

    def _states(self, rows: Sequence[Sequence[int]], *, last: bool = False) -> Tensor:
        """[B, T, E], T of the longest row; with `last` of each row's last token only, [B, 1, E]."""
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
