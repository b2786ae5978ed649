"""The diff of `infill` is the change and nothing else, whatever the file and however long it is."""

import random
import re
from pathlib import Path

import pytest

from bigcode_cli.commands.infill.cursor import Place
from bigcode_cli.commands.infill.diff import difference
from bigcode_cli.io.text_input import InputText
from program import Run

_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@\n")


def _place(data: bytes, start: int, end: int) -> Place:
    source = InputText(name="a", data=data, text=data.decode(), skipped_bytes=0, path=Path("a"))
    return Place(source=source, data=data, before=data[:start], after=data[end:])


def _patched(old: bytes, diff: bytes) -> bytes:
    """Apply a diff of one hunk, and refuse one whose numbers or context are wrong."""
    lines = re.findall(rb"[^\n]*\n|[^\n]+", old)
    header = _HUNK.search(diff)
    assert header is not None
    first, count, new_first, new_count = (int(group or 1) for group in header.groups())
    at = first - 1 if count else first
    assert at == (new_first - 1 if new_count else new_first)
    sides: dict[bytes, list[bytes]] = {b"-": [], b"+": []}
    for row in re.findall(rb"[^\n]*\n(?:\\[^\n]*\n)?", diff[header.end() :]):
        line = row[1:].partition(b"\n\\ ")[0] if b"\n\\ " in row else row[1:]
        for sign, lines_of in sides.items():
            if row[:1] in (b" ", sign):
                lines_of.append(line)
    taken, given = sides.values()
    assert (len(taken), len(given)) == (count, new_count)
    assert lines[at : at + count] == taken
    return b"".join([*lines[:at], *given, *lines[at + count :]])


def test_a_thousand_changes_are_what_they_say() -> None:
    draw = random.Random(5)
    for _ in range(1000):
        alphabet = draw.choice((b"a\n", b"ab\n\n", b"a\r\n"))
        data = bytes(draw.choices(alphabet, k=draw.randrange(30)))
        start = draw.randrange(len(data) + 1)
        end = draw.choice((start, min(len(data), start + 2)))
        middle = bytes(draw.choices(alphabet, k=draw.randrange(6))).decode()
        place = _place(data, start, end)
        wanted = place.filled(middle)
        diff = difference("a", place, middle)
        assert (diff == b"") == (wanted == data)
        if diff:
            assert _patched(data, diff) == wanted
            assert diff.count(b"\n ") <= 6


def test_a_long_file_of_few_different_lines(run: Run) -> None:
    """One insertion is one line of the diff, where difflib found no end."""
    lines = "".join(f"{number * 7919 % 120}\n" for number in range(120_000))
    (run.folder / "e.csv").write_text(lines, "utf-8")
    done = run("infill", "--at=50000:1", "--print=diff", "--max-tokens=1", "e.csv")
    assert done.status == 0
    assert re.fullmatch(
        rb"--- e.csv\n\+\+\+ e.csv\n@@ -49997,7 \+49997,\d @@\n"
        rb"( \d+\n){3}-\d+\n(\+.*\n)+( \d+\n){3}",
        done.stdout,
    )


@pytest.mark.parametrize("name", ["a.py"])
def test_an_answer_that_changes_nothing_is_no_difference(name: str) -> None:
    assert difference(name, _place(b"x = 1\n", 4, 5), "1") == b""
