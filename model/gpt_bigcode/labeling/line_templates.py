"""Lines that differ in nothing but numbers and identifiers, as one text.

A log repeats a few lines with other times, counts and addresses. What a model says of a line does
not depend on those, so it reads a template in which they are always the same, and only once. The
answer is that of the template whether it was read before or not.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gpt_bigcode.labeling.rules.addresses import is_public

# Numbers and identifiers by themselves: what touches a letter or a hyphen may be a part of a name.
_VARIABLE = re.compile(
    r"(?P<uuid>(?<![\w-])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![\w-]))"
    r"|(?P<address>(?<![\w.-])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d))"
    r"|(?P<time>(?<!\w)\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?Z?(?!\w))"
    r"|(?P<hex>(?<!\w)(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{16,64}(?!\w))"
    r"|(?P<number>(?<!\w)\d+(?=(?:[mun]?s|[KkMG]?i?B|[mhd])?(?!\w)))"  # with a unit, too
)
_UUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
_ADDRESS = "81.187.142.209"
_TIME = "2024-03-12{}06:25:13{}"
_HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_NUMBERS = ("", "4", "27", "482", "5193", "60418", "604182")
_DIGITS = "6041827395"


@dataclass(frozen=True, slots=True)
class Template:
    """The template of a line.

    Attributes:
        text: what the model reads.
        edits: parts of it that are not as long as in the line: start and end here, start and end
            there, in characters.
    """

    text: str
    edits: tuple[tuple[int, int, int, int], ...] = ()

    @classmethod
    def of(cls, line: str) -> "Template":
        """Replace what varies."""
        if not any(map(str.isdecimal, line)):
            return cls(line)
        parts: list[str] = []
        edits = []
        done = size = 0
        for start, end, text in _variables(line):
            size += start - done
            parts += line[done:start], text
            if len(text) != end - start:
                edits.append((size, size + len(text), start, end))
            size, done = size + len(text), end
        return cls("".join([*parts, line[done:]]), tuple(edits))

    def start(self, place: int) -> int:
        """Where in the line something begins; not inside what was replaced."""
        return self._place(place, 2)

    def end(self, place: int) -> int:
        """Where in the line something ends."""
        return self._place(place, 3)

    def _place(self, place: int, side: int) -> int:
        shift = 0
        for edit in self.edits:
            first, last, _, end = edit
            if place <= first:
                break
            if place < last:
                return edit[side]
            shift = end - last
        return place + shift


def _variables(line: str) -> Iterator[tuple[int, int, str]]:
    """What varies, in order: start, end, and what replaces it."""
    for found in _VARIABLE.finditer(line):
        text = _replacement(str(found.lastgroup), found[0])
        if text != found[0]:
            yield found.start(), found.end(), text


def _replacement(kind: str, text: str) -> str:
    if kind == "uuid":
        return _UUID
    if kind == "hex":
        return _HEX[: len(text)]
    if kind == "time":
        return _TIME.format(text[10], "Z" if text.endswith("Z") else "")
    if kind == "address":  # a version, or an address that is no finding, is read as it is
        return _ADDRESS if _is_public(text) else text
    return _NUMBERS[len(text)] if len(text) < len(_NUMBERS) else _long_number(len(text))


def _is_public(text: str) -> bool:
    try:
        return is_public(text)
    except ValueError:
        return False


def _long_number(size: int) -> str:
    return (_DIGITS * (size // len(_DIGITS) + 1))[:size]
