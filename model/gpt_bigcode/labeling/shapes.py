"""What a span must look like: addresses are whole addresses, and code is no secret.

A classifier of tokens knows what surrounds a value better than where it ends. An e-mail or IP
address has a grammar, so its borders are taken from the text and not from the model; a password has
none, but look-ups, calls, versions and dates have, and are refused.
"""

import ipaddress
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from gpt_bigcode.labeling.results import Span
from gpt_bigcode.labeling.spans import EMAIL, IP_ADDRESS, Suspicion

KEY, PASSWORD = "KEY", "PASSWORD"
ADDRESS_LABELS = (EMAIL, IP_ADDRESS)
WIDEST_LINE = 1 << 14
"""Of a longer line, parts are judged by themselves."""
_SURE = 0.5  # the score of an address that the model only suspected

_EMAIL = re.compile(r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)")
_IPV6 = re.compile(
    r"(?<![\w:.])(?=[0-9A-Fa-f]*:[0-9A-Fa-f:]*:)[0-9A-Fa-f:]{2,39}(?:\.\d{1,3}){0,3}"
)
_EMAIL_MARK, _IP_MARK = "@", re.compile(r"[.:]")

_NAME = r"[A-Za-z_$][\w$]*(?:(?:\.|::|->)[A-Za-z_$][\w$]*)*"
_CODE = re.compile(
    rf"{_NAME}(?=[(\[])"  # a call or a look-up
    r"|(?:process\.env|os\.environ|import\.meta\.env)\b.*"
    r"|!(?i:vault|secret|ref|sub|getatt|importvalue|env\w*)\b"  # tags of YAML
    r"|\$\{[^}]*\}?|\$\([^)]*\)?|\$[A-Z_][A-Z0-9_]*\b",  # variables of shells
)
_REACH = 64  # characters after a span that may belong to its name
_NO_SECRET = re.compile(
    r"\d{1,5}\s?[-\u2013]\s?\d{1,5}"  # a range of pages
    r"|[-+]?\d+\.\d*(?:[eE][-+]?\d+)?"  # a number
    r"|(?:[\w./@-]+@)?[\^~=<>v ]*\d+(?:\.\d+){1,3}(?:[-+][\w.]+)?"  # a version
    r"|\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?.{0,10})?"  # a date
    r"|\d\d?/\w{2,9}/\d{2,4}(?::\d\d){0,3}|\d\d?:\d\d(?::\d\d)?(?:[.,]\d+)?"
)
_FIELD, _VALUE = re.compile(r"[a-z_]{2,32}"), re.compile(r"=[\w\"']")  # user=anna
_FEWEST = 2  # letters and digits of a secret


@dataclass(frozen=True, slots=True)
class Line:
    """A whole line, or a piece of a very long one.

    Attributes:
        text: without its line feed.
        byte: its first byte in the file.
        number: from 1.
        column: of its first character, from 1.
    """

    text: str
    byte: int
    number: int
    column: int = 1

    def place(self, byte: int) -> int:
        """The character at a byte of the file."""
        return len(self.text.encode()[: max(byte - self.byte, 0)].decode(errors="ignore"))

    def span(self, label: str, start: int, end: int, score: float) -> Span:
        """The span of the characters start .. end - 1."""
        before, text = self.text[:start], self.text[start:end]
        first = self.byte + len(before.encode())
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


def addresses(label: str, text: str) -> Iterator[tuple[int, int]]:
    """Where a text holds whole addresses of a kind."""
    if label == EMAIL:
        for match in _EMAIL.finditer(text) if "@" in text else ():
            start = match.start() + len(match[0]) - len(match[0].lstrip(".%+-"))
            if text[start] != "@":
                yield start, match.end()
        return
    end = 0
    for match in sorted(chain(_IPV6.finditer(text), _IPV4.finditer(text)), key=re.Match.start):
        stop = match.end() - (match[0].endswith(":") and not match[0].endswith("::"))
        if match.start() >= end and _is_ip(text[match.start() : stop]):
            end = stop
            yield match.start(), end


def _is_ip(text: str) -> bool:
    """Whether a text is an address; one without a digit is a name of two parts."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(map(str.isdigit, text))


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet, and no version such as 1.2.3.4."""
    return len(address) > len("1.2.3.4") and ipaddress.ip_address(address).is_global


def refused(text: str, after: str) -> bool:
    """Whether something that was called a secret is code, a number, a version or a date.

    Args:
        text: what was found.
        after: what follows it on its line.
    """
    if sum(map(str.isalnum, text)) < _FEWEST or _NO_SECRET.fullmatch(text):
        return True
    if _FIELD.fullmatch(text) and _VALUE.match(after):
        return True
    found = _CODE.match(text + after[:_REACH])
    # The whole of it must be code: `getpass(` is, `hunter2(!` begins as a name does.
    return found is not None and found.end() >= len(text.rstrip(".([ "))


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
