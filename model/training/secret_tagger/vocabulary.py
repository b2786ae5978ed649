"""The names and words that made-up values are composed of; knows no values and no text around them.

Four vocabularies: CLOSED (short lists), VALIDATION and TEST (short lists that are never trained on)
and an open one of tens of thousands of entries, without which a model learns the lists by heart.
"""

from __future__ import annotations

import ast
import random
import re
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.corpus import Source, check_licence, fetch_all, wheel_of
from training.secret_tagger import people, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

NAMES = Source("Faker", "40.54.0", "MIT", "train")
_PERSONS = "faker/providers/person/"
_NAME = re.compile(r"[A-ZÀ-ÖØ-ÞĀ-Ž][A-Za-zÀ-ɏ'-]+(?: [A-ZÀ-Ž][A-Za-zÀ-ɏ'-]+)?")
_WORD = re.compile(r"(?<![A-Za-z0-9])[a-z]{3,11}(?![A-Za-z0-9])")
# A word is drawn from as many files as make a vocabulary; one that only a typo made is no loss.
WORD_FILES, WORDS = 3000, 30_000
# Of every name and word that is drawn from the open lists, this share was never seen before.
INVENTED_SHARE = 0.35
_LONGEST_INVENTED = 11


@dataclass(frozen=True)
class Vocabulary:
    """Lists to draw from.

    Attributes:
        given, family: names of people.
        words: lower-case words.
        open: whether values may be composed in every way, and names and words be invented.
    """

    given: Sequence[str]
    family: Sequence[str]
    words: Sequence[str]
    open: bool = False


CLOSED = Vocabulary(people.GIVEN, people.FAMILY, words.WORDS)
VALIDATION = Vocabulary(people.VALIDATION_GIVEN, people.VALIDATION_FAMILY, words.VALIDATION_WORDS)
TEST = Vocabulary(people.HELD_OUT_GIVEN, people.HELD_OUT_FAMILY, words.HELD_OUT_WORDS)


def held_out() -> frozenset[str]:
    """Every part of a name and every word that measures alone, in lower case."""
    found = [text for one in (VALIDATION, TEST) for text in (*one.given, *one.family, *one.words)]
    return frozenset(part for text in found for part in _parts(text))


def _parts(text: str) -> list[str]:
    return [part for part in re.split(r"[ '-]", text.lower()) if len(part) > 2]


def open_vocabulary(texts: Iterable[str], names: tuple[list[str], list[str]]) -> Vocabulary:
    """Given and family names and the words of real code, and invented ones like them; seeded."""
    forbidden = held_out()
    found: dict[str, None] = {}
    for text, _ in zip(texts, range(WORD_FILES), strict=False):
        found |= dict.fromkeys(match[0] for match in _WORD.finditer(text))
    lists = []
    for kind, entries in (("given", names[0]), ("family", names[1]), ("words", sorted(found))):
        kept = [entry for entry in entries if not forbidden.intersection(_parts(entry))]
        generator = random.Random(f"open/{kind}")
        kept = generator.sample(kept, min(WORDS, len(kept)))
        count = int(len(kept) * INVENTED_SHARE / (1 - INVENTED_SHARE))
        made = [one for one in invented(kept, generator, count) if one.lower() not in forbidden]
        lists.append([*kept, *made])
    return Vocabulary(lists[0], lists[1], lists[2], open=True)


def names_of_people() -> tuple[list[str], list[str]]:
    """Given and family names in Latin letters, of a library that invents data for tests."""
    fetch_all([NAMES])
    wheel = wheel_of(NAMES)
    if wheel is None:
        raise SystemExit(f"secrets: {NAMES.name} {NAMES.version} was not fetched")
    found = {"first": {*people.GIVEN}, "last": {*people.FAMILY}}
    for target, name in _constants(wheel):
        kind = target.split("_")[0]
        if kind in found and "_name" in target and _NAME.fullmatch(name):
            found[kind].add(name)
    return sorted(found["first"]), sorted(found["last"])


def _constants(wheel: Path) -> Iterator[tuple[str, str]]:
    """(variable, text) of every text in an assignment of the library's lists."""
    with zipfile.ZipFile(wheel) as archive:
        check_licence(NAMES, archive)
        for path in sorted(path for path in archive.namelist() if path.startswith(_PERSONS)):
            for node in ast.walk(ast.parse(archive.read(path))):
                if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
                    continue
                for part in ast.walk(node.value):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield node.targets[0].id, part.value


def invented(entries: Sequence[str], generator: random.Random, count: int) -> list[str]:
    """New entries, letter by letter: each letter followed these two somewhere in the entries."""
    followers: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        marked = f"^^{entry}$"
        for place in range(2, len(marked)):
            followers[marked[place - 2 : place]].append(marked[place])
    made: list[str] = []
    while len(made) < count:
        text = "^^"
        while not text.endswith("$") and len(text) < _LONGEST_INVENTED + 2:
            text += generator.choice(followers[text[-2:]])
        entry = text.strip("^$")
        if len(entry) > 2 and entry[-1].isalpha():
            made.append(entry)
    return made
