"""Cases for measuring, drawn from held-out files by seed; knows nothing of models."""

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
_TRIVIAL = re.compile(r"(return|pass|break|continue|else:|try:|finally:|raise|[#\"'@)\]}].*)?")


@dataclass(frozen=True)
class Gap:
    """A line of a function that was removed; its indentation stays in the prefix."""

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


def gaps(records: list[dict[str, str]], count: int, seed: int) -> list[Gap]:
    """Single lines to fill in: a random file, then a random one of its lines that can be asked."""
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
            stripped = lines[place].strip()
            indent = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
            prefix = "\n".join([*lines[:place], indent])
            suffix = "\n".join(["", *lines[place + 1 :]])
            found.append(Gap(record["package"], prefix, stripped, suffix))
    return found


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
