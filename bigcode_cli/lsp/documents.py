"""The texts that an editor has open, with the protocol's own lines and positions.

A line ends at CR LF, LF or CR and nowhere else: `str.splitlines` also ends one at a form feed or at
U+2028, after which every position would be of another place than the editor's.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from lsprotocol import types

_LINE_END = re.compile(r"\r\n|\n|\r")
_CODECS = {
    types.PositionEncodingKind.Utf8: ("utf-8", 1),
    types.PositionEncodingKind.Utf16: ("utf-16-le", 2),
    types.PositionEncodingKind.Utf32: ("utf-32-le", 4),
}
_ERRORS = "surrogatepass"  # half of a pair is no text, but it may be in one


@dataclass(frozen=True, kw_only=True)
class Document:
    """A text at one moment; a change makes another one.

    Attributes:
        text: the whole of it.
        version: the editor's number of it.
        language: the editor's name of its language.
        encoding: what the columns of positions count.
    """

    text: str
    version: int | None = None
    language: str = ""
    encoding: types.PositionEncodingKind = types.PositionEncodingKind.Utf16

    def offset(self, position: types.Position) -> int:
        """How many characters are before a position; one outside the text is its nearest place."""
        if position.line >= len(self._starts):
            return len(self.text)
        start, end = self._starts[position.line], self._ends[position.line]
        codec, size = self._codec
        data = self.text[start:end].encode(codec, _ERRORS)
        cut = min(position.character * size, len(data))
        while cut and _is_inside(data, cut, codec):
            cut -= size
        return start + len(data[:cut].decode(codec, _ERRORS))

    def position(self, offset: int) -> types.Position:
        """The position after so many characters."""
        line = bisect_right(self._starts, offset) - 1
        return types.Position(line, self.units(self.text[self._starts[line] : offset]))

    def units(self, text: str) -> int:
        """How many columns a text takes."""
        codec, size = self._codec
        return len(text.encode(codec, _ERRORS)) // size

    def line_end(self, line: int) -> types.Position:
        """Where a line ends; the end of the text, if there is no such line."""
        return self.position(self._ends[line] if line < len(self._ends) else len(self.text))

    def changed(self, changes: Sequence[Any], version: int | None) -> "Document":
        """The document after some changes, one after the other."""
        document = replace(self, version=version)
        for change in changes:
            place = getattr(change, "range", None)
            text = change.text
            if place is not None:
                start, end = sorted(map(document.offset, (place.start, place.end)))
                text = document.text[:start] + text + document.text[end:]
            document = replace(document, text=text)
        return document

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(found.end() for found in _LINE_END.finditer(self.text))]

    @cached_property
    def _ends(self) -> list[int]:
        return [*(found.start() for found in _LINE_END.finditer(self.text)), len(self.text)]

    @property
    def _codec(self) -> tuple[str, int]:
        return _CODECS[self.encoding]


class Documents(dict[str, Document]):
    """The open documents by their URI."""

    def open(self, told: types.TextDocumentItem, encoding: str | None) -> None:
        """Take a document whose columns count units of an encoding."""
        self[told.uri] = Document(
            text=told.text,
            version=told.version,
            language=told.language_id or "",
            encoding=types.PositionEncodingKind(encoding),
        )

    def change(self, params: types.DidChangeTextDocumentParams) -> None:
        """Take changes; those of a document that is not open are ignored."""
        told = params.text_document
        if told.uri in self:
            self[told.uri] = self[told.uri].changed(params.content_changes, told.version)


def _is_inside(data: bytes, cut: int, codec: str) -> bool:
    """Whether a cut would be inside a character: before a continuation or a low surrogate."""
    if cut >= len(data):
        return False
    if codec == "utf-8":
        return data[cut] & 0xC0 == 0x80
    is_low = codec == "utf-16-le" and data[cut + 1] & 0xFC == 0xDC
    return is_low and data[cut - 1] & 0xFC == 0xD8
