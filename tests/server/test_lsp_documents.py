"""Lines and positions of a document as an editor counts them, against a slow and plain count."""

import random
import re

import pytest
from lsprotocol import types

from bigcode_cli.lsp.documents import Document

PIECES = ("a", "é", "中", "😀", "\n", "\r\n", "\r", "\x0c", "\u2028", "\x85", "\t", "\ud83d", "")
KINDS = tuple(types.PositionEncodingKind)
WIDTH = {"utf-8": 1, "utf-16": 2, "utf-32": 4}


def _text(draw: random.Random) -> str:
    return "".join(draw.choices(PIECES, k=draw.randint(0, 12)))


def _units(text: str, kind: types.PositionEncodingKind) -> int:
    codec = {"utf-8": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}[kind.value]
    return sum(len(c.encode(codec, "surrogatepass")) for c in text) // WIDTH[kind.value]


def _plain_offset(text: str, line: int, column: int, kind: types.PositionEncodingKind) -> int:
    *ended, last = re.split(r"(\r\n|\n|\r)", text)
    pairs = [*zip(ended[::2], ended[1::2], strict=True), (last, "")]
    if line >= len(pairs):
        return len(text)
    before = sum(len(one) + len(end) for one, end in pairs[:line])
    width = 0
    for place, char in enumerate(pairs[line][0]):
        width += _units(char, kind)
        if width > column:
            return before + place
    return before + len(pairs[line][0])


@pytest.mark.parametrize("kind", KINDS)
def test_positions_are_those_of_a_plain_count(kind: types.PositionEncodingKind) -> None:
    for number in range(300):
        draw = random.Random(number)
        text = _text(draw)
        if "\ud83d" in text and kind is types.PositionEncodingKind.Utf16:
            text = text.replace("\ud83d😀", "")
        document = Document(text=text, encoding=kind)
        for line in range(4):
            for column in (0, 1, 2, 3, 5, 2**31 - 1):
                offset = document.offset(types.Position(line, column))
                assert offset == _plain_offset(text, line, column, kind), (text, line, column)
                back = document.offset(document.position(offset))
                assert back == offset, (text, line, column)


@pytest.mark.parametrize("kind", KINDS)
def test_changes_are_applied_where_the_editor_made_them(kind: types.PositionEncodingKind) -> None:
    for number in range(300):
        draw = random.Random(number)
        document = Document(text=_text(draw).replace("\ud83d", ""), encoding=kind)
        wanted = document.text
        changes = []
        for _ in range(draw.randint(1, 3)):
            now = Document(text=wanted, encoding=kind)
            start, end = sorted(draw.randint(0, len(wanted)) for _ in range(2))
            places = [now.position(start), now.position(end)]
            start, end = map(now.offset, places)  # not between CR and LF
            new = _text(draw).replace("\ud83d", "")
            wanted = wanted[:start] + new + wanted[end:]
            changes.append(
                types.TextDocumentContentChangePartial(range=types.Range(*places), text=new)
            )
        assert document.changed(changes, 2).text == wanted, number


def test_a_change_of_everything_and_one_from_its_end_to_its_start() -> None:
    document = Document(text="one\ntwo\n")
    backwards = types.Range(types.Position(1, 3), types.Position(0, 3))
    changed = document.changed(
        [
            types.TextDocumentContentChangePartial(range=backwards, text=" "),
            types.TextDocumentContentChangePartial(
                range=types.Range(types.Position(99, 99), types.Position(99, 99)), text="three"
            ),
        ],
        2,
    )
    assert (changed.text, changed.version) == ("one \nthree", 2)
    whole = types.TextDocumentContentChangeWholeDocument(text="new")
    assert changed.changed([whole], 3).text == "new"
