"""Bits per byte of a model on rows of held-out text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from training.documents import END

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM


def held_out_rows(
    tokenizer: Tokenizer, texts: list[str], count: int, length: int
) -> tuple[Tensor, list[int]]:
    """The first `length` tokens of `count` texts after the end token, and the bytes of each."""
    rows, sizes = [], []
    for text in texts:
        encoding = tokenizer.encode(text[: length * 8])
        if len(encoding.ids) <= length:
            continue
        rows.append([END, *encoding.ids[:length]])
        sizes.append(len(text[: encoding.offsets[length - 1][1]].encode()))
        if len(rows) == count:
            return torch.tensor(rows), sizes
    raise SystemExit(f"measure: {len(rows)} texts of {length} tokens, {count} are needed")


def validation_rows(
    tokenizer: Tokenizer, texts: list[str], count: int, length: int
) -> tuple[Tensor, int]:
    """As `held_out_rows`, with their bytes in all."""
    rows, sizes = held_out_rows(tokenizer, texts, count, length)
    return rows, sum(sizes)


@torch.no_grad()
def bits_of_rows(model: GPTBigCodeForCausalLM, rows: Tensor) -> list[float]:
    """The bits of each of rows [B, T + 1] that begin with the end token."""
    model.eval()
    bits: list[float] = []
    device = next(model.parameters()).device
    for part in torch.split(rows, 4):
        ids = part.to(device)
        logits = model(ids[:, :-1], use_cache=False).logits.float()
        nats = F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none").sum(dim=1)
        bits += [float(value) / math.log(2) for value in nats]
    model.train()
    return bits


def bits_per_byte(model: GPTBigCodeForCausalLM, rows: Tensor, total_bytes: int) -> float:
    """Bits per byte of rows [B, T + 1] that begin with the end token."""
    return sum(bits_of_rows(model, rows)) / total_bytes
