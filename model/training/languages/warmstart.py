"""Weights to begin with: what each token says of the language, and a head that adds it up.

The first numbers of a token's vector are its log-likelihood ratios
(naive Bayes), the others are random. The first block's attention starts almost uniform, so that
its values are the mean evidence of the row so far; the head reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from gpt_bigcode.modeling.heads import GPTBigCodeForSequenceClassification

SMOOTHING = 2.0
HEAD_STEPS, HEAD_DECAY = 60, 1e-6
SCALE = 0.1


def evidence_table(counts: torch.Tensor) -> torch.Tensor:
    """[V, L]: log p(token | language) less its mean over the languages, from counts [L, V]."""
    smooth = counts + SMOOTHING * (counts.sum(0) + 1) / (counts.sum() + 1) * 40
    shares = (smooth / smooth.sum(dim=1, keepdim=True)).log()
    return (shares - shares.mean(dim=0)).T


def count_tokens(tokenizer: Tokenizer, texts: list[list[str]]) -> torch.Tensor:
    """[L, V]: in how many texts of a language a token occurs, its repetitions damped."""
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
    size = width // model.config.n_head
    evidence, directions = within(evidence_table(count_tokens(tokenizer, texts)), size)
    labels = evidence.shape[1]
    table = model.transformer.wte.weight
    table[:, :labels] = evidence / evidence.std() * SCALE
    table[:, labels:] *= SCALE / float(table[:, labels:].std())
    first = dict(model.transformer.h[0].named_parameters())
    chosen = torch.eye(width)[:labels]
    values = first["attn.c_attn.weight"][width + size :]
    values[:labels] = chosen
    for head in range(model.config.n_head):
        part = first["attn.c_proj.weight"][:, head * size : (head + 1) * size]
        part[:labels, :labels] = torch.eye(labels) / model.config.n_head
    model.score.weight.zero_()
    model.score.weight[:, :labels] = 4 * directions


def within(evidence: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Evidence [V, L] in at most `size` numbers a token, and the directions [L, D] of its labels.

    That is the width of a head's values; with more labels, the directions in which evidence
    differs most are kept.
    """
    if evidence.shape[1] <= size:
        return evidence, torch.eye(evidence.shape[1])
    _, vectors = torch.linalg.eigh(evidence.T @ evidence)
    directions = vectors[:, -size:]
    return evidence @ directions, directions


def fit_head(features: torch.Tensor, labels: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """The head [L, E] that tells labels [N] best from features [N, E], beginning with `start`.

    Logistic regression with a little weight decay: what other labels a trunk can tell without
    being trained for them.
    """
    weight = start.detach().clone().requires_grad_()
    solver = torch.optim.LBFGS([weight], max_iter=HEAD_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(features @ weight.T, labels) + HEAD_DECAY * weight.square().sum()
        torch.autograd.backward(loss)
        return loss

    solver.step(closure)  # type: ignore[no-untyped-call,unused-ignore]
    return weight.detach()
