"""Int8Step: one token of one row through a trunk of 8 bits, with as few calls as there can be.

Knows layers and a cache; no head, no several tokens, no other precision. What all layers write lies
in buffers whose views are made once. Its oracle is RowTrunk, whose numbers it gives bit by bit.
"""

from dataclasses import dataclass
from math import isfinite, nan

import torch
from torch import Tensor, nn

from gpt_bigcode.cache import KeyValueCache
from gpt_bigcode.quantization import ENLARGED, Int8Linear, ObjectArguments
from gpt_bigcode.transformer import GPTBigCodeBlock, GPTBigCodeModel

_PRODUCTS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")


@dataclass(frozen=True, slots=True)
class _Int8Layer:
    """What one block computes with, and where it writes."""

    before_attention: tuple[Tensor, Tensor]
    before_mlp: tuple[Tensor, Tensor]
    c_attn: Int8Linear
    c_proj: Int8Linear
    c_fc: Int8Linear
    mlp_c_proj: Int8Linear
    merged: Tensor  # [H, D], the heads' results
    merged_row: Tensor  # the same as [1, E]
    activated: Tensor  # [1, inner], enlarged


class Int8Step:
    """The trunk of a multi-query model with int8 layers on the processor, for one token."""

    def __init__(self, trunk: GPTBigCodeModel) -> None:
        """Take the layers of a trunk for which `fits` is true."""
        config = trunk.config
        heads, size, width = config.n_head, config.head_dim, config.n_embd
        blocks = [block for block in trunk.h if isinstance(block, GPTBigCodeBlock)]
        self._shape, self._eps = [width], config.layer_norm_epsilon
        self._act = blocks[0].mlp.act
        self._scale = torch.tensor(size**-0.5 if config.scale_attn_weights else 1.0)
        self._enlarged = torch.tensor(ENLARGED)
        self._projected = torch.empty(1, width + 2 * size)
        self._query = self._projected[:, :width].view(heads, size)
        self._key_value = self._projected[:, width:].view(2, 1, size)
        self._merged = torch.empty(len(blocks), heads, size)
        self._activated = torch.empty(len(blocks), 1, config.inner_dim)
        self._layers = [
            _int8_layer(block, merged, activated)
            for block, merged, activated in zip(blocks, self._merged, self._activated, strict=True)
        ]

    @staticmethod
    def fits(trunk: GPTBigCodeModel) -> bool:
        """Whether all matrices of a trunk that `RowTrunk` takes have 8 bits."""
        return all(len(_products(block)) == len(_PRODUCTS) for block in trunk.h)

    def __call__(self, hidden: Tensor, cache: KeyValueCache) -> Tensor:
        """Read one token after those in the cache, which is extended in place.

        Args:
            hidden: [1, E], token and position; it is overwritten.
            cache: of one row.

        Returns:
            [1, E], the state before the last layer norm; NaN where the input of any product was
            not finite.
        """
        try:
            with ObjectArguments():
                self._compute(hidden, cache)
        except RuntimeError:  # the operator's, where all of a row is NaN
            if self._is_finite(hidden):
                raise
        cache.advance(1)
        return hidden if self._is_finite(hidden) else torch.full_like(hidden, nan)

    def _compute(self, hidden: Tensor, cache: KeyValueCache) -> None:
        shape, eps = self._shape, self._eps
        for layer, row, keys, values in zip(self._layers, *cache.open(1), strict=True):
            normed = torch.layer_norm(hidden, shape, *layer.before_attention, eps)
            layer.c_attn.multiply(normed, out=self._projected)
            row.copy_(self._key_value)
            weights = torch.mm(self._query * self._scale, keys).softmax(1)
            torch.mm(weights, values, out=layer.merged)
            hidden += layer.c_proj.multiply(layer.merged_row * self._enlarged)
            normed = torch.layer_norm(hidden, shape, *layer.before_mlp, eps)
            activated = self._act(layer.c_fc.multiply(normed))
            torch.mul(activated, self._enlarged, out=layer.activated)
            hidden += layer.mlp_c_proj.multiply(layer.activated)

    def _is_finite(self, hidden: Tensor) -> bool:
        """Whether no product took NaN for a number: its input is in a buffer, or in the state."""
        total = hidden.sum() + self._merged.sum() + self._activated.sum()
        return isfinite(total.item())


def _int8_layer(block: GPTBigCodeBlock, merged: Tensor, activated: Tensor) -> _Int8Layer:
    c_attn, c_proj, c_fc, mlp_c_proj = _products(block)
    return _Int8Layer(
        before_attention=_enlarge(block.ln_1),
        before_mlp=_enlarge(block.ln_2),
        c_attn=c_attn,
        c_proj=c_proj,
        c_fc=c_fc,
        mlp_c_proj=mlp_c_proj,
        merged=merged,
        merged_row=merged.view(1, -1),
        activated=activated,
    )


def _products(block: nn.Module) -> list[Int8Linear]:
    """The block's matrices, those of 8 bits among them."""
    layers = (block.get_submodule(place) for place in _PRODUCTS)
    return [layer for layer in layers if isinstance(layer, Int8Linear)]


def _enlarge(norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Scale and bias of a norm whose results come out enlarged: a power of two is exact."""
    return norm.weight.detach() * ENLARGED, norm.bias.detach() * ENLARGED
