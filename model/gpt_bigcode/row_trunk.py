"""RowTrunk: the trunk once more, for a few new tokens of one row, in few calls of operators.

Knows layers and a cache; no head, no padding, no dropout, no gradients. At these sizes the calls
themselves, not the numbers, took half of a step. Its oracle is GPTBigCodeModel's forward pass.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gpt_bigcode.arguments import look_up
from gpt_bigcode.cache import KeyValueCache
from gpt_bigcode.errors import ContextError
from gpt_bigcode.int8_step import Int8Step
from gpt_bigcode.quantization import Int8Linear, int8_rows_are_exact
from gpt_bigcode.transformer import GPTBigCodeBlock, GPTBigCodeModel

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
