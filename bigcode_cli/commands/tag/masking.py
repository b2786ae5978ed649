"""Shows the masked line of a finding."""

import re
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


def masked_line(line: str, finding: "Span", spans: Iterable["Span"]) -> str:
    """Mask every word of a line that touches a span, whatever its label.

    Args:
        line: the first line of the finding, without its line end.
        finding: the reported span.
        spans: all spans in the file, reported or not.
    """
    hidden = [(found.start(), found.end()) for found in _SUSPICIOUS.finditer(line)]
    for span in spans:
        start, stop = _columns(span, finding.start_line, len(line))
        if start < stop:
            words = [word for word in _WORD.finditer(line) if word.start() < stop]
            ends = [word.end() for word in words if word.end() > start]
            begins = [word.start() for word in words if word.end() > start]
            hidden.append((_value_start(line, min([start, *begins]), start), max([stop, *ends])))
    parts, end, focus = [], 0, 0
    for start, stop in _joined(line, sorted(hidden)):
        known = _BEGINNING.match(line, start)
        parts.append(line[end:start])
        if start < finding.start_column <= stop:
            focus = sum(map(len, parts))
        parts.append(f"{'' if known is None else known[0]}{MASK}")
        end = stop
    return _around("".join([*parts, line[end:]]), focus)


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
