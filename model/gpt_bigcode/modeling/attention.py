"""Scaled dot-product attention: fused, and step by step where the weights are needed."""

from dataclasses import dataclass
from typing import Protocol, Self

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from gpt_bigcode.config import GPTBigCodeConfig


@dataclass(frozen=True)
class AttentionSettings:
    """How one layer turns scores into weights.

    Attributes:
        layer: its index.
        scale: the factor of the scores.
        dropout: the share of weights that training drops.
        softmax_in_fp32: in half precision, compute the softmax in float32.
        scale_in_fp32: likewise, and keep the scores small by layer + 1 until then.
    """

    layer: int
    scale: float
    dropout: float
    softmax_in_fp32: bool
    scale_in_fp32: bool

    @classmethod
    def of(cls, config: GPTBigCodeConfig, layer: int) -> Self:
        """The settings of a model's layer."""
        in_fp32 = config.attention_softmax_in_fp32
        return cls(
            layer=layer,
            scale=config.head_dim**-0.5 if config.scale_attn_weights else 1.0,
            dropout=config.attn_pdrop,
            softmax_in_fp32=in_fp32,
            scale_in_fp32=in_fp32 and config.scale_attention_softmax_in_fp32,
        )


@dataclass(frozen=True)
class AttentionMask:
    """Which of S tokens each of T new tokens attends to.

    Attributes:
        allowed: bool [B or 1, 1, T, S]; None: all, or as `causal` says.
        causal: T = S, and each token attends to itself and to those before it.
    """

    allowed: Tensor | None = None
    causal: bool = False

    def of_tokens(self, tokens: Tensor, new: int) -> "AttentionMask":
        """The mask of one of the T new tokens in each row of the batch; `tokens` are [B]."""
        allowed = self.as_tensor(new, new, tokens.device)
        if allowed is None:
            return self
        rows = allowed.expand(len(tokens), -1, -1, -1).transpose(1, 2)
        return AttentionMask(select_tokens(rows, tokens))

    def as_tensor(self, new: int, seen: int, device: torch.device) -> Tensor | None:
        """Bool [B or 1, 1, T, S]; None: every token attends to all."""
        return causal_mask(new, seen, device) if self.causal else self.allowed


class Attention(Protocol):
    """The function that computes attention in every layer of a forward pass."""

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: AttentionMask,
        settings: AttentionSettings,
        *,
        training: bool,
    ) -> Tensor:
        """Queries [B, H, T, D], keys and values [B, K, S, D] -> [B, H, T, D]."""
        ...


def fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: AttentionMask,
    settings: AttentionSettings,
    *,
    training: bool,
) -> Tensor:
    """PyTorch's fused operator, whose softmax is always computed in float32; see `Attention`."""
    dropout = settings.dropout if training else 0.0
    key, value = key.to(query.dtype), value.to(query.dtype)
    one_head = key.shape[1] == 1
    if one_head and query.shape[2] == 1 and not dropout:
        # With one new token the heads are the rows of one product; nothing is expanded.
        fused = F.scaled_dot_product_attention(
            query.transpose(1, 2), key, value, attn_mask=mask.allowed, scale=settings.scale
        )
        return fused.transpose(1, 2)
    if one_head:
        # All heads share the keys of one: a stride of 0, no copy.
        key, value = (part.expand(-1, query.shape[1], -1, -1) for part in (key, value))
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask.allowed,
        dropout_p=dropout,
        is_causal=mask.causal,
        scale=settings.scale,
    )


class ExplicitAttention:
    """Attention step by step, like the reference's eager path.

    Attributes:
        weights: [B, H, T, S] of each layer so far, after softmax, dropout and head mask.
    """

    def __init__(self, head_mask: Tensor | None = None) -> None:
        """Take the factors that scale each head's weights, [L, H]."""
        self.weights: list[Tensor] = []
        self._head_mask = head_mask

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: AttentionMask,
        settings: AttentionSettings,
        *,
        training: bool,
    ) -> Tensor:
        """See `Attention`."""
        # Half precision: scores are kept small by layer + 1 and scaled back in float32, as in
        # the reference up to 4.53.
        half = query.dtype != torch.float32
        unscale = float(settings.layer + 1) if half and settings.scale_in_fp32 else 1.0
        scores = (query @ key.transpose(-1, -2)) * (settings.scale / unscale)
        if half and settings.softmax_in_fp32:
            scores = scores.float() * unscale
        allowed = mask.as_tensor(query.shape[2], key.shape[2], query.device)
        if allowed is not None:
            scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
        weights = torch.softmax(scores, dim=-1).to(query.dtype)
        weights = F.dropout(weights, settings.dropout, training)
        if self._head_mask is not None:
            factors = self._head_mask[settings.layer].view(1, -1, 1, 1)
            weights = weights * factors.to(weights.dtype)
        self.weights.append(weights)
        return weights @ value


def causal_mask(new: int, seen: int, device: torch.device) -> Tensor:
    """Bool [1, 1, T, S]: the last T of S tokens attend to themselves and to those before them."""
    return torch.ones(1, 1, new, seen, dtype=torch.bool, device=device).tril(seen - new)


def select_tokens(values: Tensor, tokens: Tensor) -> Tensor:
    """The values of one token of each row: [B, T, ...] and [B] -> [B, 1, ...]."""
    return values[torch.arange(len(values), device=values.device), tokens].unsqueeze(1)
