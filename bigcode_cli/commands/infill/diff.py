"""Writes the unified diff of a change at a known position."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice, takewhile

from bigcode_cli.commands.infill.cursor import Place
from bigcode_cli.framework.output import safe

_CONTEXT = 3
_NO_NEWLINE = b"\n\\ No newline at end of file\n"


def difference(name: str, place: Place, middle: str) -> bytes:
    """Return the change as a unified diff that `patch -p0` and `git apply -p0` accept.

    Only the lines around the gap are looked at, however long the file is.
    """
    start = place.before.rfind(b"\n") + 1
    end = place.after.find(b"\n") + 1 or len(place.after)
    head, tail = place.before[start:], place.after[:end]
    old = _lines(head + place.gap + tail)
    new = _lines(head + middle.encode() + tail)
    same_before = _count_same(old, new)
    same_after = _count_same(old[same_before:][::-1], new[same_before:][::-1])
    removed = old[same_before : len(old) - same_after]
    added = new[same_before : len(new) - same_after]
    if not removed and not added:
        return b""
    before = [*_last_lines(place.before[:start]), *old[:same_before]][-_CONTEXT:]
    after = [*old[len(old) - same_after :], *islice(BytesIO(place.after[end:]), _CONTEXT)]
    hunk = _Hunk(before, removed, added, after[:_CONTEXT])
    first = place.before.count(b"\n") + same_before - len(before)
    return b"".join(_ended(row) for row in (*_header(name), *hunk.rows(first)))


@dataclass(frozen=True)
class _Hunk:
    """The lines of a change, and those around it."""

    before: list[bytes]
    removed: list[bytes]
    added: list[bytes]
    after: list[bytes]

    def rows(self, first: int) -> Iterator[bytes]:
        """Write them below the header of a hunk that starts after `first` lines."""
        around = len(self.before) + len(self.after)
        old, new = len(self.removed) + around, len(self.added) + around
        yield f"@@ -{_span(first, old)} +{_span(first, new)} @@\n".encode()
        for sign, lines in (
            (b" ", self.before),
            (b"-", self.removed),
            (b"+", self.added),
            (b" ", self.after),
        ):
            for line in lines:
                yield sign + line


def _header(name: str) -> tuple[bytes, bytes]:
    shown = safe(name)
    # As git does it: without a tab a name ends at the first blank.
    end = b"\t\n" if " " in shown else b"\n"
    return b"--- " + shown.encode() + end, b"+++ " + shown.encode() + end


def _span(lines_before: int, count: int) -> str:
    """Format the range of a hunk; an empty one gives the line before it."""
    first = lines_before + 1 if count else lines_before
    return str(first) if count == 1 else f"{first},{count}"


def _lines(data: bytes) -> list[bytes]:
    """Split at LF only: a carriage return is an ordinary character here."""
    return BytesIO(data).readlines()


def _last_lines(data: bytes) -> list[bytes]:
    """Return the last lines of a text that ends with LF."""
    return [line + b"\n" for line in data.rsplit(b"\n", _CONTEXT + 1)[:-1]][-_CONTEXT:]


def _count_same(old: list[bytes], new: list[bytes]) -> int:
    pairs = zip(old, new, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _ended(row: bytes) -> bytes:
    return row if row.endswith(b"\n") else row + _NO_NEWLINE
