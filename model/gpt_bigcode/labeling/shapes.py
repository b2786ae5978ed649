"""What a span must look like: addresses are whole addresses, and code is no secret.

A classifier of tokens knows what surrounds a value better than where it ends. An e-mail or IP
address has a grammar, so its borders are taken from the text and not from the model; a password has
none, but look-ups, calls, versions and dates have, and are refused.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from gpt_bigcode.labeling.results import Span
from gpt_bigcode.labeling.rules.addresses import EMAIL, IP_ADDRESS, addresses, is_public
from gpt_bigcode.labeling.rules.secret_shapes import KEY, PASSWORD, refused
from gpt_bigcode.labeling.spans import Suspicion

ADDRESS_LABELS = (EMAIL, IP_ADDRESS)
WIDEST_LINE = 1 << 14
"""Of a longer line, parts are judged by themselves."""
_SURE = 0.5  # the score of an address that the model only suspected


@dataclass(frozen=True, slots=True)
class Line:
    """A whole line, or a piece of a very long one.

    Attributes:
        text: without its line feed.
        byte: its first byte in the file.
        number: from 1.
        column: of its first character, from 1.
        feed: bytes of its line feed; 0: it is a piece, or the text ends in it.
    """

    text: str
    byte: int
    number: int
    column: int = 1
    feed: int = 0

    @property
    def end(self) -> int:
        """The byte after it and its line feed."""
        return self.byte_of(len(self.text)) + self.feed

    def byte_of(self, place: int) -> int:
        """The byte of the file at a character."""
        return self.byte + len(self.text[:place].encode())

    def place(self, byte: int) -> int:
        """The character at a byte of the file."""
        return len(self.text.encode()[: max(byte - self.byte, 0)].decode(errors="ignore"))

    def part(self, start: int, end: int | None = None) -> "Line":
        """The characters start .. end - 1 as a line of their own."""
        feed = self.feed if end is None else 0
        column = self.column + start
        return Line(self.text[start:end], self.byte_of(start), self.number, column, feed)

    def span(self, label: str, start: int, end: int, score: float) -> Span:
        """The span of the characters start .. end - 1."""
        first, text = self.byte_of(start), self.text[start:end]
        return Span(
            label=label,
            start=first,
            end=first + len(text.encode()),
            start_line=self.number,
            start_column=self.column + start,
            end_line=self.number,
            end_column=self.column + end,
            score=score,
            text=text,
        )


def shaped(
    line: Line, spans: Sequence[Span], suspicions: Sequence[Suspicion], labels: Iterable[str]
) -> list[Span]:
    """The spans that begin in a line, after a look at their shapes.

    Args:
        line: the line.
        spans: what the model found, in order; those of several lines stay as they are.
        suspicions: tokens of the line that may belong to addresses, in order.
        labels: the labels that the model has.

    Returns:
        Spans in order that do not overlap.
    """
    addresses = [
        span
        for label in ADDRESS_LABELS
        if label in labels
        for span in _found(line, label, suspicions)
    ]
    others = [span for span in spans if _stays(line, span)]
    return list(_apart(sorted(addresses, key=_begin), others))


def _found(line: Line, label: str, suspicions: Sequence[Suspicion]) -> Iterator[Span]:
    """The addresses of a line that the model suspects."""
    ours = [one for one in suspicions if one.label == label]
    if not ours:
        return
    for start, end in addresses(label, line.text):
        span = line.span(label, start, end, 0.0)
        places = [one.byte for one in ours]
        within = ours[bisect_left(places, span.start) : bisect_left(places, span.end)]
        share = max((one.share for one in within), default=0.0)
        if share >= _SURE or (within and (label != IP_ADDRESS or is_public(span.text))):
            yield replace(span, score=max(share, _SURE))


def _stays(line: Line, span: Span) -> bool:
    if span.label in ADDRESS_LABELS:
        return False
    if span.label not in (KEY, PASSWORD) or span.end_line != span.start_line:
        return True
    return not refused(span.text, line.text[line.place(span.end) :])


def _apart(addresses: Sequence[Span], others: Sequence[Span]) -> Iterator[Span]:
    """Both in order; of spans that overlap, those with the higher scores."""
    kept: list[Span] = []
    for span in sorted(chain(addresses, others), key=lambda one: -one.score):
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    yield from sorted(kept, key=_begin)


def _begin(span: Span) -> int:
    return span.start
