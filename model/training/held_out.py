"""Cases for measuring, drawn from held-out files by seed."""

from __future__ import annotations

import ast
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.documents import read_records
from training.parsing import parses_so_far

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_PROMPT_LINES = 10
MAX_PROMPT_TOKENS = 900
MIN_LINE_CHARACTERS = 8
PREFIX_CHARACTERS, SUFFIX_CHARACTERS = 2_400, 1_200
_TRIVIAL = re.compile(r"(return|pass|break|continue|else:|try:|finally:|raise|[#\"'@)\]}].*)?")


@dataclass(frozen=True)
class Gap:
    """A line of a function, or its rest, that was removed; its indentation stays in the prefix."""

    package: str
    prefix: str
    line: str
    suffix: str


def sample_texts(split: str, limit_bytes: int, seed: int) -> dict[str, list[str]]:
    """Whole files of each package in seeded order, up to a size per package."""
    records = read_records(split)
    random.Random(seed).shuffle(records)
    chosen: dict[str, list[str]] = {}
    used: dict[str, int] = {}
    for record in records:
        package, text = record["package"], record["text"]
        if used.get(package, 0) + len(text) <= limit_bytes:
            used[package] = used.get(package, 0) + len(text)
            chosen.setdefault(package, []).append(text)
    return chosen


def prompts_at_borders(
    records: list[dict[str, str]], length: Callable[[str], int], count: int, seed: int
) -> list[str]:
    """Beginnings of files that end at a statement border, at most MAX_PROMPT_TOKENS long."""
    generator = random.Random(seed)
    found: list[str] = []
    tries = 0
    while len(found) < count and tries < 20 * count:
        tries += 1
        places = borders(text := generator.choice(records)["text"])
        if not places:
            continue
        prefix = text[: generator.choice(places)]
        if length(prefix) < MAX_PROMPT_TOKENS and parses_so_far(prefix):
            found.append(prefix)
    return found


def borders(text: str) -> list[int]:
    """Offsets of the lines where a statement begins, at any depth."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    lines = {node.lineno for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)}
    return [starts[line - 1] for line in sorted(lines) if line > MIN_PROMPT_LINES]


def gaps(
    records: list[dict[str, str]],
    count: int,
    seed: int,
    *,
    cut: Callable[[str, random.Random], int] = lambda _line, _generator: 0,
) -> list[Gap]:
    """Single lines to fill in: a random file, then a random one of its lines that can be asked.

    What is far from the gap is left out: PREFIX_CHARACTERS before it and SUFFIX_CHARACTERS after it
    stay, from the next whole line on.

    Args:
        records: files.
        count: how many are wanted.
        seed: of the draws.
        cut: how many characters of a line, without its indentation, stay in the prefix.
    """
    generator = random.Random(seed)
    found: list[Gap] = []
    for _ in range(20 * count):
        if len(found) == count:
            break
        record = generator.choice(records)
        lines = record["text"].split("\n")
        places = lines_of_functions(record["text"])
        if places:
            place = generator.choice(places)
            line = lines[place].rstrip()
            start = len(line) - len(line.lstrip())
            start += cut(line.lstrip(), generator)
            prefix = near("\n".join([*lines[:place], line[:start]]))
            suffix = "\n".join(["", *lines[place + 1 :]])[:SUFFIX_CHARACTERS]
            found.append(Gap(record["package"], prefix, line[start:], suffix))
    return found


def near(prefix: str) -> str:
    """The end of a prefix, from the beginning of a line on where there is one."""
    if len(prefix) <= PREFIX_CHARACTERS:
        return prefix
    return prefix[prefix.find("\n", len(prefix) - PREFIX_CHARACTERS) + 1 :]


def at_a_token(ends: Callable[[str], list[int]]) -> Callable[[str, random.Random], int]:
    """A cut of `gaps` after a random token of the line that is not its last.

    Args:
        ends: where each token of a text ends, in characters.
    """

    def cut(line: str, generator: random.Random) -> int:
        places = [end for end in ends(line) if 0 < end < len(line)]
        return generator.choice(places) if places else 0

    return cut


def lines_of_functions(text: str) -> list[int]:
    """Numbers, from 0, of the lines where a statement of a function begins that says something.

    Not the function's header, a docstring, a decorator, a lone keyword or bracket, or anything of
    fewer than MIN_LINE_CHARACTERS characters.
    """
    lines = text.split("\n")
    found: set[int] = set()
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = (node for statement in function.body for node in ast.walk(statement))
            found.update(node.lineno - 1 for node in inner if isinstance(node, ast.stmt))
    return [place for place in sorted(found) if _says_something(lines[place].strip())]


def _says_something(line: str) -> bool:
    return len(line) >= MIN_LINE_CHARACTERS and _TRIVIAL.fullmatch(line) is None
