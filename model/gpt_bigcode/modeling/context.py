"""What the layers of one forward pass share."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gpt_bigcode.modeling.attention import (
    Attention,
    AttentionMask,
    fused_attention,
    select_tokens,
)
from gpt_bigcode.modeling.kv_cache import KeyValueCache


@dataclass(frozen=True, kw_only=True)
class EncoderStates:
    """What cross-attention attends to.

    Attributes:
        states: [B, tokens, E].
        mask: which tokens are attended to.
        attention: the function that computes it.
    """

    states: Tensor
    mask: AttentionMask
    attention: Attention


@dataclass(frozen=True, kw_only=True)
class ForwardPass:
    """One forward pass of the trunk.

    Attributes:
        mask: what each new token attends to.
        cache: keys and values of the preceding tokens.
        attention: the function that computes self-attention.
        encoder: for models with cross-attention.
        wanted: [B], the one new token of each row whose state is needed; None: all are.
    """

    mask: AttentionMask
    cache: KeyValueCache | None = None
    attention: Attention = fused_attention
    encoder: EncoderStates | None = None
    wanted: Tensor | None = None

    def only(self, wanted: Tensor, new: int) -> "ForwardPass":
        """The pass for a layer that computes one token's state per row: [B], indices into T."""
        return replace(self, wanted=wanted, mask=self.mask.of_tokens(wanted, new))

    def select(self, values: Tensor) -> Tensor:
        """The values of the wanted tokens, [B, T, ...] -> [B, 1, ...], or all of them."""
        return values if self.wanted is None else select_tokens(values, self.wanted)

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store a layer's new keys and values [B, K, T, D] and return all of them [B, K, S, D]."""
        if self.cache is None:
            return key, value
        wide = self.cache.store.dtype is torch.float32  # quantized layers may give bfloat16
        kept = (key.float(), value.float()) if wide else (key, value)
        stored = self.cache.append(layer, *kept)
        # A first pass attends to the fresh tensors, so that gradients flow.
        return stored if self.cache.length else (key, value)
