"""What the model is compared with on the same cases: n-grams with back-off, and copying a line.

Both see only the text before the cursor, cut to what is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.documents import END, read_texts
from training.ngrams import BackOffModel
from training.output import note
from training.paths import WORK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

PROGRESS_FILES = 1000


class NgramWriter:
    """Writes greedily with the n-grams of the training split."""

    name = "n-grams with back-off"

    def __init__(self, tokenizer: CodeTokenizer) -> None:
        self.tokenizer = tokenizer
        ids = np.load(training_ids(tokenizer))
        self.model = BackOffModel(ids, tokenizer.vocabulary_size)

    def write(self, prefix: str, tokens: int) -> str:
        """At most `tokens` tokens; the prefix's last one is spelled anew, as the model does it."""
        ids = self.tokenizer.encode(prefix[-2000:]) or [END]
        row, start = ids[:-1], self.tokenizer.token_bytes(ids[-1])
        if not start:
            row = ids
        written = b""
        for _ in range(tokens):
            chosen = self.model.likeliest(row, self._spelling(start[len(written) :]))
            if chosen is None or chosen == END:
                break
            row.append(chosen)
            written += self.tokenizer.token_bytes(chosen)
        return written[len(start) :].decode(errors="replace")

    def _spelling(self, rest: bytes) -> Callable[[int], bool] | None:
        """Which tokens spell the beginning of `rest` or go on beyond it; None: every token."""

        def fits(token: int) -> bool:
            spelled = self.tokenizer.token_bytes(token)
            return bool(spelled) and (spelled.startswith(rest) or rest.startswith(spelled))

        return fits if rest else None

    def nats(self, text: str) -> float:
        """The sum over the tokens of a whole text after the end token, as the model is measured."""
        chances = self.model.probabilities([END, *self.tokenizer.encode(text)])
        return -float(np.log(chances).sum())


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
        rows = []
        for number, text in enumerate(texts):
            rows.append(np.array([END, *tokenizer.encode(text)], np.uint16))
            if number % PROGRESS_FILES == 0:
                note(f"n-grams: {number} of {len(texts)} files encoded")
        partial = path.with_suffix(".partial.npy")
        np.save(partial, np.concatenate(rows))
        partial.replace(path)
    return path
