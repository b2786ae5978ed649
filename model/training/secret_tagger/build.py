"""Builds what is trained on: the tokenizer, streams of labelled tokens, and the held-out cases.

Knows no model. Run as `python -m training.secret_tagger.build` after `training.corpus`; a stage
that is there is not built again, so a second run continues.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from training.output import file_hash, note
from training.secret_tagger import cases, tokens
from training.secret_tagger.passages import Passages
from training.secret_tagger.sources import HOME, RealFile, other_files, python_files
from training.secret_tagger.vocabulary import (
    VALIDATION,
    Vocabulary,
    names_of_people,
    open_vocabulary,
)

if TYPE_CHECKING:
    from pathlib import Path

END = 0
SAMPLE_CHARACTERS = 14_000_000
VALIDATION_TOKENS = 120_000


def real_files(split: str) -> list[RealFile]:
    """All files of a split, in a seeded order."""
    files = [*python_files(split), *other_files(split)]
    random.Random(f"files/{split}").shuffle(files)
    return files


def vocabulary_of(split: str, files: list[RealFile]) -> Vocabulary:
    """Training draws from open lists; what measures, from lists of its own."""
    if split != "train":
        return VALIDATION
    texts = (file.text for file in files if file.form == "python")
    return open_vocabulary(texts, names_of_people())


def build_tokenizer(files: list[RealFile], seed: int) -> Tokenizer:
    """Trains the tokenizer on real text and a tenth of passages, or reads it."""
    path = HOME / "tokenizer.json"
    if not path.exists():
        note("tokenizer")
        source, texts, size = Passages(files, f"tokenizer/{seed}"), [], 0
        for file in files:
            if size >= SAMPLE_CHARACTERS:
                break
            texts.append(file.text[:20_000])
            size += len(texts[-1])
        texts += [source.next().text for _ in range(3000)]
        tokens.train(texts).save(str(path))
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return tokenizer


def build_stream(source: Passages, tokenizer: Tokenizer, count: int, gap: int) -> dict[str, Any]:
    """`count` ids and tags of passages, each followed by `gap` end tokens."""
    ids, tags, total = [], [], 0
    ends = np.full(gap, END, dtype=np.uint16), np.zeros(gap, dtype=np.uint8)
    while total < count:
        row, labels = tokens.labelled(source.next(), tokenizer)
        ids += [row, ends[0]]
        tags += [labels, ends[1]]
        before, total = total, total + len(row) + gap
        if before // 500_000 != total // 500_000:
            note(f"{total / 1e6:.1f} M tokens")
    return {"ids": np.concatenate(ids)[:count], "tags": np.concatenate(tags)[:count]}


def stream_path(split: str) -> Path:
    """Where a split's stream is."""
    return HOME / f"{split}.npz"


def load_tokenizer() -> Tokenizer:
    """The tokenizer that was built; special tokens written in a text are text."""
    tokenizer = Tokenizer.from_file(str(HOME / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return tokenizer


def main() -> None:
    """Builds every stage and prints the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--million-tokens", type=float, default=6.0)
    parser.add_argument("--gap", type=int, default=16, help="end tokens after each passage")
    parser.add_argument("--seed", type=int, default=17)
    options = parser.parse_args()
    started = time.monotonic()
    HOME.mkdir(parents=True, exist_ok=True)
    sizes = {"train": int(options.million_tokens * 1e6), "validation": VALIDATION_TOKENS}
    report: dict[str, Any] = {"options": vars(options)}
    for split, size in sizes.items():
        files = real_files(split)
        tokenizer = build_tokenizer(files, options.seed)
        note(f"{split}: {len(files)} real files")
        if not stream_path(split).exists():
            source = Passages(files, f"{split}/{options.seed}", vocabulary_of(split, files))
            stream = build_stream(source, tokenizer, size, options.gap)
            np.savez(stream_path(split), **stream)
        counts = np.bincount(np.load(stream_path(split))["tags"], minlength=256)
        report[split] = {
            "real_files": len(files),
            "packages": len({file.package for file in files}),
            "tokens": int(counts.sum()),
            "findings": {tag: int(counts[n]) for n, tag in enumerate(tokens.TAGS) if n % 2},
            "doubtful_tokens": int(counts[tokens.IGNORED]),
        }
    report["cases"] = {split: cases.build(split, real_files(split)) for split in cases.SPLITS}
    report["tokenizer_sha256"] = file_hash(HOME / "tokenizer.json")
    report["seconds"] = round(time.monotonic() - started, 1)
    (HOME / "build.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
