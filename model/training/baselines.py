"""What the model is compared with on the same cases: n-grams with back-off, and copying a line.

Knows nothing of the model. Both see only the text before the cursor, cut to what is asked.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from training.documents import END, read_texts
from training.ngrams import BackOffModel
from training.paths import WORK

if TYPE_CHECKING:
    from pathlib import Path

    from gpt_bigcode.tokenizer import CodeTokenizer


class NgramWriter:
    """Writes greedily with the n-grams of the training split."""

    name = "n-grams with back-off"

    def __init__(self, tokenizer: CodeTokenizer) -> None:
        self.tokenizer = tokenizer
        ids = np.load(training_ids(tokenizer))
        self.model = BackOffModel(ids, tokenizer.vocabulary_size)

    def write(self, prefix: str, tokens: int) -> str:
        """At most `tokens` tokens after a prefix; a token that ends the prefix is not split."""
        ids = self.tokenizer.encode(prefix[-2000:])
        chosen = self.model.continuation(ids, tokens, END)
        return self.tokenizer.decode_bytes(chosen).decode(errors="replace")

    def bits_per_byte(self, texts: dict[str, list[str]]) -> float:
        """Of whole files after the end token, as the model is measured."""
        nats, size = 0.0, 0
        for text in (text for files in texts.values() for text in files):
            chances = self.model.probabilities([END, *self.tokenizer.encode(text)])
            nats -= float(np.log(chances).sum())
            size += len(text.encode())
        return nats / (size * math.log(2))


class LineCopier:
    """Copies what followed the most recent earlier line that begins as the cursor's line does."""

    name = "copy the most recent line that begins alike"

    def __init__(self, tokenizer: CodeTokenizer) -> None:
        self.tokenizer = tokenizer

    def write(self, prefix: str, tokens: int) -> str:
        """At most `tokens` tokens of the earlier text; nothing where no line begins alike.

        A line that holds only indentation begins like one with just this indentation.
        """
        *earlier, started = prefix.split("\n")
        for place in reversed(range(len(earlier))):
            rest = earlier[place][len(started) :]
            alike = earlier[place].startswith(started) and rest.strip()
            if alike and (started.strip() or rest[0].strip()):
                copied = "\n".join([rest, *earlier[place + 1 :], ""])
                ids = self.tokenizer.encode(copied[: 8 * tokens])[:tokens]
                return self.tokenizer.decode_bytes(ids).decode(errors="replace")
        return ""


def training_ids(tokenizer: CodeTokenizer) -> Path:
    """All files of the training split as one row of ids joined by the end token, made once."""
    path: Path = WORK / "ngrams" / "train.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        texts = read_texts("train")
        rows = [np.array([END, *tokenizer.encode(text)], np.uint16) for text in texts]
        partial = path.with_suffix(".partial.npy")
        np.save(partial, np.concatenate(rows))
        partial.replace(path)
    return path
