"""The weights a run begins with: positions in dimensions of their own, heads that look back.

A label that is read late needs a
head that finds the token exactly `delay` places before; a run of minutes is too short to
learn one, so the first block is given such heads (an angle's cosine is largest at no distance).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from training.warmstart import SCALE, token_table

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from gpt_bigcode.modeling.heads import GPTBigCodeForTokenClassification

# The tables' size next to what blocks add: steps of one size then change them less.
TABLE_GAIN = 4.0
FASTEST_RADIANS, SLOWEST_WAVE = 2.0, 600.0
SHARPNESS = 3.0
OUTSIDE_BIAS = 2.0
# Where the first block's heads point: so far from the delayed token, or (the last) to a token back.
AIMS = (0, 1, -1, None)


def rates(size: int) -> torch.Tensor:
    """Radians a token of size/2 waves, from fast to slow."""
    steps = torch.arange(size // 2) / max(1, size // 2 - 1)
    slowest = 2 * math.pi / SLOWEST_WAVE
    return FASTEST_RADIANS * (slowest / FASTEST_RADIANS) ** steps


def waves(positions: int, size: int) -> torch.Tensor:
    """[P, size]: sines, then cosines."""
    angles = torch.arange(positions)[:, None] * rates(size)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def turned_back(size: int, distance: int) -> torch.Tensor:
    """[size, size]: turns the waves of a position into those `distance` before it."""
    cosines, sines = (rates(size) * distance).cos(), (rates(size) * distance).sin()
    same, other = torch.diag(cosines), torch.diag(sines)
    return torch.cat([torch.cat([same, -other], dim=1), torch.cat([other, same], dim=1)])


def keep_positions(model: GPTBigCodeForTokenClassification) -> None:
    """Takes the gradients away that would blur the waves: of positions, and of tokens beside them.

    Every position gets a gradient in every step, and an optimizer that makes all steps of one size
    turns the waves into noise within some dozens of them.
    """
    trunk = model.transformer
    trunk.wpe.weight.grad = None
    if trunk.wte.weight.grad is not None:
        trunk.wte.weight.grad[:, : model.config.n_embd // model.config.n_head] = 0.0


@torch.no_grad()
def begin(
    model: GPTBigCodeForTokenClassification,
    tokenizer: Tokenizer,
    texts: list[str],
    *,
    delay: int,
    seed: int,
) -> None:
    """Sets tables, head and the first block's queries and keys."""
    config, trunk = model.config, model.transformer
    width, size = config.n_embd, config.n_embd // config.n_head
    trunk.wte.weight[:, :size] = 0.0
    table = token_table(tokenizer, texts, width - size, seed)
    trunk.wte.weight[:, size:] = TABLE_GAIN * table
    trunk.wpe.weight.zero_()
    amplitude = TABLE_GAIN * SCALE * math.sqrt(2)
    trunk.wpe.weight[:, :size] = amplitude * waves(config.n_positions, size)
    model.classifier.bias[0] = OUTSIDE_BIAS
    if delay:
        weight = trunk.h[0].get_parameter("attn.c_attn.weight")
        weight[: width + size] = 0.0
        for head in range(config.n_head):
            rows = weight[head * size : (head + 1) * size]
            aim = AIMS[head % len(AIMS)]
            distance = 1 if aim is None else delay + aim
            rows[:, :size] = SHARPNESS * turned_back(size, distance)
        weight[width : width + size, :size] = torch.eye(size)


@torch.no_grad()
def look_further(model: GPTBigCodeForTokenClassification, distance: int) -> None:
    """Makes the first block's heads that look back do so `distance` tokens further.

    With it a trained model reads labels later than it learned to, and needs a tenth of its training
    to be as good again. The heads that find the token before the present one stay.
    """
    size = model.config.n_embd // model.config.n_head
    attention = model.transformer.h[0].get_submodule("attn.c_attn")
    weight, bias = attention.get_parameter("weight"), attention.get_parameter("bias")
    turn = turned_back(size, distance)
    for head in range(model.config.n_head):
        rows = slice(head * size, (head + 1) * size)
        if AIMS[head % len(AIMS)] is not None:
            weight[rows], bias[rows] = turn @ weight[rows], turn @ bias[rows]
