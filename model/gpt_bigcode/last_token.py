"""The trunk as a prompt is read: the last block computes the last token alone.

Knows blocks and a cache, no head. Of all other tokens the last block's keys and values are wanted,
and nothing else. Its oracle is GPTBigCodeModel's forward pass.
"""

from copy import copy

from torch import Tensor, nn

from gpt_bigcode.errors import InputError
from gpt_bigcode.transformer import ForwardPass, GPTBigCodeBlock, GPTBigCodeModel


class _LastTokenBlock(nn.Module):
    """A block that fills the cache with all tokens and returns the last one's state."""

    def __init__(self, block: GPTBigCodeBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, hidden: Tensor, shared: ForwardPass) -> Tensor:
        """[B, T, E] -> [B, 1, E]."""
        block, attention = self.block, self.block.attn
        if shared.cache is None:
            raise InputError("past_key_values: a prompt is read into a cache")
        query, key_value = attention.project(block.ln_1(hidden))
        stored = shared.cache.append(attention.layer, key_value)
        key, value = stored[..., : attention.head_dim], stored[..., attention.head_dim :]
        mask = None if shared.mask is None else shared.mask[:, :, -1:]
        context = attention.attend(query[:, :, -1:], key, value, mask, causal=False)
        hidden = hidden[:, -1:] + attention.c_proj(context.transpose(1, 2).flatten(2))
        return hidden + block.mlp(block.ln_2(hidden))  # type: ignore[no-any-return]


def for_last_token(trunk: GPTBigCodeModel) -> GPTBigCodeModel:
    """The same trunk, for inference with a cache: `last_hidden_state` is [B, 1, E]."""
    *before, last = trunk.h
    if not isinstance(last, GPTBigCodeBlock) or trunk.config.add_cross_attention:
        return trunk
    reader = copy(trunk)  # of one dictionary of modules with the trunk, until the next line
    reader.__dict__["_modules"] = {**trunk._modules}  # noqa: SLF001 - `nn.Module`'s
    reader.h = nn.ModuleList([*before, _LastTokenBlock(last)])
    return reader
