"""Runs a tagger over whole texts and makes findings of its labels; knows no cases or measures.

As the tool does with `"spans": "best_path"`, for a whole text at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gpt_bigcode.labeling.bio_labels import LabelScheme
from training.secret_tagger import tokens
from training.secret_tagger.planting import Finding
from training.secret_tagger.tokens import TAGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpt_bigcode.modeling.heads import GPTBigCodeForTokenClassification
    from training.secret_tagger.reading import Reading

ROWS_AT_ONCE = 8
_SCHEME = LabelScheme(list(TAGS))


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


def findings_of_logits(
    text: str, offsets: Sequence[tuple[int, int]], logits: np.ndarray
) -> tuple[Finding, ...]:
    """The findings of the best path through logits [T, C], widened to whole words."""
    shares = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    tags = _SCHEME.path().choose(shares)
    found = tokens.findings(text, offsets, tags.tolist()) if tags.any() else ()
    kept: list[Finding] = []
    for one in found:
        start, end = _whole_words(text, one.start, one.end)
        if kept and start < kept[-1].end:
            kept[-1] = Finding(kept[-1].start, max(end, kept[-1].end), kept[-1].label)
        else:
            kept.append(Finding(start, end, one.label))
    return tuple(kept)


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    while text[start].isalnum() and start and text[start - 1].isalnum():
        start -= 1
    while text[end - 1].isalnum() and text[end : end + 1].isalnum():
        end += 1
    return start, end
