"""Passages of real and made-up files with known findings: what is trained on and measured.

Knows no tokens. Everything follows from a seed.
"""

from __future__ import annotations

import random
from bisect import bisect
from typing import TYPE_CHECKING

from training.secret_tagger.planting import Draw, Planted, document, joined, line, plant
from training.secret_tagger.sources import RealFile, doubtful_lines
from training.secret_tagger.swapping import swapped
from training.secret_tagger.vocabulary import CLOSED, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

CHARACTERS = (120, 1000)
DOCUMENT_SHARE = 0.22
LIST_SHARE = 0.13
PYTHON_SHARE = 0.52
PLANTED_SHARE = 0.65
MIDDLE_SHARE = 0.8
FORMS_OF_LISTS = ("yaml", "json", "toml", "ini", "env", "javascript", "docker", "xml", "other")


class Passages:
    """Draws passages; equal seeds give equal passages."""

    def __init__(
        self, files: Sequence[RealFile], seed: str, vocabulary: Vocabulary = CLOSED
    ) -> None:
        self.draw = Draw(random.Random(seed), vocabulary)
        self._python = [file for file in files if file.form == "python"]
        self._other = [file for file in files if file.form != "python"]

    def next(self) -> Planted:
        """One passage of a few hundred to about 1,600 characters."""
        generator = self.draw.generator
        draw = generator.random()
        if draw < DOCUMENT_SHARE:
            return document(self.draw)
        if draw < DOCUMENT_SHARE + LIST_SHARE:
            return self.list_of_settings()
        files = self._python if generator.random() < PYTHON_SHARE else self._other
        host = self.real(generator.choice(files))
        if generator.random() >= PLANTED_SHARE:
            return swapped(host[0], self.draw, 0.0)
        return self.planted(*host, times=generator.choice([1, 1, 2, 3, 4]))

    def list_of_settings(self) -> Planted:
        """Some lines of one configuration format."""
        form = self.draw.generator.choice(FORMS_OF_LISTS)
        end = Planted("\n", ())
        count = self.draw.generator.randint(3, 10)
        return joined(*(part for _ in range(count) for part in (line(form, self.draw), end)))

    def real(self, file: RealFile) -> tuple[Planted, str]:
        """Whole lines from a random place of a file, and the file's form."""
        generator = self.draw.generator
        text = file.text
        place = generator.randrange(len(text)) if generator.random() < MIDDLE_SHARE else 0
        start = text.rfind("\n", 0, place) + 1
        end = text.find("\n", min(len(text), start + generator.randint(*CHARACTERS)))
        piece = text[start : end + 1 if end >= 0 else len(text)]
        return Planted(piece, (), tuple(doubtful_lines(piece))), file.form

    def planted(self, host: Planted, form: str, *, times: int) -> Planted:
        """The text with some values replaced and some lines added."""
        text = swapped(host, self.draw)
        for _ in range(times):
            borders = [place + 1 for place, letter in enumerate(text.text) if letter == "\n"]
            inside = _free(borders or [0], text)
            text = plant(text, line(form, self.draw), self.draw.generator.choice(inside))
        return text


def _free(borders: list[int], text: Planted) -> list[int]:
    """The borders that do not cut a finding (a private key has many lines)."""
    starts = [finding.start for finding in text.findings]
    free = []
    for border in borders:
        before = bisect(starts, border) - 1
        if before < 0 or text.findings[before].end <= border:
            free.append(border)
    return free or [0]
