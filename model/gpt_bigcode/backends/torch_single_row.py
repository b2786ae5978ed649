"""RowTrunk: the trunk once more, for a few new tokens of one row, in few calls of operators.

Knows layers and a cache; no head, no padding, no dropout, no gradients. At these sizes the calls
themselves, not the numbers, took half of a step. Its oracle is GPTBigCodeModel's forward pass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, nan

import torch
from torch import Tensor, nn

from gpt_bigcode.errors import ContextError
from gpt_bigcode.modeling.activations import look_up
from gpt_bigcode.modeling.kv_cache import KeyValueCache
from gpt_bigcode.modeling.transformer import GPTBigCodeBlock, GPTBigCodeModel
from gpt_bigcode.quantization.int8_kernel import fast_calls
from gpt_bigcode.quantization.linear import (
    ENLARGED,
    Int8Linear,
    int8_rows_are_exact,
)

# More tokens are better read by the fused attention than one after the other.
MOST_TOKENS = 16

_LINEAR = frozenset({"c_attn", "c_proj", "c_fc", "lm_head"})

_Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class _Layer:
    """What one block computes with."""

    before_attention: _Function
    c_attn: _Function
    c_proj: _Function
    before_mlp: _Function
    c_fc: _Function
    act: _Function
    mlp_c_proj: _Function


class RowTrunk:
    """The trunk of a multi-query model in float32 on the processor, for one row without padding.

    A token's numbers do not depend on how many others are read with it, as long as the products of
    the linear layers do not: attention is computed for one token after the other.
    """

    def __init__(self, trunk: GPTBigCodeModel) -> None:
        """Take the layers of a trunk for which `fits` is true."""
        config = trunk.config
        self._config, self._wte, self._wpe = config, trunk.wte, trunk.wpe
        self._layers = [_layer(block) for block in trunk.h if isinstance(block, GPTBigCodeBlock)]
        self._last_norm = _norm(trunk.ln_f)
        self._step = Int8Step(trunk) if Int8Step.fits(trunk) else None
        self._scale = torch.tensor(config.head_dim**-0.5 if config.scale_attn_weights else 1.0)

    @staticmethod
    def fits(trunk: GPTBigCodeModel) -> bool:
        """Whether that trunk can be computed here."""
        scale, config = trunk.ln_f.weight, trunk.config
        plain = config.multi_query and not config.add_cross_attention
        return plain and scale.dtype == torch.float32 and scale.device.type == "cpu"

    def __call__(self, ids: Tensor, cache: KeyValueCache) -> Tensor:
        """Read some tokens after those in the cache, which is extended in place.

        Args:
            ids: [T].
            cache: of one row.

        Returns:
            [T, E], every token's state after the last layer norm.

        Raises:
            ContextError: more tokens than positions.
        """
        past, new = cache.length, len(ids)
        if past + new > self._config.n_positions:
            raise ContextError(f"{past + new} positions, the model has {self._config.n_positions}")
        tokens = look_up("input_ids", self._wte, ids)
        hidden = tokens + self._wpe.weight[past : past + new].to(tokens.dtype)
        if new == 1 and self._step is not None:
            return self._last_norm(self._step(hidden, cache))
        for layer, rows, keys, values in zip(self._layers, *cache.open(new), strict=True):
            projected = layer.c_attn(layer.before_attention(hidden))
            query, key_value = projected.tensor_split([self._config.n_embd], dim=1)
            rows.copy_(key_value.view(new, 2, -1).transpose(0, 1))
            hidden = hidden + layer.c_proj(self._attend(query, keys, values))
            hidden += layer.mlp_c_proj(layer.act(layer.c_fc(layer.before_mlp(hidden))))
        cache.advance(new)
        return self._last_norm(hidden)

    def _attend(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Queries [T, E], keys [D, S], values [S, D] -> [T, E]."""
        new, width = query.shape
        rows = (query * self._scale).view(new, self._config.n_head, self._config.head_dim)
        if new == 1:
            return (torch.mm(rows[0], keys).softmax(1) @ values).view(1, width)
        past = keys.shape[1] - new
        merged = query.new_empty(rows.shape)
        for place, row in enumerate(rows.unbind(0)):
            seen = past + place + 1
            weights = torch.mm(row, keys[:, :seen]).softmax(1)
            torch.mm(weights, values[:seen], out=merged[place])
        return merged.view(new, width)


def is_exact(model: nn.Module) -> bool:
    """Whether its linear layers compute a row alike, bit for bit, however many come with it."""
    named = ((name.rpartition(".")[2], module) for name, module in model.named_modules())
    linear = [module for name, module in named if name in _LINEAR]
    return all(isinstance(layer, Int8Linear) for layer in linear) and int8_rows_are_exact()


def _layer(block: GPTBigCodeBlock) -> _Layer:
    return _Layer(
        before_attention=_norm(block.ln_1),
        c_attn=_product(block.attn.c_attn),
        c_proj=_product(block.attn.c_proj),
        before_mlp=_norm(block.ln_2),
        c_fc=_product(block.mlp.c_fc),
        act=block.mlp.act,
        mlp_c_proj=_product(block.mlp.c_proj),
    )


def _norm(norm: nn.LayerNorm) -> _Function:
    shape, weight, bias, eps = norm.normalized_shape, norm.weight, norm.bias, norm.eps
    return lambda hidden: torch.layer_norm(hidden, shape, weight, bias, eps)


def _product(layer: nn.Module) -> _Function:
    """The layer's function without what `nn.Module` does around it."""
    return layer.forward


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
            with fast_calls():
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
