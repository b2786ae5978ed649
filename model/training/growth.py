"""Grows a model in depth without changing what it computes.

A new block is a copy of its left neighbour whose two output
projections are zero: it adds nothing at first (Chen et al. 2016, "Net2Net", in the residual form).
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM
    from training.muon import Muon


def origins(old: int, new: int) -> list[tuple[int, bool]]:
    """For each new block: the old block it comes from, and whether it is a silent copy."""
    bounds = [round(index * new / old) for index in range(old + 1)]
    return [
        (index, place > bounds[index])
        for index in range(old)
        for place in range(bounds[index], bounds[index + 1])
    ]


def silent_copy(block: nn.Module) -> nn.Module:
    """A block that returns its input, with the inner weights of another."""
    twin = copy.deepcopy(block)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            parameter.grad = None
            if ".c_proj." in name:
                parameter.zero_()
    return twin


def grow(model: GPTBigCodeForCausalLM, optimizer: Muon, layers: int) -> None:
    """Makes `model` `layers` deep in place; the optimizer keeps its state for the old blocks."""
    trunk = model.transformer
    plan = origins(len(trunk.h), layers)
    old_state = dict(optimizer.state)
    moved = {name: state for name, state in old_state.items() if ".h." not in name}
    blocks = []
    for place, (origin, silent) in enumerate(plan):
        block = trunk.h[origin]
        if silent:
            block = silent_copy(block)
        else:
            source, target = f"transformer.h.{origin}.", f"transformer.h.{place}."
            moved |= {
                target + name.removeprefix(source): state
                for name, state in old_state.items()
                if name.startswith(source)
            }
        blocks.append(block)
    for place, block in enumerate(blocks):
        block.get_submodule("attn").layer = place  # type: ignore[assignment]
    trunk.h = nn.ModuleList(blocks)
    optimizer.state = moved
    model.config = trunk.config = replace(model.config, n_layer=layers)
