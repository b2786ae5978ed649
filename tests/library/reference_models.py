"""Pairs of equal models, ours and the reference's, with weights that make every part matter.

Knows no test. The reference runs with eager attention, in float32 and in eval mode; where a mask is
given it is given the positions too, because it does not derive them from the mask.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.modeling.heads import (
    GPTBigCodeForCausalLM,
    GPTBigCodeForSequenceClassification,
    GPTBigCodeForTokenClassification,
)

# Tiny products: threads would spend their time waiting for each other.
torch.set_num_threads(1)

OUR_CLASSES = MappingProxyType(
    {
        "causal-lm": GPTBigCodeForCausalLM,
        "sequence-classification": GPTBigCodeForSequenceClassification,
        "token-classification": GPTBigCodeForTokenClassification,
    }
)
REFERENCE_CLASSES: Mapping[str, Any] = MappingProxyType(
    {
        "causal-lm": transformers.GPTBigCodeForCausalLM,
        "sequence-classification": transformers.GPTBigCodeForSequenceClassification,
        "token-classification": transformers.GPTBigCodeForTokenClassification,
    }
)
# Odd sizes, so that no transposed or misread dimension can fit by accident.
TINY: Mapping[str, Any] = MappingProxyType(
    {
        "vocab_size": 53,
        "n_positions": 64,
        "n_embd": 24,
        "n_layer": 2,
        "n_head": 3,
        "n_inner": 37,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    }
)


@dataclass(frozen=True)
class Pair:
    """The same weights in our class and in the reference's."""

    ours: Any
    theirs: Any


def tiny_fields(**changes: Any) -> dict[str, Any]:
    """Fields of a tiny model, as config.json has them."""
    return {**TINY, **changes}


def make_reference(
    fields: Mapping[str, Any], task: str = "causal-lm", *, seed: int = 0, std: float = 0.5
) -> Any:
    """The reference's model with large random weights."""
    settings = {"attn_implementation": "eager", "dtype": torch.float32, **fields}
    with torch.device("meta"):  # the reference's own initialization would be overwritten
        model: Any = REFERENCE_CLASSES[task](transformers.GPTBigCodeConfig(**settings)).eval()
    model.to_empty(device="cpu").tie_weights()
    scatter(model, seed=seed, std=std)
    return model


def make_pair(
    fields: Mapping[str, Any] | None = None,
    task: str = "causal-lm",
    *,
    seed: int = 0,
    std: float = 0.5,
) -> Pair:
    """Both models; ours takes the reference's state dict as it is."""
    fields = tiny_fields() if fields is None else fields
    theirs = make_reference(fields, task, seed=seed, std=std)
    ours = make_ours(fields, task)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return Pair(ours.eval(), theirs)


def make_ours(
    fields: Mapping[str, Any] | None = None,
    task: str = "causal-lm",
    *,
    seed: int | None = None,
    std: float = 0.5,
) -> Any:
    """Our model, with large random weights if a seed is given."""
    chosen = tiny_fields() if fields is None else fields
    model = OUR_CLASSES[task](GPTBigCodeConfig.from_dict(chosen)).eval()
    if seed is not None:
        scatter(model, seed=seed, std=std)
    return model


def scatter(model: nn.Module, *, seed: int, std: float) -> None:
    """Fill every parameter with noise: none stays at 0 or 1, where a mistake would not show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0.0, std, generator=generator)
            if ".ln_" in name and name.endswith("weight"):
                parameter.add_(1.0)


def token_ids(
    rows: int, length: int, *, seed: int = 1, vocabulary: int = TINY["vocab_size"]
) -> Tensor:
    """Random tokens [rows, length]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(vocabulary, (rows, length), generator=generator)


def positions_of(mask: Tensor) -> Tensor:
    """[B, S], counted over the mask, as the reference's `generate` does."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def deviation(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, as a share of the largest value of the reference."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    assert ours.isfinite().all()
    difference = (ours.detach() - theirs.detach()).abs().max()
    return float(difference / theirs.detach().abs().max())
