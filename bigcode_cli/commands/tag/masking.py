"""Shows the masked line of a finding."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from bigcode_cli.framework.output import safe

if TYPE_CHECKING:
    from gpt_bigcode.labeling.results import Span

MASK = "****"
# Prefixes that providers publish so that their keys are recognized: showing one reveals nothing.
_BEGINNING = re.compile(
    r"A[KS]IA|AIza|ya29\.|gh[opsur]_|github_pat_|glpat-|xox[a-z]-|xapp-|https://hooks\.slack\.com/"
    r"|[rs]k_(?:live|test)_|whsec_|sk-ant-|sk-|hf_|npm_|pypi-|dop_v1_|SG\.|shpat_|sq0|eyJ"
    r"|-----BEGIN "
)
_WORD = re.compile(r"[^\s\"'`,;()\[\]{}<>]+")
# A word that the model may have missed: long, with letters and digits.
_SUSPICIOUS = re.compile(r"(?=[\w+/-]*\d[\w+/-]*\d)(?=[\w+/-]*[A-Za-z])(?<![\w+/-])[\w+/-]{16,}")
_BEFORE, _LONGEST = 60, 120


class MaskedLine:
    """A line in which every word that touches a span is masked, whatever the span's label.

    Made once for all findings of a line: a line of a log file can have thousands.
    """

    def __init__(self, line: str, number: int, spans: Iterable["Span"]) -> None:
        """Mask it.

        Args:
            line: without its line end.
            number: from 1.
            spans: all that touch it, reported or not.
        """
        hidden = [(found.start(), found.end()) for found in _SUSPICIOUS.finditer(line)]
        words = [found.span() for found in _WORD.finditer(line)]
        starts, ends = [start for start, _ in words], [end for _, end in words]
        for span in spans:
            start, stop = _columns(span, number, len(line))
            if start < stop:
                first, after = bisect_right(ends, start), bisect_left(starts, stop)
                word = min(start, starts[first]) if first < after else start
                last = max(stop, ends[after - 1]) if first < after else stop
                hidden.append((_value_start(line, word, start), last))
        self._masks: list[tuple[int, int, int]] = []
        parts: list[str] = []
        end = size = 0
        for start, stop in _joined(line, sorted(hidden)):
            known = _BEGINNING.match(line, start)
            size += start - end
            self._masks.append((start, stop, size))
            parts += line[end:start], f"{'' if known is None else known[0]}{MASK}"
            size += len(parts[-1])
            end = stop
        self._text = "".join([*parts, line[end:]])

    def around(self, finding: "Span") -> str:
        """The part of the line that has a finding, safe for a terminal."""
        column = finding.start_column
        at = bisect_left(self._masks, (column,)) - 1
        inside = at >= 0 and self._masks[at][0] < column <= self._masks[at][1]
        return _around(self._text, self._masks[at][2] if inside else 0)


def spans_by_line(spans: Iterable["Span"], wanted: Iterable[int]) -> dict[int, list["Span"]]:
    """The spans that touch each of some lines, in their order."""
    found: dict[int, list[Span]] = {number: [] for number in wanted}
    for span in spans:
        for number in range(span.start_line, span.end_line + 1):
            if number in found:
                found[number].append(span)
    return found


def _columns(span: "Span", line: int, length: int) -> tuple[int, int]:
    """Return the offsets of a span in a line, in characters; empty if it is elsewhere."""
    if not span.start_line <= line <= span.end_line:
        return 0, 0
    start = span.start_column - 1 if span.start_line == line else 0
    return start, min(span.end_column - 1, length) if span.end_line == line else length


def _value_start(line: str, word: int, span: int) -> int:
    """Return where the mask begins: after an introduction such as `key=`, else with the word."""
    return span if line[word:span].endswith(("=", ":", "://")) else word


def _joined(line: str, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Merge ranges that overlap or have only whitespace between them."""
    start, stop = 0, 0
    for first, last in ranges:
        if stop and not line[stop:first].strip():
            stop = max(stop, last)
            continue
        if stop:
            yield start, stop
        start, stop = first, last
    if stop:
        yield start, stop


def _around(text: str, focus: int) -> str:
    """Return a part of a long line, safe for a terminal."""
    start = max(focus - _BEFORE, 0)
    shown = text[start : start + _LONGEST].strip()
    cut = len(text) > start + _LONGEST
    return safe(f"{'... ' if start else ''}{shown}{' ...' if cut else ''}")
