"""Texts to write into, of kinds that repeat themselves and of kinds that do not.

Real texts come from installed packages, at random lines; the same seed gives the
same texts wherever the same packages are installed.
"""

import base64
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

PACKAGES = ("rich", "huggingface_hub", "typer", "jinja2", "filelock", "platformdirs")
_LINES_AROUND = 24
_LEAST_BYTES = 4096
_LETTERS = "abcdefghijklmnopqrstuvwxyz"

Gap = tuple[str, str]
"""The text before and behind the place."""


def gaps(draw: random.Random) -> Iterator[Gap]:
    """A line of a Python file, removed."""
    files = [path for name in PACKAGES for path in (_site() / name).glob("*.py")]
    return _inside(sorted(files), draw)


def behind_code(draw: random.Random) -> Iterator[Gap]:
    """A Python file that ends at a line."""
    return ((before, "") for before, _ in gaps(draw))


def behind_prose(draw: random.Random) -> Iterator[Gap]:
    """A description of a package that ends at a line."""
    files = [
        path for path in _site().glob("*.dist-info/METADATA") if path.stat().st_size > _LEAST_BYTES
    ]
    return ((before, "") for before, _ in _inside(sorted(files), draw))


def identifiers(draw: random.Random) -> Iterator[Gap]:
    """Statements whose names are random letters."""

    def name() -> str:
        return "".join(draw.choices(_LETTERS, k=draw.randrange(3, 12)))

    def statement() -> str:
        return f"{name()}_{name()} = {name()}({name()}.{name()}, {name()}={draw.randrange(1000)})\n"

    return _repeated(statement)


def base64_lines(draw: random.Random) -> Iterator[Gap]:
    """A constant of random bytes in base64."""
    return _repeated(
        lambda: f'    "{base64.b64encode(draw.randbytes(51)).decode()}"\n', "KEY = (\n"
    )


def numbers(draw: random.Random) -> Iterator[Gap]:
    """A table of random numbers."""

    def row() -> str:
        return "    [" + ", ".join(f"{draw.gauss(0, 40):.4f}" for _ in range(6)) + "],\n"

    return _repeated(row, "ROWS = [\n")


KINDS: dict[str, Callable[[random.Random], Iterator[Gap]]] = {
    "gaps": gaps,
    "code": behind_code,
    "prose": behind_prose,
    "identifiers": identifiers,
    "base64": base64_lines,
    "numbers": numbers,
}


def _repeated(line: Callable[[], str], head: str = "") -> Iterator[Gap]:
    while True:
        yield head + "".join(line() for _ in range(_LINES_AROUND // 2)), ""


def _inside(files: list[Path], draw: random.Random) -> Iterator[Gap]:
    while True:
        lines = draw.choice(files).read_text("utf-8").splitlines(keepends=True)
        at = draw.randrange(len(lines)) if lines else 0
        if len(lines) > _LINES_AROUND and lines[at].strip():
            before = lines[max(0, at - _LINES_AROUND) : at]
            yield "".join(before), "".join(lines[at + 1 : at + 1 + _LINES_AROUND])


def _site() -> Path:
    return Path(np.__file__).parent.parent
