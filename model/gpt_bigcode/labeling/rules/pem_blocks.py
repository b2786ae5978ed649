"""Armoured keys and certificates, which have many lines and borders of their own (RFC 7468)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from gpt_bigcode.labeling.results import Span
from gpt_bigcode.labeling.shapes import Line

MAX_BLOCK_CHARACTERS = 1 << 14
"""A longer block is cut there."""
_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{1,40}-----")
_END = re.compile(r"-----END [A-Z0-9 ]{1,40}-----(?:\\n)?")
_PRIVATE = re.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY")
# A line of base64, or one of the headers that some blocks have.
_BODY = re.compile(r"[A-Za-z0-9+/]*={0,2}|[A-Z][\w-]{1,30}: .*")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{16}")
_AROUND = " \t\r\"'`+>#*,.;)("  # what code, mails and comments put around a line
_ESCAPES = "\\n", "\\r", "\\"


@dataclass(frozen=True, slots=True)
class Block:
    """A private key.

    Attributes:
        lines: all its lines.
        start: its first character in the first line.
        end: the character after it in the last line.
    """

    lines: tuple[Line, ...]
    start: int
    end: int

    def span(self, label: str) -> Span:
        """It as a span."""
        first, last = self.lines[0], self.lines[-1]
        opening = first.span(label, self.start, len(first.text), 1.0)
        closing = last.span(label, 0, self.end, 1.0)
        text = "\n".join([*(line.text for line in self.lines[:-1]), last.text[: self.end]])
        return replace(
            opening,
            end=closing.end,
            end_line=closing.end_line,
            end_column=closing.end_column,
            text=text[self.start :],
        )


@dataclass
class PemBlocks:
    """Takes the lines of a text apart: private keys, other blocks, and what remains.

    Attributes:
        held: lines of a block whose end was not seen yet.
    """

    held: list[Line] = field(default_factory=list)
    _start: int = 0
    _size: int = 0

    def add(self, line: Line) -> Iterator[Line | Block]:
        """Take the next line; give what is complete, in order.

        Of a block that is no private key nothing comes back: there is nothing to find in it.
        """
        if self.held:
            yield from self._go_on(line)
            return
        begin = _BEGIN.search(line.text) if "-----BEGIN" in line.text else None
        if begin is None:
            yield line
            return
        end = _END.search(line.text, begin.end())
        if end is not None:
            yield from self._whole(line, begin.start(), end.end())
        elif _is_body(line.text[begin.end() :]):
            self.held, self._start, self._size = [line], begin.start(), len(line.text)
        else:
            yield line

    def close(self) -> Iterator[Line | Block]:
        """The text has ended, or the block has without saying so."""
        lines, self.held = self.held, []
        count = len(lines)
        while count > 1 and not _BASE64.search(lines[count - 1].text):
            count -= 1
        if count == 1:  # only a mention
            yield from lines
        elif count:
            yield from self._block(lines[:count], len(_bare(lines[count - 1].text, left=False)))
            yield from lines[count:]

    def _go_on(self, line: Line) -> Iterator[Line | Block]:
        self._size += len(line.text)
        end = _END.search(line.text)
        if end is not None:
            lines, self.held = [*self.held, line], []
            if not any(_BASE64.search(one.text) for one in lines[1:]):
                yield from lines  # nothing in between, or dots
                return
            yield from self._block(lines, end.end())
            if line.text[end.end() :].strip(_AROUND):
                yield line.part(end.end())
        elif _is_body(line.text) and self._size < MAX_BLOCK_CHARACTERS:
            self.held.append(line)
        else:
            yield from self.close()
            yield from self.add(line)

    def _whole(self, line: Line, start: int, end: int) -> Iterator[Line | Block]:
        """A block on one line, its line ends escaped."""
        if not _BASE64.search(line.text, start, end):
            yield line
            return
        self._start = start
        yield from self._block([line], end)
        if line.text[end:].strip(_AROUND):
            yield from self.add(line.part(end))

    def _block(self, lines: list[Line], end: int) -> Iterator[Line | Block]:
        before = lines[0].part(0, self._start)
        if before.text.strip():
            yield before
        if _PRIVATE.match(lines[0].text, self._start):
            yield Block(tuple(lines), self._start, end)


def _bare(text: str, *, left: bool = True) -> str:
    """A line without what surrounds it in code."""
    while True:
        shorter = text.strip(_AROUND) if left else text.rstrip(_AROUND)
        for escape in _ESCAPES:
            shorter = shorter.removesuffix(escape)
        if shorter == text:
            return text
        text = shorter


def _is_body(text: str) -> bool:
    return _BODY.fullmatch(_bare(text)) is not None
