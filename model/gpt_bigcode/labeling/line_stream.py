"""Finds the spans of texts line by line, for models that read so.

What is found in a line depends on nothing else, so a text gives the same as a file, in pieces, or
from a pipe that has not ended.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from gpt_bigcode.errors import InputError
from gpt_bigcode.labeling.line_reader import LineLabels, LineReader
from gpt_bigcode.labeling.options import TagOptions
from gpt_bigcode.labeling.results import Advance, Span, Tagging
from gpt_bigcode.labeling.rules.judge import judge
from gpt_bigcode.labeling.rules.numbers import NUMBER_LABELS
from gpt_bigcode.labeling.rules.pem_blocks import Block, PemBlocks
from gpt_bigcode.labeling.rules.secret_shapes import KEY
from gpt_bigcode.labeling.shapes import WIDEST_LINE, Line
from gpt_bigcode.text_form import pieces_without_mark
from gpt_bigcode.windowing.document_stream import PAUSE, Excerpt

_CHARACTERS_AT_ONCE = 1 << 16
_LINE_CHARACTERS = 32  # what a line costs beside its characters


class LineStream:
    """Reads the lines of many texts together, so that equal ones meet."""

    def __init__(self, reader: LineReader, labels: Iterable[str]) -> None:
        self._reader = reader
        self._labels = frozenset(labels)
        self._waiting: list[tuple[_Document, Line | Block]] = []
        self._size = 0

    def run(
        self, documents: Iterable[Iterable[str]], options: TagOptions
    ) -> Iterator[Tagging | Exception]:
        """See `TextTagger.tag_many`."""
        stream = LineStream(self._reader, self._labels)  # runs do not share what waits
        opened: deque[_Document] = deque()
        for pieces in documents:
            document = _Document(options)
            opened.append(document)
            for item in document.items(pieces):
                if item is not None:
                    stream.add(document, item)
                if stream.is_full:
                    stream.flush()
                    yield from _finished(opened)
            yield from _finished(opened)
        stream.flush()
        yield from _finished(opened)

    def follow(self, pieces: Iterable[str], options: TagOptions) -> Iterator[Advance]:
        """See `TextTagger.stream`."""
        stream = LineStream(self._reader, self._labels)
        document = _Document(options)
        for item in document.items(pieces):
            if item is not None:
                stream.add(document, item)
            if item is None or stream.is_full:
                stream.flush()
                yield document.advance()
        stream.flush()
        if document.error is not None:
            raise document.error
        yield document.advance()

    @property
    def is_full(self) -> bool:
        """Whether so much waits that reading more would only cost memory."""
        return self._size >= _CHARACTERS_AT_ONCE

    def add(self, document: "_Document", item: Line | Block) -> None:
        """Let a part of a text wait until it is read together with others."""
        self._waiting.append((document, item))
        document.pending += 1
        self._size += _LINE_CHARACTERS + (len(item.text) if isinstance(item, Line) else 0)

    def flush(self) -> None:
        """Read what waits."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        lines = [
            item.text
            for document, item in waiting
            if isinstance(item, Line) and document.wants(item)
        ]
        read = iter(self._reader.read(lines))
        for document, item in waiting:
            if isinstance(item, Block):
                document.add_block(item, self._labels)
            else:
                found = next(read) if document.wants(item) else LineLabels()
                document.add_line(item, found, self._labels)


@dataclass
class _Document:
    """One text: lines out on one side, what was found in them in on the other."""

    options: TagOptions
    pending: int = 0
    ended: bool = False
    error: Exception | None = None
    _lines: Sequence[range] | None = None
    _spans: list[Span] = field(default_factory=list)
    _tokens: int = 0
    _windows: int = 0
    _offset: int = 0

    def items(self, pieces: Iterable[str]) -> Iterator[Line | Block | None]:
        """Lines and private keys as they come; None at a pause."""
        if isinstance(pieces, Excerpt):
            self._lines = pieces.lines
        try:
            yield from self._items(pieces)
        # Whatever the reader of one text raises must not end the others.
        except Exception as error:  # noqa: BLE001
            self.error = error
        self.ended = True

    def wants(self, line: Line) -> bool:
        """Whether what is in a line matters."""
        return self._lines is None or any(line.number in lines for lines in self._lines)

    def add_line(self, line: Line, found: LineLabels | InputError, labels: frozenset[str]) -> None:
        """Take what the model says of the next line."""
        self.pending -= 1
        self._offset = line.end
        if isinstance(found, InputError):
            self.error = self.error or found
            return
        self._tokens += found.tokens
        self._windows += found.windows
        marks = judge(line.text, found.spans, found.suspected, self.options.named)
        self._keep(
            line.span(one.label, one.start, one.end, one.score)
            for one in marks
            if one.label in labels or one.label in NUMBER_LABELS
        )

    def add_block(self, block: Block, labels: frozenset[str]) -> None:
        """Take a private key."""
        self.pending -= 1
        self._offset = block.lines[-1].end
        if KEY in labels and any(map(self.wants, block.lines)):
            self._keep([block.span(KEY)])

    def advance(self) -> Advance:
        """Give away what was found since the last time."""
        spans, self._spans = tuple(self._spans), []
        return Advance(spans=spans, offset=self._offset)

    def outcome(self) -> Tagging | Exception:
        """What is given for the whole text."""
        if self.error is not None:
            return self.error
        return Tagging(spans=tuple(self._spans), tokens=self._tokens, windows=self._windows)

    def _keep(self, spans: Iterable[Span]) -> None:
        self._spans += filter(self.options.accept, spans)

    def _items(self, pieces: Iterable[str]) -> Iterator[Line | Block | None]:
        blocks, cutter = PemBlocks(), _LineCutter()

        def begin(mark_bytes: int) -> None:
            self._offset = cutter.byte = mark_bytes

        for piece in pieces_without_mark(pieces, begin):
            for line in cutter.add(piece):
                yield from blocks.add(line)
            if piece is PAUSE:
                yield None
        for line in cutter.close():
            yield from blocks.add(line)
        yield from blocks.close()


class _LineCutter:
    """Cuts a text into lines as soon as they are complete; very long ones at blanks.

    Attributes:
        byte: where in the file the next line begins.
    """

    def __init__(self) -> None:
        self.byte = 0
        self._held = ""
        self._number = self._column = 1

    def add(self, text: str) -> Iterator[Line]:
        """The lines that end in the next part of the text."""
        *complete, held = (self._held + text).split("\n")
        for line in complete:
            *parts, rest = self._cut(line)
            yield from map(self._take, parts)
            yield self._take(rest, feed=1)
        *parts, self._held = self._cut(held)
        yield from map(self._take, parts)

    def close(self) -> Iterator[Line]:
        """The last line, if the text does not end in a line feed."""
        if self._held:
            yield self._take(self._held)

    def _cut(self, text: str) -> Iterator[str]:
        while len(text) > WIDEST_LINE:
            place = text.rfind(" ", 1, WIDEST_LINE) + 1 or WIDEST_LINE
            yield text[:place]
            text = text[place:]
        yield text

    def _take(self, text: str, feed: int = 0) -> Line:
        line = Line(text, self.byte, self._number, self._column, feed)
        self.byte = line.end
        self._number += feed
        self._column = 1 if feed else self._column + len(text)
        return line


def _finished(opened: "deque[_Document]") -> Iterator[Tagging | Exception]:
    while opened and opened[0].ended and not opened[0].pending:
        yield opened.popleft().outcome()
