"""Spans of a text, given away line by line once their shapes were looked at."""

from collections import deque
from collections.abc import Iterable, Iterator

from gpt_bigcode.labeling.results import Span
from gpt_bigcode.labeling.shapes import WIDEST_LINE, Line, shaped
from gpt_bigcode.labeling.spans import Suspicion


class LineSpans:
    """Holds spans back until their line is complete.

    Attributes:
        offset: every span that begins before this byte of the file was given away.
    """

    def __init__(self, labels: Iterable[str]) -> None:
        self.offset = 0
        self._labels = frozenset(labels)
        self._data = bytearray()  # from `offset` on
        self._number = self._column = 1  # of the line and the character at `offset`
        self._spans: deque[Span] = deque()
        self._suspicions: deque[Suspicion] = deque()
        self._given = 0  # where the last span that was given away ends

    def begin(self, mark_bytes: int) -> None:
        """Skip a byte order mark."""
        self.offset = mark_bytes

    def add(self, data: bytes, spans: Iterable[Span], suspicions: Iterable[Suspicion]) -> None:
        """Take the next bytes of the text, and what the model says of them, each in order."""
        self._data += data
        self._spans.extend(spans)
        self._suspicions.extend(suspicions)

    def ready(self, known: int, *, ended: bool = False) -> Iterator[Span]:
        """The spans of the lines that are complete.

        Args:
            known: no later span begins before this byte of the file.
            ended: nothing follows.
        """
        size = known - self.offset
        stop = len(self._data) if ended else self._data.rfind(b"\n", 0, max(size, 0)) + 1
        if not stop and size > WIDEST_LINE:
            stop = self._cut(size)
        done = 0
        while done < stop:
            place = self._next() - self.offset
            if place >= stop:
                break
            start = max(self._data.rfind(b"\n", done, place) + 1, done)
            end = self._data.find(b"\n", place, stop)
            end = stop if end < 0 else end + 1
            self._pass(done, start)
            yield from self._line(start, end)
            self._pass(start, end)
            done = end
        self._pass(done, stop)
        self.offset += stop
        del self._data[:stop]

    def _cut(self, size: int) -> int:
        """Where to cut a very long line: at the last blank, or between two characters."""
        place = self._data.rfind(b" ", 0, size) + 1
        while not place or (place < size and self._data[place] & 0xC0 == 0x80):
            place = place - 1 if place else size
        return place

    def _next(self) -> int:
        """The first place in the file that has to be looked at."""
        places = [queue[0] for queue in (self._spans, self._suspicions) if queue]
        starts = [one.start if isinstance(one, Span) else one.byte for one in places]
        return min(starts, default=self.offset + len(self._data))

    def _line(self, start: int, end: int) -> Iterator[Span]:
        text = self._data[start:end].decode(errors="replace").removesuffix("\n")
        line = Line(text, self.offset + start, self._number, self._column)
        stop = self.offset + end
        spans, suspicions = [], []
        while self._spans and self._spans[0].start < stop:
            spans.append(self._spans.popleft())
        while self._suspicions and self._suspicions[0].byte < stop:
            suspicions.append(self._suspicions.popleft())
        for span in shaped(line, spans, suspicions, self._labels):
            if span.start >= self._given:
                self._given = span.end
                yield span

    def _pass(self, start: int, end: int) -> None:
        """Count the lines and characters of bytes that are done with."""
        lines = self._data.count(b"\n", start, end)
        last = self._data.rfind(b"\n", start, end) + 1 if lines else start
        characters = len(self._data[last:end].decode(errors="ignore"))
        self._number += lines
        self._column = 1 + characters if lines else self._column + characters
