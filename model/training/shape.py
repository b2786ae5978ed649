"""The shape of the built-in model."""

from __future__ import annotations

from gpt_bigcode.config import GPTBigCodeConfig

VOCABULARY = 8192
POSITIONS = 2048
WIDTH = 384
LAYERS = 7
HEADS = 6


def configuration() -> GPTBigCodeConfig:
    """About 14.6 M parameters, multi-query, head size 64; no dropout: no token is seen twice."""
    return GPTBigCodeConfig(
        vocab_size=VOCABULARY,
        n_positions=POSITIONS,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        # Its infills are better so, by the tool's own path: the recipe's README has the figures.
        extra={"infilling": {"order": "spm"}},
    )
