"""Trains the classifier's byte-level BPE tokenizer on equal parts of every language.

Run as `python -m training.languages.train_tokenizer`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
from collections import Counter

from training.languages.shape import VOCABULARY
from training.languages.snippets import read_records, tokenizer_path
from training.train_tokenizer import train


def main() -> None:
    """Samples the corpus, trains, writes tokenizer.json and a report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kilobytes", type=float, default=300.0, help="sample of a language")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    started = time.monotonic()
    records = read_records("train")
    random.Random(options.seed).shuffle(records)
    used: Counter[str] = Counter()
    sample = []
    for record in records:
        if used[record["label"]] < options.kilobytes * 1000:
            used[record["label"]] += len(record["text"])
            sample.append(record["text"])
    tokenizer = train(sample, VOCABULARY)
    if tokenizer.get_vocab_size() != VOCABULARY:
        raise SystemExit(f"tokenizer: {tokenizer.get_vocab_size()} entries: the sample is small")
    tokenizer.save(str(tokenizer_path()))
    report = {
        "seed": options.seed,
        "sample_characters": sum(used.values()),
        "sha256": hashlib.sha256(tokenizer_path().read_bytes()).hexdigest(),
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
