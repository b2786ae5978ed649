"""ForwardPass: what the layers of one forward pass share; knows no layer and no weights."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gpt_bigcode.modeling.kv_cache import KeyValueCache


@dataclass
class ForwardPass:
    """What one forward pass shares between its layers, and collects from them."""

    cache: KeyValueCache | None = None
    mask: Tensor | None = None  # bool [B or 1, 1, T, S]: may attend; None: see `causal`
    causal: bool = False  # no mask needed but the triangle
    head_mask: Tensor | None = None  # [L, H]
    encoder_states: Tensor | None = None  # [B, tokens of the encoder, E]
    encoder_mask: Tensor | None = None  # bool [B, 1, 1, tokens of the encoder]
    explicit: bool = False  # attention weights are wanted
    wanted: Tensor | None = None  # [B], in the last layer: the only tokens whose states are needed
    attentions: list[Tensor] = field(default_factory=list)
    cross_attentions: list[Tensor] = field(default_factory=list)

    def choose(self, values: Tensor) -> Tensor:
        """Those of the wanted tokens: [B, T, ...] -> [B, 1, ...]; without any, all."""
        if self.wanted is None:
            return values
        return values[torch.arange(len(values), device=values.device), self.wanted].unsqueeze(1)

    def narrow(self, wanted: Tensor, new: int, past: int) -> None:
        """Compute nothing but keys and values for other tokens from here on."""
        if self.mask is not None:
            self.mask = self.mask.expand(len(wanted), -1, -1, -1).transpose(1, 2)
        elif self.causal:
            self.mask = causal_mask(new, past + new, wanted.device).transpose(1, 2)
            self.mask, self.causal = self.mask.expand(len(wanted), -1, -1, -1), False
        self.wanted = wanted
        self.mask = None if self.mask is None else self.choose(self.mask)


def causal_mask(new: int, seen: int, device: torch.device) -> Tensor:
    """Bool [1, 1, T, S]: the last T of S tokens attend to themselves and to what came before."""
    return torch.ones(1, 1, new, seen, dtype=torch.bool, device=device).tril(seen - new)
