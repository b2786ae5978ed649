"""Shows a few attention heads where to look, so that copying need not be found by chance.

A head that attends to the token before, and a later one that attends to what followed an earlier
occurrence of the present tokens, together copy what stood there ("induction heads", Olsson et al.
2022, arXiv 2209.11895). Left alone, they had not appeared after all the tokens of the first run. An
auxiliary loss on the attention of single heads (Deshpande and Narasimhan 2020, arXiv 2010.02399)
brings them about in some hundred steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from gpt_bigcode.modeling.transformer import GPTBigCodeBlock
from training.documents import END, MIDDLE, PREFIX, SUFFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM

# How many tokens in a row are compared at most when an earlier occurrence is looked for.
LONGEST_MATCH = 3
# Longer rows are not guided: their attention weights would take more time than they are worth.
MOST_TOKENS = 1024
# A guide's `back` for the place where the prefix of a gap ends, and how long that is looked at.
PREFIX_END = -1
MIDDLE_TOKENS = 4


@dataclass(frozen=True)
class Guide:
    """One head, and where it should look.

    Attributes:
        layer: counted from 0.
        head: counted from 0.
        back: how many tokens before the current one; 0: after an earlier occurrence of it;
            PREFIX_END: from a middle's first tokens to where its prefix ended.
    """

    layer: int
    head: int
    back: int


def wanted(ids: Tensor, back: int) -> Tensor:
    """[B, T] -> [B, T, T], true where a token shall look; rows without any are not guided."""
    tokens = ids.shape[1]
    if back == PREFIX_END:
        return prefix_ends(ids)
    if back:
        place = torch.ones(tokens, tokens, dtype=torch.bool, device=ids.device)
        return (place.tril(-back) & place.triu(-back)).expand(len(ids), -1, -1)
    return earlier_occurrences(ids)


def earlier_occurrences(ids: Tensor) -> Tensor:
    """[B, T] -> [B, T, T]: what followed earlier occurrences of the longest run that ends here."""
    tokens = ids.shape[1]
    causal = torch.ones(tokens, tokens, dtype=torch.bool, device=ids.device).tril()
    longer = causal.expand(len(ids), -1, -1)
    found = torch.zeros_like(longer)
    for length in range(1, min(LONGEST_MATCH, tokens - 1) + 1):
        # The token `length` before a place, for the keys one further back: they follow the run.
        here, there = _back(ids, length - 1), _back(ids, length)
        longer = longer & (here[:, :, None] == there[:, None, :]) & (there >= 0)[:, None, :]
        found = torch.where(longer.any(-1, keepdim=True), longer, found)
    return found


def prefix_ends(ids: Tensor) -> Tensor:
    """[B, T] -> [B, T, T]: from a middle's first tokens to the sentinel after its prefix.

    That sentinel is where a head that looks one token back has put the prefix's last token. Only
    where the prefix comes first: in the other order the middle follows it without a break.
    """
    places = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)

    def latest(here: Tensor) -> Tensor:
        """[B, T] -> [B, T]: the last place up to each where this holds; -1: nowhere."""
        return torch.where(here, places, -1).cummax(1).values

    middle, suffix = latest(ids == MIDDLE), latest((ids == SUFFIX) & (_back(ids, 1) != PREFIX))
    # The middle and the suffix of the current example, not of an earlier one.
    begins, ended = latest(ids == PREFIX), latest(ids == END)
    asks = (middle > suffix) & (suffix > begins) & (begins > ended)
    asks &= places < middle + MIDDLE_TOKENS
    return asks[:, :, None] & (suffix[:, :, None] == places[:, None, :])


def _back(ids: Tensor, distance: int) -> Tensor:
    """The token `distance` places before each one; -1 where there is none."""
    return F.pad(ids, (distance, 0), value=-1)[:, : ids.shape[1]]


class Guidance:
    """The auxiliary loss of some heads."""

    def __init__(self, model: GPTBigCodeForCausalLM, guides: Sequence[Guide]) -> None:
        """Check that the heads are there.

        Raises:
            ValueError: they are not, or the model is multi-head.
        """
        config = model.config
        if not config.multi_query:
            raise ValueError("guides are for multi-query attention")
        for guide in guides:
            if guide.layer >= config.n_layer or guide.head >= config.n_head:
                where = f"layer {guide.layer}, head {guide.head}"
                has = f"{config.n_layer} layers of {config.n_head}"
                raise ValueError(f"guide of {where}: the model has {has}")
        self.model, self.guides = model, guides

    def loss(self, ids: Tensor, inputs: Mapping[int, Tensor]) -> Tensor:
        """Mean over the guides, in nats: how surprising the wanted places are to their heads.

        Args:
            ids: [B, T].
            inputs: what each guided block reads, [B, T, E].
        """
        losses = []
        for guide in self.guides:
            allowed = wanted(ids, guide.back)
            scores = self.scores(guide, inputs[guide.layer])
            tokens = scores.shape[-1]
            causal = torch.ones(tokens, tokens, dtype=torch.bool, device=ids.device).tril()
            total = scores.masked_fill(~causal, -torch.inf).logsumexp(-1)
            lowest = torch.finfo(scores.dtype).min
            there = scores.masked_fill(~allowed, lowest).logsumexp(-1)
            rows = allowed.any(-1)
            losses.append(((total - there) * rows).sum() / rows.sum().clamp(min=1))
        return torch.stack(losses).mean()

    def scores(self, guide: Guide, hidden: Tensor) -> Tensor:
        """One multi-query head's scores, [B, T, E] -> [B, T, T], unmasked."""
        config, block = self.model.config, self.model.transformer.h[guide.layer]
        if not isinstance(block, GPTBigCodeBlock):
            raise TypeError(f"layer {guide.layer} is no block")
        size, width = config.head_dim, config.n_embd
        normed = block.ln_1(hidden)
        weight, bias = block.attn.c_attn.weight, block.attn.c_attn.bias
        query_part = slice(guide.head * size, (guide.head + 1) * size)
        key_part = slice(width, width + size)
        query = F.linear(normed, weight[query_part], bias[query_part])
        key = F.linear(normed, weight[key_part], bias[key_part])
        return (query @ key.transpose(1, 2)).float() * block.attn.settings.scale
