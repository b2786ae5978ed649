"""The trunk for a few new tokens of one row, with few operator calls.

At these sizes the calls themselves took half the time of a step. `GPTBigCodeModel` is the reference
for the float layers, which are the reference for the int8 layers of a single token.
"""

from collections.abc import Callable, Sequence
from math import isfinite, nan
from typing import Protocol

import torch
from torch import Tensor, nn

from gpt_bigcode.errors import ContextError
from gpt_bigcode.modeling.activations import look_up
from gpt_bigcode.modeling.kv_cache import KeyValueCache
from gpt_bigcode.modeling.transformer import GPTBigCodeBlock, GPTBigCodeModel
from gpt_bigcode.quantization.int8_kernel import fast_calls
from gpt_bigcode.quantization.linear import ENLARGED, Int8Linear, int8_rows_are_exact

MOST_TOKENS = 16
"""For more tokens, fused attention is faster than attention one token at a time."""

_PRODUCTS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
_LINEAR = frozenset({"c_attn", "c_proj", "c_fc", "lm_head"})


class RowTrunk:
    """The trunk of a multi-query model in float32 on the processor, for one row without padding.

    A token's results do not depend on how many others are computed with it, as long as the linear
    layers' do not: attention is computed one token at a time.
    """

    def __init__(self, trunk: GPTBigCodeModel) -> None:
        """Take the layers of a trunk for which `fits` is true."""
        config = trunk.config
        blocks = [block for block in trunk.h if isinstance(block, GPTBigCodeBlock)]
        self._config, self._wte, self._wpe = config, trunk.wte, trunk.wpe
        self._scale = torch.tensor(config.head_dim**-0.5 if config.scale_attn_weights else 1.0)
        self._layers = [_FloatLayer(block) for block in blocks]
        self._int8 = _Int8Layers(blocks) if _Int8Layers.fit(blocks) else None
        self._last_norm = _norm(trunk.ln_f)

    @staticmethod
    def fits(trunk: GPTBigCodeModel) -> bool:
        """Tell whether that trunk can be computed here."""
        scale, config = trunk.ln_f.weight, trunk.config
        plain = config.multi_query and not config.add_cross_attention
        return plain and scale.dtype == torch.float32 and scale.device.type == "cpu"

    @property
    def has_int8_step(self) -> bool:
        """Whether a single token takes the shorter path through int8 layers."""
        return self._int8 is not None

    def __call__(self, ids: Tensor, cache: KeyValueCache) -> Tensor:
        """Compute some tokens after those in the cache, which is extended in place.

        Args:
            ids: [T].
            cache: of one row.

        Returns:
            [T, E], every token's state after the last layer norm; NaN for a single token if the
            input of any int8 product was not finite.

        Raises:
            ContextError: more tokens than positions.
        """
        return self.read_rows(ids, [cache], [len(ids)])

    def read_rows(
        self, ids: Tensor, caches: Sequence[KeyValueCache], counts: Sequence[int]
    ) -> Tensor:
        """The same for several rows, each with its own cache; they share the matrix products.

        Args:
            ids: [T], the tokens of all rows, concatenated.
            caches: one for each row, in the same order.
            counts: the number of tokens of each row.
        """
        positions = [
            torch.arange(cache.length, cache.length + new)
            for cache, new in zip(caches, counts, strict=True)
        ]
        longest = max(int(places[-1]) for places in positions) + 1
        if longest > self._config.n_positions:
            raise ContextError(f"{longest} positions, the model has {self._config.n_positions}")
        tokens = look_up("input_ids", self._wte, ids)
        hidden = tokens + self._wpe.weight[torch.cat(positions)].to(tokens.dtype)
        if len(ids) == 1 and self._int8 is not None:
            hidden = self._int8.guarded(
                hidden, lambda layers: self._run(layers, hidden, caches, counts)
            )
        else:
            self._run(self._layers, hidden, caches, counts)
        for cache, new in zip(caches, counts, strict=True):
            cache.advance(new)
        return self._last_norm(hidden)

    def _run(
        self,
        layers: Sequence["_Layer"],
        hidden: Tensor,
        caches: Sequence[KeyValueCache],
        counts: Sequence[int],
    ) -> None:
        """[T, E], changed in place."""
        opened = [
            zip(*cache.open(new), strict=True) for cache, new in zip(caches, counts, strict=True)
        ]
        for layer, *places in zip(layers, *opened, strict=True):
            query, key_value = layer.project(hidden)
            merged = []
            parts = zip(places, query.split(counts), key_value.split(counts, 1), strict=True)
            for (rows, keys, values), asked, new in parts:
                rows.copy_(new)
                merged.append(self._attend(asked, keys, values))
            layer.add_attention(hidden, torch.cat(merged) if len(merged) > 1 else merged[0])
            layer.add_feed_forward(hidden)

    def _attend(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Queries [T, E], keys [D, S], values [S, D] -> [T, E]."""
        new, width = query.shape
        rows = (query * self._scale).view(new, self._config.n_head, self._config.head_dim)
        if new == 1:
            return torch.mm(torch.mm(rows[0], keys).softmax(1), values).view(1, width)
        past = keys.shape[1] - new
        merged = query.new_empty(rows.shape)
        for place, row in enumerate(rows.unbind(0)):
            seen = past + place + 1
            weights = torch.mm(row, keys[:, :seen]).softmax(1)
            torch.mm(weights, values[:seen], out=merged[place])
        return merged.view(new, width)


class _Layer(Protocol):
    """A block without its attention."""

    def project(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """[T, E] -> queries [T, E], key and value [2, T, D]; valid until the next call."""

    def add_attention(self, hidden: Tensor, merged: Tensor) -> None:
        """Add the projection of all heads' results, [T, E]."""

    def add_feed_forward(self, hidden: Tensor) -> None:
        """Add the block's feed-forward half, [T, E]."""


class _FloatLayer:
    """A block's functions, without the overhead of `nn.Module`."""

    def __init__(self, block: GPTBigCodeBlock) -> None:
        self._before_attention, self._before_mlp = _norm(block.ln_1), _norm(block.ln_2)
        self._c_attn, self._c_proj = block.attn.c_attn.forward, block.attn.c_proj.forward
        self._c_fc, self._act = block.mlp.c_fc.forward, block.mlp.act
        self._mlp_c_proj = block.mlp.c_proj.forward

    def project(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        return _split(self._c_attn(self._before_attention(hidden)), hidden.shape[1])

    def add_attention(self, hidden: Tensor, merged: Tensor) -> None:
        hidden += self._c_proj(merged)

    def add_feed_forward(self, hidden: Tensor) -> None:
        hidden += self._mlp_c_proj(self._act(self._c_fc(self._before_mlp(hidden))))


class _Int8Layer:
    """A block with int8 layers for one token; products write into buffers where possible."""

    def __init__(self, block: GPTBigCodeBlock, merged: Tensor, activated: Tensor) -> None:
        """Take a block, and buffers for the inputs of its `c_proj` layers: [1, E], [1, inner]."""
        self._c_attn, self._c_proj, self._c_fc, self._mlp_c_proj = _int8_products(block)
        self._before_attention, self._before_mlp = _enlarge(block.ln_1), _enlarge(block.ln_2)
        self._shape, self._eps = block.ln_1.normalized_shape, block.ln_1.eps
        self._act = block.mlp.act
        self._merged, self._activated = merged, activated
        self._enlarged = torch.tensor(ENLARGED)
        self._projected = torch.empty(1, self._c_attn.out_features)
        self._query, self._key_value = _split(self._projected, self._c_attn.in_features)

    def project(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        normed = torch.layer_norm(hidden, self._shape, *self._before_attention, self._eps)
        self._c_attn.multiply(normed, out=self._projected)
        return self._query, self._key_value

    def add_attention(self, hidden: Tensor, merged: Tensor) -> None:
        hidden += self._c_proj.multiply(torch.mul(merged, self._enlarged, out=self._merged))

    def add_feed_forward(self, hidden: Tensor) -> None:
        normed = torch.layer_norm(hidden, self._shape, *self._before_mlp, self._eps)
        activated = self._act(self._c_fc.multiply(normed))
        enlarged = torch.mul(activated, self._enlarged, out=self._activated)
        hidden += self._mlp_c_proj.multiply(enlarged)


class _Int8Layers:
    """All blocks for one token; NaN is checked for once instead of before each product."""

    def __init__(self, blocks: Sequence[GPTBigCodeBlock]) -> None:
        width, inner = blocks[0].attn.c_attn.in_features, blocks[0].mlp.c_fc.out_features
        self._merged = torch.empty(len(blocks), 1, width)
        self._activated = torch.empty(len(blocks), 1, inner)
        self._layers = [
            _Int8Layer(block, merged, activated)
            for block, merged, activated in zip(blocks, self._merged, self._activated, strict=True)
        ]

    @staticmethod
    def fit(blocks: Sequence[GPTBigCodeBlock]) -> bool:
        """Tell whether all their matrices have 8 bits."""
        return all(len(_int8_products(block)) == len(_PRODUCTS) for block in blocks)

    def guarded(self, hidden: Tensor, run: Callable[[Sequence[_Layer]], None]) -> Tensor:
        """Run the layers on a state, [1, E]; NaN if a product treated NaN as a number."""
        try:
            with fast_calls():
                run(self._layers)
        except RuntimeError:  # by the operator, if a whole row is NaN
            if self._is_finite(hidden):
                raise
        return hidden if self._is_finite(hidden) else torch.full_like(hidden, nan)

    def _is_finite(self, hidden: Tensor) -> bool:
        """Every product's input is in a buffer, or has been added to the state."""
        total = hidden.sum() + self._merged.sum() + self._activated.sum()
        return isfinite(total.item())


def is_exact(model: nn.Module) -> bool:
    """Whether the linear layers give a row the same bits however many rows come with it."""
    named = ((name.rpartition(".")[2], module) for name, module in model.named_modules())
    linear = [module for name, module in named if name in _LINEAR]
    return all(isinstance(layer, Int8Linear) for layer in linear) and int8_rows_are_exact()


def _norm(norm: nn.LayerNorm) -> Callable[[Tensor], Tensor]:
    shape, weight, bias, eps = norm.normalized_shape, norm.weight, norm.bias, norm.eps
    return lambda hidden: torch.layer_norm(hidden, shape, weight, bias, eps)


def _split(projected: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """[T, E + 2 D] -> queries [T, E], key and value [2, T, D]."""
    query, key_value = projected.tensor_split([width], dim=1)
    return query, key_value.view(len(projected), 2, -1).transpose(0, 1)


def _int8_products(block: nn.Module) -> list[Int8Linear]:
    """The block's matrices that have 8 bits."""
    layers = (block.get_submodule(place) for place in _PRODUCTS)
    return [layer for layer in layers if isinstance(layer, Int8Linear)]


def _enlarge(norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Scale and bias of a norm, times `ENLARGED`: a power of two is exact."""
    return norm.weight.detach() * ENLARGED, norm.bias.detach() * ENLARGED
