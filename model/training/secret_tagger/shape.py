"""The shape of the built-in tagger."""

from __future__ import annotations

from dataclasses import dataclass

from gpt_bigcode.config import GPTBigCodeConfig
from training.secret_tagger.tokens import TAGS, VOCABULARY

POSITIONS = 512


@dataclass(frozen=True)
class Shape:
    """Width, depth and heads."""

    width: int
    layers: int
    heads: int


def configuration(shape: Shape) -> GPTBigCodeConfig:
    """A multi-query trunk with one label a token; no dropout: hardly any token is seen twice."""
    return GPTBigCodeConfig(
        vocab_size=VOCABULARY,
        n_positions=POSITIONS,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        classifier_dropout=0.0,
        id2label=dict(enumerate(TAGS)),
        bos_token_id=0,
        eos_token_id=0,
    )
