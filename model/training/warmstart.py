"""Token vectors from counts: a factorisation of which tokens stand near which, before training.

Positive pointwise mutual information and its
singular vectors (Levy and Goldberg 2014); minutes of training are saved by seconds of counting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from tokenizers import Tokenizer

REACH = 4
SMOOTHING = 0.75
SCALE = 0.02


def neighbour_counts(ids: np.ndarray, vocabulary: int) -> torch.Tensor:
    """[V, V] float32: how often two tokens stand within REACH of each other, nearer counts more."""
    counts = np.zeros(vocabulary * vocabulary, dtype=np.float32)
    for distance in range(1, REACH + 1):
        pairs = ids[:-distance].astype(np.int64) * vocabulary + ids[distance:]
        counts += np.bincount(pairs, minlength=len(counts)).astype(np.float32) / distance
    table = torch.from_numpy(counts).view(vocabulary, vocabulary)
    return table + table.T


def token_table(tokenizer: Tokenizer, texts: list[str], width: int, seed: int) -> torch.Tensor:
    """[V, width] with a standard deviation of SCALE, rows of unseen tokens random."""
    vocabulary = tokenizer.get_vocab_size()
    ids = np.concatenate([np.array(e.ids, dtype=np.int32) for e in tokenizer.encode_batch(texts)])
    counts = neighbour_counts(ids, vocabulary)
    seen = counts.sum(dim=1)
    context = seen**SMOOTHING
    expected = seen[:, None] * (context / context.sum())[None, :]
    information = torch.log((counts / expected.clamp(min=1e-9)).clamp(min=1.0))
    torch.manual_seed(seed)
    left, values, _ = torch.svd_lowrank(information, q=width, niter=2)
    table = left * values.sqrt()
    # Every row gets the same length, as random vectors would have; unseen tokens stay random.
    noise = torch.randn(vocabulary, width) * SCALE
    lengths = table.norm(dim=1, keepdim=True)
    scaled = table / lengths.clamp(min=1e-9) * (SCALE * width**0.5)
    mixed = 0.9 * scaled + 0.3 * noise
    return torch.where(seen[:, None] > 0, mixed, noise)
