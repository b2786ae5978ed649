"""Tokens whose borders are the values' borders, and labels on them; knows no files.

A byte-level BPE in the family's form whose merges never join a symbol of a key or password with a
quote or bracket, so that every finding begins and ends at a token. Labels are BIO: 0 is O, then B
and I of each label in turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from training.secret_tagger.planting import LABELS, Finding, Planted
from training.train_tokenizer import SPECIAL_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

VOCABULARY = 4096
IGNORED = 255
TAGS = ("O", *(f"{place}-{label}" for label in LABELS for place in "BI"))
# Only while merges are learned; what is saved splits as the family's tokenizers do.
_PIECES = Regex(r" ?\p{L}+| ?[\"'(){}\[\],:;<>`]+| ?([^\s\p{L}\p{N}])\1*|\s+(?!\S)|\s+")


def train(texts: Iterable[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """The tokenizer: 19 special tokens, 256 bytes, then merges."""
    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            digits,
            pre_tokenizers.Split(_PIECES, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=16,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.encode_special_tokens = True
    return tokenizer


def labelled(planted: Planted, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """Ids and tags [T] of a text; IGNORED where it is doubtful."""
    encoding = tokenizer.encode(planted.text)
    starts = np.array([start for start, _ in encoding.offsets], dtype=np.int64)
    ends = np.array([end for _, end in encoding.offsets], dtype=np.int64)
    tags = np.zeros(len(encoding.ids), dtype=np.uint8)
    for low, high in planted.doubtful:
        tags[(starts >= low) & (ends <= high)] = IGNORED
    for finding in planted.findings:
        inside = np.flatnonzero((ends > finding.start) & (starts < finding.end))
        if len(inside):
            place = 1 + 2 * LABELS.index(finding.label)
            tags[inside] = place + 1
            tags[inside[0]] = place
    return np.array(encoding.ids, dtype=np.uint16), tags


def findings(
    text: str, offsets: Sequence[tuple[int, int]], tags: Sequence[int]
) -> tuple[Finding, ...]:
    """The spans that tags [T] say: B begins one, I goes on with its own label or begins one."""
    found: list[list[int]] = []
    previous = 0
    for (start, end), tag in zip(offsets, tags, strict=True):
        if tag and tag % 2 == 0 and previous and (previous + 1) // 2 == tag // 2:
            found[-1][1] = end
        elif tag:
            found.append([start, end, (tag - 1) // 2])
        previous = tag
    spans = []
    for start, end, label in found:
        piece = text[start:end]
        low = start + len(piece) - len(piece.lstrip())
        high = end - (len(piece) - len(piece.rstrip()))
        if low < high:
            spans.append(Finding(low, high, LABELS[label]))
    return tuple(spans)
