"""From the corpus to rows of token ids with a label, and to the held-out cases.

A batch is a function of (seed, step) alone. A row is the plain tokens of
a piece of a file, without a special token, as the tool gives it to the model.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from gpt_bigcode.labeling.languages import UNKNOWN
from training.languages import embedding, telling
from training.languages.labels import LABELS, known_label
from training.languages.sources import HOME
from training.train_tokenizer import SPECIAL_TOKENS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FILE_START_SHARE = 0.25
ANYWHERE_SHARE = 0.1
CHARACTERS_PER_TOKEN = 6
# Of the rows that begin at a line: how many begin where `telling` would ask.
ASKED_SHARE = 0.7
# Blank lines say little, and short snippets have none.
DENSE_SHARE = 0.5
# Most of the ids of a row that another id is put for, and how many rows have any such.
NOISE_SHARE = 0.3
NOISY_ROWS = 0.6
# Of the rows of a language with long literals: how many hold a piece of another one.
EMBEDDED_SHARE = 0.15
# How many rows a language has: a power of its characters.
ROWS_BY_SIZE = 0.2
# Rows in no language of the labels, for each of one of them; some are no language at all.
UNKNOWN_ROWS, NONSENSE_SHARE = 9, 0.1
LEAST_TOKENS = 8
SPECIALS = len(SPECIAL_TOKENS)
SNIPPET_LINES = 3
SNIPPET_CHARACTERS = 40


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


class Batch(NamedTuple):
    """Rows of a step: ids [rows, length]; of each row its label and the places to ask at.

    The language is asked for at the ids first .. end - 1 of a row; all arrays are int64.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    firsts: NDArray[np.int64]
    ends: NDArray[np.int64]


class RowMaker:
    """Makes labelled rows; every language comes equally often."""

    def __init__(self, records: list[dict[str, str]], tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        texts: list[list[str]] = [[] for _ in LABELS]
        exact: list[list[str]] = [[] for _ in LABELS]
        for record in records:
            place = LABELS.index(known_label(record["label"]))
            texts[place].append(record["text"])
            exact[place].append(record["label"])
        self.texts = texts
        self.languages = [number for number, group in enumerate(texts) if group]
        sizes = [sum(map(len, texts[number])) for number in self.languages]
        # More rows where there is more to learn: a language of few files is soon known by heart.
        self.shares = [size**ROWS_BY_SIZE for size in sizes]
        if texts[-1]:
            # More of the unknown ones: they are many languages.
            known = self.shares[:-1] or self.shares
            self.shares[-1] = UNKNOWN_ROWS * sum(known) / len(known)
        # Between files and bytes: a long file is drawn more often, but not by its full length.
        self.starts: dict[tuple[int, int], NDArray[np.int32]] = {}
        self.weights = [np.cumsum([len(text) ** 0.5 for text in group]) for group in texts]
        self.weights[-1] = evened(exact[-1], texts[-1])

    def piece(self, language: int, length: int, generator: random.Random) -> tuple[list[int], int]:
        """At most `length` ids of a file in a language, and from which of them on to ask for it."""
        part = self.text_from(language, length, generator)
        shown = 0
        if LABELS[language] in embedding.HOSTS and generator.random() < EMBEDDED_SHARE:
            guest = LABELS.index(generator.choice(embedding.GUESTS))
            if guest != language and self.texts[guest]:
                inner = self.text_from(guest, length, generator)
                both = embedding.embed(LABELS[language], part, inner, generator)
                part = both.text
                shown = len(self.tokenizer.encode(part[: both.shown]).ids)
        if generator.random() < DENSE_SHARE:
            part = "\n".join(line for line in part.split("\n") if line.strip())
        ids: list[int] = self.tokenizer.encode(part).ids[:length]
        return self.noisy(ids, generator), shown

    def text_from(self, language: int, length: int, generator: random.Random) -> str:
        """Enough characters for `length` ids of a file in a language, from a random place on."""
        if LABELS[language] == UNKNOWN and generator.random() < NONSENSE_SHARE:
            return embedding.nonsense(generator, length * CHARACTERS_PER_TOKEN)
        ends = self.weights[language]
        place = int(np.searchsorted(ends, generator.random() * ends[-1], side="right"))
        place = min(place, len(ends) - 1)
        text = self.texts[language][place]
        start, draw = 0, generator.random()
        if draw >= 1 - ANYWHERE_SHARE:
            start = generator.randrange(len(text))
        elif draw >= FILE_START_SHARE:
            start = self.line_start(language, place, generator)
        return text[start : start + length * CHARACTERS_PER_TOKEN]

    def line_start(self, language: int, place: int, generator: random.Random) -> int:
        """Where a random line of a file begins; mostly one that could be asked for."""
        text, key = self.texts[language][place], (language, place)
        if generator.random() < ASKED_SHARE:
            if key not in self.starts:
                self.starts[key] = asked_starts(LABELS[language], text)
            if len(self.starts[key]):
                return int(generator.choice(self.starts[key]))
        return text.rfind("\n", 0, generator.randrange(len(text))) + 1

    def noisy(self, ids: list[int], generator: random.Random) -> list[int]:
        """Most rows get some random ids, so that no single word decides."""
        if generator.random() >= NOISY_ROWS:
            return ids
        size, share = self.tokenizer.get_vocab_size(), generator.random() * NOISE_SHARE
        return [
            generator.randrange(SPECIALS, size) if generator.random() < share else number
            for number in ids
        ]

    def batch(self, seed: int, step: int, shape: tuple[int, int]) -> Batch:
        """The rows of a step; padding is id 0."""
        rows, length = shape
        generator = random.Random(f"{seed}/{step}")
        ids = np.zeros((rows, length), dtype=np.int64)
        labels, firsts, ends = (np.zeros(rows, np.int64) for _ in range(3))
        row = 0
        while row < rows:
            language = generator.choices(self.languages, self.shares)[0]
            piece, shown = self.piece(language, length, generator)
            first = max(shown, LEAST_TOKENS - 1)
            if len(piece) > first:
                ids[row, : len(piece)] = piece
                labels[row], firsts[row], ends[row] = language, first, len(piece)
                row += 1
        return Batch(ids, labels, firsts, ends)


def evened(labels: list[str], texts: list[str]) -> NDArray[np.float64]:
    """Running sums of the weights of texts that have no label, by the languages they are in.

    A language counts by the fourth root of its characters: hundreds of them stand on one short
    sample each, which is all there is to show that they are no label, and a few on megabytes.
    """
    sizes: Counter[str] = Counter()
    for label, text in zip(labels, texts, strict=True):
        sizes[label] += len(text)
    shares = [
        sizes[label] ** 0.25 * len(text) / sizes[label]
        for label, text in zip(labels, texts, strict=True)
    ]
    return np.cumsum(shares)


def asked_starts(label: str, text: str) -> NDArray[np.int32]:
    """Where the lines begin from which SNIPPET_LINES lines without blank ones can be asked for."""
    plain, rest = text.split("\n"), telling.masked(label, text).split("\n")
    ends = np.cumsum([len(line) + 1 for line in plain])
    kept = [number for number, line in enumerate(plain) if line.strip()]
    letters = [telling.letters_of(rest[number]) for number in kept]
    found = []
    for first in range(len(kept) - SNIPPET_LINES + 1):
        chosen = kept[first : first + SNIPPET_LINES]
        if telling.lines_tell(
            label, [rest[number] for number in chosen], letters[first : first + SNIPPET_LINES]
        ):
            found.append(int(ends[chosen[0]]) - len(plain[chosen[0]]) - 1)
    return np.array(found, dtype=np.int32)


def draw_snippet(
    label: str, text: str, generator: random.Random, *, lines: int = SNIPPET_LINES
) -> str | None:
    """That many following lines without blank ones, from a random place that can be asked for.

    None if there is no such place: see `telling`, and SNIPPET_CHARACTERS visible characters in all.
    """
    plain, rest = text.split("\n"), telling.masked(label, text).split("\n")
    kept = [number for number, line in enumerate(plain) if line.strip()]
    letters = [telling.letters_of(rest[number]) for number in kept]
    starts = list(range(len(kept) - lines + 1))
    generator.shuffle(starts)
    for start in starts:
        chosen = kept[start : start + lines]
        visible = "".join("".join(plain[number] for number in chosen).split())
        if len(visible) >= SNIPPET_CHARACTERS and telling.lines_tell(
            label, [rest[number] for number in chosen], letters[start : start + lines]
        ):
            return "\n".join(plain[number] for number in chosen) + "\n"
    return None
