"""Bits per byte of a model on rows of held-out text.

Knows nothing of training or of files.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from training.documents import END

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from gpt_bigcode.heads import GPTBigCodeForCausalLM


def validation_rows(
    tokenizer: Tokenizer, texts: list[str], count: int, length: int
) -> tuple[Tensor, int]:
    """The first `length` tokens of `count` texts after the end token, and their bytes in all."""
    rows, total = [], 0
    for text in texts:
        encoding = tokenizer.encode(text[: length * 8])
        if len(encoding.ids) <= length:
            continue
        rows.append([END, *encoding.ids[:length]])
        total += len(text[: encoding.offsets[length - 1][1]].encode())
        if len(rows) == count:
            return torch.tensor(rows), total
    raise SystemExit(f"measure: {len(rows)} texts of {length} tokens, {count} are needed")


@torch.no_grad()
def bits_per_byte(model: GPTBigCodeForCausalLM, rows: Tensor, total_bytes: int) -> float:
    """Bits per byte of rows [B, T + 1] that begin with the end token."""
    model.eval()
    nats = 0.0
    device = next(model.parameters()).device
    for row in torch.split(rows, 4):
        ids = row.to(device)
        logits = model(ids[:, :-1], use_cache=False).logits.float()
        nats += float(F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum"))
    model.train()
    return nats / (total_bytes * math.log(2))
