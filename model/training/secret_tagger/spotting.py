"""Runs a tagger over whole texts and makes findings of its labels; knows no cases or measures.

The plain reading of a checkpoint's `tagging`, without the tool's repairs of single tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from training.secret_tagger import tokens
from training.secret_tagger.tokens import TAGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenizers import Tokenizer

    from gpt_bigcode.heads import GPTBigCodeForTokenClassification
    from training.secret_tagger.planting import Finding
    from training.secret_tagger.reading import Reading

ROWS_AT_ONCE = 8


def window_starts(length: int, size: int) -> list[int]:
    """Starts of windows that overlap by a fourth and together cover `length` tokens."""
    step = size - size // 4
    return [0, *range(step, max(length - size // 4, 1), step)]


@torch.inference_mode()
def token_logits(
    model: GPTBigCodeForTokenClassification, reading: Reading, ids: list[int]
) -> np.ndarray:
    """Logits [T, C] of a text; of two windows the earlier one knows more before a token."""
    size = reading.window(model.config.n_positions)
    logits = np.zeros((len(ids), len(TAGS)), dtype=np.float32)
    done = 0
    for batch in _batches(window_starts(len(ids), size), len(ids), size):
        rows = torch.tensor([reading.row(ids[start : start + count]) for start, count in batch])
        for row, (start, count) in zip(model(rows).logits, batch, strict=True):
            last = start + count == len(ids)
            end = start + count if last else start + count - reading.delay
            fresh = row[reading.places(count)].float().numpy()
            logits[done:end] = fresh[done - start : end - start]
            done = end
    return logits


def _batches(starts: list[int], length: int, size: int) -> Iterator[list[tuple[int, int]]]:
    """Windows as (start, count) in order, full ones together."""
    full = [start for start in starts if start + size <= length]
    for first in range(0, len(full), ROWS_AT_ONCE):
        yield [(start, size) for start in full[first : first + ROWS_AT_ONCE]]
    for start in starts[len(full) :]:
        yield [(start, length - start)]


def spot(
    model: GPTBigCodeForTokenClassification, reading: Reading, tokenizer: Tokenizer, text: str
) -> tuple[Finding, ...]:
    """The findings of a text."""
    encoding = tokenizer.encode(text)
    logits = token_logits(model, reading, encoding.ids)
    return tokens.findings(text, encoding.offsets, logits.argmax(axis=1).tolist())
