"""Trains the byte-level BPE tokenizer on a sample of the training split.

Run as `python -m training.train_tokenizer`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from training.documents import read_texts
from training.paths import WORK

if TYPE_CHECKING:
    from collections.abc import Iterable

VOCABULARY = 8192
# StarCoder's order: the ids 0-18 are part of the family's format.
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<fim_prefix>",
    "<fim_middle>",
    "<fim_suffix>",
    "<fim_pad>",
    "<filename>",
    "<gh_stars>",
    "<issue_start>",
    "<issue_comment>",
    "<issue_closed>",
    "<jupyter_start>",
    "<jupyter_text>",
    "<jupyter_code>",
    "<jupyter_output>",
    "<empty_output>",
    "<commit_before>",
    "<commit_msg>",
    "<commit_after>",
    "<reponame>",
)


def train(texts: Iterable[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """A tokenizer of exactly `vocabulary` entries: 19 special tokens, 256 bytes, then merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def main() -> None:
    """Samples the corpus, trains, writes tokenizer.json and a report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=40.0, help="size of the sample")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    started = time.monotonic()
    texts = read_texts("train")
    random.Random(options.seed).shuffle(texts)
    sample: list[str] = []
    characters = 0
    while texts and characters < options.megabytes * 1e6:
        sample.append(texts.pop())
        characters += len(sample[-1])
    tokenizer = train(sample)
    if tokenizer.get_vocab_size() != VOCABULARY:
        raise SystemExit(f"tokenizer: {tokenizer.get_vocab_size()} entries: the sample is small")
    target = WORK / "tokenizer.json"
    tokenizer.save(str(target))
    held_out = read_texts("validation")
    tokens = sum(len(e.ids) for e in tokenizer.encode_batch(held_out))
    report = {
        "seed": options.seed,
        "sample_characters": characters,
        "validation_bytes_per_token": round(sum(len(t.encode()) for t in held_out) / tokens, 4),
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
