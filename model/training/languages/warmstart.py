"""Weights to begin with: what each token says of the language, and a head that adds it up.

Knows nothing of training. The first numbers of a token's vector are its log-likelihood ratios
(naive Bayes), the others are random. The first block's attention starts almost uniform, so that
its values are the mean evidence of the row so far; the head reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from gpt_bigcode.modeling.heads import GPTBigCodeForSequenceClassification

SMOOTHING = 2.0
SCALE = 0.1


def evidence_table(counts: torch.Tensor) -> torch.Tensor:
    """[V, L]: log p(token | language) less its mean over the languages, from counts [L, V]."""
    smooth = counts + SMOOTHING * (counts.sum(0) + 1) / (counts.sum() + 1) * 40
    shares = (smooth / smooth.sum(dim=1, keepdim=True)).log()
    return (shares - shares.mean(dim=0)).T


def count_tokens(tokenizer: Tokenizer, texts: list[list[str]]) -> torch.Tensor:
    """[L, V]: in how many texts of a language a token stands, its repetitions damped."""
    counts = torch.zeros(len(texts), tokenizer.get_vocab_size())
    for language, group in enumerate(texts):
        for encoding in tokenizer.encode_batch(group):
            seen = np.bincount(encoding.ids, minlength=counts.shape[1])
            counts[language] += torch.from_numpy(np.sqrt(seen)).float()
    return counts


@torch.no_grad()
def put(
    model: GPTBigCodeForSequenceClassification,
    tokenizer: Tokenizer,
    texts: list[list[str]],
) -> None:
    """Sets token vectors, the first block's values and output, and the head."""
    width = model.config.n_embd
    evidence = evidence_table(count_tokens(tokenizer, texts))
    labels = evidence.shape[1]
    table = model.transformer.wte.weight
    table[:, :labels] = evidence / evidence.std() * SCALE
    table[:, labels:] *= SCALE / float(table[:, labels:].std())
    first = dict(model.transformer.h[0].named_parameters())
    size = width // model.config.n_head
    chosen = torch.eye(width)[:labels]
    values = first["attn.c_attn.weight"][width + size :]
    values[:labels] = chosen
    for head in range(model.config.n_head):
        part = first["attn.c_proj.weight"][:, head * size : (head + 1) * size]
        part[:labels, :labels] = torch.eye(labels) / model.config.n_head
    model.score.weight.zero_()
    model.score.weight[:, :labels] = 4 * torch.eye(labels)
