"""The shape of the language classifier."""

from __future__ import annotations

from gpt_bigcode.config import GPTBigCodeConfig
from training.languages.labels import LABELS

VOCABULARY = 6144
POSITIONS = 512
WIDTH = 128
LAYERS = 2
HEADS = 2
PAD = 4  # <fim_pad>


def configuration() -> GPTBigCodeConfig:
    """About 1.2 M parameters, multi-query, head size 64, one score per language."""
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
        pad_token_id=PAD,
        id2label=dict(enumerate(LABELS)),
    )
