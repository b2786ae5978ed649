"""From the corpus to rows of token ids: packing, rearrangement for infilling, random places.

A batch is a function of (seed, step) alone: nothing needs to be saved to
go on after a break, and any number of processes can make batches. Format: as the family's own
training data (Megatron-LM of the BigCode project, `gpt_dataset.permute`).
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from training.paths import WORK

if TYPE_CHECKING:
    from collections.abc import Sequence

END, PREFIX, MIDDLE, SUFFIX, PAD = range(5)
# A window must surely hold enough text for the tokens that are wanted from it.
CHARACTERS_PER_TOKEN_HIGH = 7
# A rearranged piece should nearly fill its place without being cut: below the mean.
CHARACTERS_PER_TOKEN_MEAN = 3
SHORTEST_INFILL_TOKENS = 64
# Of the middles that are lines: how many begin inside one, and how likely one more follows.
INSIDE_LINE_SHARE = 0.4
MORE_LINES_SHARE = 0.3


class Order(Enum):
    """How the three pieces of an infilling example are laid out."""

    PREFIX_FIRST = "psm"
    SUFFIX_FIRST = "spm"  # variant 2: the prefix follows the middle sentinel


def read_texts(split: str) -> list[str]:
    """All texts of one split of the corpus."""
    return [record["text"] for record in read_records(split)]


def read_records(split: str) -> list[dict[str, str]]:
    """All files of one split: package, path, text."""
    with (WORK / "corpus" / f"{split}.jsonl").open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def load_tokenizer(path: str | None = None) -> Tokenizer:
    """The tokenizer; special tokens written in a text are text."""
    tokenizer = Tokenizer.from_file(path or str(WORK / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return tokenizer


def cut(text: str, generator: random.Random) -> tuple[str, str, str]:
    """Prefix, middle and suffix: two places drawn uniformly among the characters."""
    low, high = sorted(generator.randint(0, len(text)) for _ in range(2))
    return text[:low], text[low:high], text[high:]


def cut_lines(text: str, generator: random.Random) -> tuple[str, str, str]:
    """Prefix, middle and suffix: the middle is what a person at the cursor is about to write.

    From the end of a line's indentation, or for four in ten from inside the line, to the end of
    that line or of one of the next few.
    """
    lines = text.split("\n")
    written = [number for number, line in enumerate(lines) if line.strip()]
    first = last = generator.choice(written or [0])
    while last + 1 < len(lines) and generator.random() < MORE_LINES_SHARE:
        last += 1
    line = lines[first]
    inside = len(line) - len(line.lstrip(" \t"))
    if generator.random() < INSIDE_LINE_SHARE:
        inside = generator.randint(inside, len(line))
    start = sum(len(earlier) + 1 for earlier in lines[:first])
    end = start + sum(len(line) + 1 for line in lines[first : last + 1]) - 1
    return text[: start + inside], text[start + inside : end], text[end:]


def arrange(
    prefix: Sequence[int], middle: Sequence[int], suffix: Sequence[int], *, order: Order
) -> list[int]:
    """One infilling example without its end token: [prefix] + [middle] + [suffix] + 3 ids."""
    if order is Order.PREFIX_FIRST:
        return [PREFIX, *prefix, SUFFIX, *suffix, MIDDLE, *middle]
    return [PREFIX, SUFFIX, *suffix, MIDDLE, *prefix, *middle]


def trim(prefix: list[int], suffix: list[int], surplus: int) -> tuple[list[int], list[int]]:
    """Both pieces without `surplus` tokens far from the cursor, in proportion to their lengths."""
    total = len(prefix) + len(suffix)
    from_prefix = min(len(prefix), round(surplus * len(prefix) / total)) if total else 0
    from_suffix = surplus - from_prefix
    return prefix[from_prefix:], suffix[: len(suffix) - from_suffix]


@dataclass(frozen=True)
class RowOptions:
    """How rows are filled."""

    infill_share: float = 0.5
    suffix_first_share: float = 0.5
    file_start_share: float = 0.35
    line_gap_share: float = 0.0  # of the infilling examples: their middles are lines
    healed: bool = False  # in SPM order the middle has the prefix's last token: `infill` heals it


class RowMaker:
    """Makes rows of token ids from texts; no share of them is of other languages."""

    other_share = 0.0

    def __init__(self, texts: list[str], tokenizer: Tokenizer, options: RowOptions) -> None:
        self.texts, self.tokenizer, self.options = texts, tokenizer, options
        self._ends = np.cumsum([len(text) for text in texts])

    def row(self, length: int, generator: random.Random) -> list[int]:
        """Exactly `length` ids: pieces of files, joined by the end token."""
        row: list[int] = []
        if generator.random() < self.options.file_start_share:
            row.append(END)
            text = generator.choice(self.texts)
        else:
            text = self._middle_of_a_file(generator)
        while True:
            row += self._piece(text, length - len(row), generator)
            if len(row) >= length:
                return row[:length]
            text = generator.choice(self.texts)

    def batch(self, seed: int, step: int, shape: tuple[int, int]) -> Any:
        """int64 [rows, length], the same for the same seed, step and shape."""
        rows, length = shape
        generator = random.Random(f"{seed}/{step}")
        return np.array([self.row(length, generator) for _ in range(rows)], dtype=np.int64)

    def _middle_of_a_file(self, generator: random.Random) -> str:
        """The rest of a file from a random line on; long files are drawn more often."""
        place = generator.randrange(int(self._ends[-1]))
        index = int(np.searchsorted(self._ends, place, side="right"))
        text = self.texts[index]
        inside = place - (int(self._ends[index]) - len(text))
        return text[text.rfind("\n", 0, inside) + 1 :]

    def _piece(self, text: str, room: int, generator: random.Random) -> list[int]:
        """At most `room` ids of a text, or all of it and an end token; rearranged or plain."""
        wanted = generator.random() < self.options.infill_share
        if wanted and room >= SHORTEST_INFILL_TOKENS:
            found = self._infill(text[: room * CHARACTERS_PER_TOKEN_MEAN], room, generator)
            if found is not None:
                return found
        window = room * CHARACTERS_PER_TOKEN_HIGH
        ids: list[int] = self.tokenizer.encode(text[:window]).ids
        if len(ids) < room and window < len(text):
            ids = self.tokenizer.encode(text).ids
        return [*ids, END][:room]

    def _infill(self, text: str, room: int, generator: random.Random) -> list[int] | None:
        """A rearranged piece with its end token that fits `room`; None if its middle does not."""
        lines = self.options.line_gap_share
        by_lines = lines > 0 and generator.random() < lines
        if by_lines:
            tokens = generator.randint(SHORTEST_INFILL_TOKENS, room)
            text = text[: tokens * CHARACTERS_PER_TOKEN_MEAN]
        pieces = (cut_lines if by_lines else cut)(text, generator)
        spm = generator.random() < self.options.suffix_first_share
        # In PSM order `infill` heals nothing: rows that did taught the model to repeat a token.
        if self.options.healed and spm:
            pieces = self._healed(*pieces)
        encoded = self.tokenizer.encode_batch(pieces)
        prefix, middle, suffix = (encoding.ids for encoding in encoded)
        surplus = len(prefix) + len(middle) + len(suffix) + 4 - room
        if surplus > len(prefix) + len(suffix):
            return None
        if surplus > 0:
            prefix, suffix = trim(prefix, suffix, surplus)
        order = Order.SUFFIX_FIRST if spm else Order.PREFIX_FIRST
        return [*arrange(prefix, middle, suffix, order=order), END]

    def _healed(self, prefix: str, middle: str, suffix: str) -> tuple[str, str, str]:
        """The same pieces, but the middle begins where the prefix's last token does.

        So its first tokens are those of whole text. A prefix that is cut inside a letter of several
        tokens stays.
        """
        kept: str = self.tokenizer.decode(self.tokenizer.encode(prefix).ids[:-1])
        if not prefix.startswith(kept):
            return prefix, middle, suffix
        return kept, prefix[len(kept) :] + middle, suffix
