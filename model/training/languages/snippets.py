"""From the corpus to rows of token ids with a label, and to the held-out cases.

Knows nothing of models. A batch is a function of (seed, step) alone. A row is the plain tokens of
a piece of a file, without a special token, as the tool gives it to the model.
"""

from __future__ import annotations

import json
import random
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from training.languages.labels import LABELS
from training.languages.sources import HOME

if TYPE_CHECKING:
    from pathlib import Path

FILE_START_SHARE = 0.25
ANYWHERE_SHARE = 0.1
CHARACTERS_PER_TOKEN = 6
LEAST_TOKENS = 4
SNIPPET_LINES = 3
SNIPPET_CHARACTERS = 40
_COMMENT_LINE = re.compile(
    r"\s*(?:#(?!include|import|define|if|pragma)|//|/?\*|--|;|<!--|%|@?rem\b)?\s*$|"
    r"\s*(?:#(?!include|import|define|if|pragma|!)|//|/?\*|--|;;|<!--|%|@?rem\b)",
    re.IGNORECASE,
)


def tokenizer_path() -> Path:
    """The classifier's own tokenizer."""
    return HOME / "tokenizer.json"


def load_tokenizer(path: Path | None = None) -> Tokenizer:
    """The tokenizer; special tokens written in a text are text."""
    tokenizer = Tokenizer.from_file(str(path or tokenizer_path()))
    tokenizer.encode_special_tokens = True
    return tokenizer


def read_records(split: str) -> list[dict[str, str]]:
    """All files of one split: label, package, path, text."""
    with (HOME / f"{split}.jsonl").open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


class RowMaker:
    """Makes labelled rows; every language comes equally often."""

    def __init__(self, records: list[dict[str, str]], tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        texts: list[list[str]] = [[] for _ in LABELS]
        for record in records:
            texts[LABELS.index(record["label"])].append(record["text"])
        self.texts = texts
        self.languages = [number for number, group in enumerate(texts) if group]
        # Between files and bytes: a long file is drawn more often, but not by its full length.
        self.weights = [np.cumsum([len(text) ** 0.5 for text in group]) for group in texts]

    def piece(self, language: int, length: int, generator: random.Random) -> list[int]:
        """At most `length` ids of a file in a language, from a random place on."""
        ends = self.weights[language]
        place = int(np.searchsorted(ends, generator.random() * ends[-1], side="right"))
        text = self.texts[language][min(place, len(ends) - 1)]
        start, draw = 0, generator.random()
        if draw >= FILE_START_SHARE:
            start = generator.randrange(len(text))
            if draw < 1 - ANYWHERE_SHARE:
                start = text.rfind("\n", 0, start) + 1
        ids: list[int] = self.tokenizer.encode(
            text[start : start + length * CHARACTERS_PER_TOKEN]
        ).ids
        return ids[:length]

    def batch(self, seed: int, step: int, shape: tuple[int, int]) -> tuple[Any, Any, Any]:
        """int64 ids [rows, length], labels [rows] and real lengths [rows]; padding is id 0."""
        rows, length = shape
        generator = random.Random(f"{seed}/{step}")
        ids = np.zeros((rows, length), dtype=np.int64)
        labels, lengths = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        row = 0
        while row < rows:
            language = generator.choice(self.languages)
            piece = self.piece(language, length, generator)
            if len(piece) >= LEAST_TOKENS:
                ids[row, : len(piece)] = piece
                labels[row], lengths[row] = language, len(piece)
                row += 1
        return ids, labels, lengths


def draw_snippet(text: str, generator: random.Random, *, lines: int = SNIPPET_LINES) -> str | None:
    """That many following lines without blank ones, from a random place after the file's header.

    None if there are none with SNIPPET_CHARACTERS visible characters in all. The header is the
    leading block of comments: a licence notice says nothing of the language.
    """
    kept = [line for line in text.split("\n") if line.strip()]
    first = next((n for n, line in enumerate(kept) if not _COMMENT_LINE.match(line)), len(kept))
    starts = [
        start
        for start in range(first, len(kept) - lines + 1)
        if len("".join("".join(kept[start : start + lines]).split())) >= SNIPPET_CHARACTERS
    ]
    if not starts:
        return None
    start = generator.choice(starts)
    return "\n".join(kept[start : start + lines]) + "\n"
