"""Writes the results of `bigcode score` as one HTML page that needs nothing else, and no script.

Knows nothing of how values are computed. Text of a file is escaped, and what could hide in it is
spelled; a policy in the page lets a browser load nothing and run nothing.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigcode_cli.commands.score.reports import ScoreEntry, describe
from bigcode_cli.commands.score.views import LEVEL_BITS, ShownLine, most_surprising, shown_lines
from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.output import safe
from bigcode_cli.io import atomic_files

if TYPE_CHECKING:
    from gpt_bigcode.scoring.results import Surprise

PAGE_CHARACTERS = 20 * 10**6
"""The source that a page shows of all files together."""

_BEGINNING = b'<!DOCTYPE html>\n<html lang="en">\n'
_TOP_OF_ALL, _TOP_OF_FILE = 20, 10
_SHOWN_OF_LINE = 160  # characters, in a list
_LONGEST_NUMBER = 1e7
_STRIP_COLUMNS, _STRIP_ROWS, _LEAST_STRIP_LINES = 240, 24, 30
_STRIP_BITS = 4.0  # bits per byte of a full bar, unless one is higher; also of a hot one


@dataclass(frozen=True)
class _File:
    """A file on the page: its entry, what is kept of its lines, and its finished source."""

    entry: ScoreEntry
    number: int
    top: tuple[tuple[ShownLine, str], ...]  # with where it is
    source: str


@dataclass
class Page:
    """A page that is collected while files are scored, and written at the end.

    Attributes:
        file: where it will be.
    """

    file: Path
    _target: atomic_files.Target
    _files: list[_File] = field(default_factory=list)
    _characters: int = 0

    @classmethod
    def prepare(cls, file: Path) -> "Page":
        """A page for a file that can be written.

        Raises:
            UsageFailure, Failure: it cannot, see `atomic_files.open_target`; or it is something
                else than a page.
        """
        target = atomic_files.open_target(
            file,
            option="--html",
            slug="output",
            max_bytes=len(_BEGINNING),
            create=True,
            whole=False,
        )
        if target.data and target.data != _BEGINNING:
            hint = "choose a name that is free, or remove the file first"
            raise Failure("output", f"{file}: is there and is not such a page", hint=hint)
        return cls(file, target)

    def add(self, entry: ScoreEntry) -> None:
        """Take the result for a file, with its text."""
        number, lines, hidden = len(self._files) + 1, [], 0
        if entry.score is not None and entry.text is not None:
            room = self._characters < PAGE_CHARACTERS
            lines = list(shown_lines(entry.text, entry.score)) if room else []
            hidden = len(entry.score.lines) - len(lines)
            self._characters += len(entry.text)
        top = most_surprising(lines)[:_TOP_OF_FILE]
        ranks = {line.score.line: rank for rank, line in enumerate(top, 1)}
        source = "".join(_source(lines, f"f{number}", ranks, hidden))
        placed = tuple((line, f"f{number}-l{line.score.line}") for line in top)
        self._files.append(_File(entry, number, placed, source))

    def write(self, summary: dict[str, Any]) -> None:
        """Write the page as a whole.

        Args:
            summary: what all files come to, and what made the values.

        Raises:
            Failure: it cannot be written.
        """
        text = "".join(self._parts(summary))
        atomic_files.atomic_write(self._target, text.encode("utf-8", "replace"))

    def _parts(self, summary: dict[str, Any]) -> Iterator[str]:
        style = Path(__file__).with_name("page.css").read_text("utf-8")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'"
        yield (
            f'{_BEGINNING.decode()}<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="referrer" content="no-referrer">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{_title(self._files)} - bigcode score</title>\n<style>{style}</style>\n"
            '</head>\n<body>\n<a class="skip" href="#source">Skip to the source</a>\n'
        )
        yield from _head(summary)
        yield "<main>\n"
        yield from _table(self._files)
        yield from _top_of_all(self._files)
        for place, file in enumerate(self._files):
            yield from _section(file, anchor=' id="source"' if not place else "")
        yield "</main>\n</body>\n</html>\n"


def _title(files: Sequence[_File]) -> str:
    if len(files) == 1:
        return _text(files[0].entry.path)
    return f"{len(files)} files"


def _head(summary: dict[str, Any]) -> Iterator[str]:
    made = [f"Model {_text(summary['model'])}"]
    if summary["revision"]:
        made.append(f"revision {_text(summary['revision'])}")
    made.append(f"windows of {summary['context_length']:,} tokens, {summary['window']}")
    yield "<header>\n<h1>How surprising this code is</h1>\n"
    yield f'<p class="faint">{", ".join(made)}. Written by bigcode score.</p>\n<dl class="sum">\n'
    values = [
        ("bits per byte", _number(summary["bits_per_byte"], 3)),
        ("perplexity of a token", _number(summary["perplexity"], 2)),
        ("files", f"{summary['scored']:,}"),
        ("tokens", f"{summary['tokens']:,}"),
    ]
    values += [
        (name, f"{summary[key]:,}")
        for name, key in (("skipped", "skipped"), ("with errors", "errors"))
        if summary[key]
    ]
    for name, value in values:
        yield f"<div><dt>{name}</dt><dd>{value}</dd></div>\n"
    if summary["failed"]:
        yield f'<div><dt>above a limit</dt><dd class="alarm">{summary["failed"]:,}</dd></div>\n'
    yield (
        "</dl>\n<p>The surprise of a token is the negative binary logarithm of the probability that"
        " the model gave it: 3 bits are 1 in 8, 12 bits are 1 in 4,096.</p>\n"
        '<ul class="legend" aria-label="Marks">\n'
    )
    for level, bits in enumerate(LEVEL_BITS, 1):
        upper = f" to {LEVEL_BITS[level]}" if level < len(LEVEL_BITS) else " or more"
        yield f'<li><mark class="s{level}">{bits}{upper} bits</mark></li>\n'
    yield "</ul>\n</header>\n"


def _table(files: Sequence[_File]) -> Iterator[str]:
    yield '<nav aria-labelledby="files">\n<h2 id="files">Files</h2>\n<table>\n'
    yield "<caption>The most surprising first</caption>\n<thead><tr><th>file</th>"
    for name, kind in (("bits per byte", ""), ("perplexity", " wide"), ("tokens", " wide")):
        yield f'<th class="num{kind}">{name}</th>'
    yield "<th>result</th></tr></thead>\n<tbody>\n"
    for file in sorted(files, key=lambda file: -(_judged_bits(file.entry) or -1.0)):
        part = _judged(file.entry)
        yield f'<tr><td><a href="#f{file.number}">{_text(file.entry.path)}</a></td>'
        yield f'<td class="num">{_number(_judged_bits(file.entry), 3)}</td>'
        yield f'<td class="num wide">{_number(part.perplexity if part else None, 2)}</td>'
        yield f'<td class="num wide">{part.tokens if part else 0:,}</td>'
        yield f"<td>{_verdict(file.entry)}</td></tr>\n"
    yield "</tbody>\n</table>\n</nav>\n"


def _judged(entry: ScoreEntry) -> "Surprise | None":
    return entry.score if entry.added is None else entry.added


def _judged_bits(entry: ScoreEntry) -> float | None:
    part = _judged(entry)
    return None if part is None else part.bits_per_byte


def _verdict(entry: ScoreEntry) -> str:
    if entry.fault is not None:
        return f"{entry.status}: {_text(entry.fault.reason)}"
    if entry.judgement is None:
        return "scored"
    if entry.judgement.findings:
        return '<strong class="alarm">above a limit</strong>'
    return entry.judgement.verdict.value.replace("-", " ")


def _top_of_all(files: Sequence[_File]) -> Iterator[str]:
    found = [(line, place, file) for file in files for line, place in file.top]
    found.sort(key=lambda one: -one[0].bits_per_byte)
    if len(files) < 2 or not found:  # one file has its own list
        return
    yield '<section aria-labelledby="top">\n<h2 id="top">The most surprising lines of all</h2>\n'
    yield '<ol class="top">\n'
    for line, place, file in found[:_TOP_OF_ALL]:
        yield _item(line, place, f"{_text(file.entry.path)}:{line.score.line}")
    yield "</ol>\n</section>\n"


def _section(file: _File, *, anchor: str) -> Iterator[str]:
    entry, name = file.entry, f"f{file.number}"
    yield f'<section aria-labelledby="{name}"{anchor}>\n<h2 id="{name}">{_text(entry.path)}</h2>\n'
    said = describe(entry) if entry.fault is None else f"{entry.status}: {entry.fault.detail}"
    failed = entry.judgement is not None and entry.judgement.findings
    yield f"<p{' class=alarm' if failed else ''}>{_text(said)}</p>\n"
    if file.top:
        yield f'<h3 id="{name}-top">Most surprising lines</h3>\n<ol class="top">\n'
        for rank, (line, place) in enumerate(file.top, 1):
            yield _item(line, place, f"line {line.score.line}", f' id="{name}-t{rank}"')
        yield "</ol>\n<h3>Source</h3>\n"
    yield file.source
    yield "</section>\n"


def _item(line: ShownLine, place: str, name: str, anchor: str = "") -> str:
    shown: list[str] = []
    left = _SHOWN_OF_LINE
    for run in line.runs:
        text = run.text if shown else run.text.lstrip()  # what a line begins with says little here
        if not text:
            continue
        shown.append(_marked(text[:left], run.level, run.bits))
        left -= len(text)
        if left <= 0:
            shown.append(" ...")
            break
    return (
        f'<li{anchor}><a href="#{place}">{name}</a>, {line.bits_per_byte:.2f} bits per byte:'
        f" <code>{''.join(shown)}</code></li>\n"
    )


def _source(
    lines: Sequence[ShownLine], name: str, ranks: dict[int, int], hidden: int
) -> Iterator[str]:
    """The lines of a file: number, bits per byte, text, and a way back from those in its list."""
    if len(lines) >= _LEAST_STRIP_LINES:
        yield _strip(lines)
    if lines:
        yield '<div class="src">\n'
    before = 0
    for line in lines:
        number = line.score.line
        if number != before + 1:
            yield '<p class="gap">...</p>\n'
        before = number
        back = ""
        if rank := ranks.get(number):
            back = f'<a class="rank" href="#{name}-t{rank}">no. {rank} of the list</a>'
        yield (
            f'<div id="{name}-l{number}"><span class="n">{number}</span>'
            f'<span class="v">{line.bits_per_byte:.2f}</span>'
            f"<code>{''.join(_marked(run.text, run.level, run.bits) for run in line.runs)}</code>"
            f"{back}</div>\n"
        )
    if lines:
        yield "</div>\n"
    if hidden:
        yield f'<p class="faint">{hidden:,} more lines are not shown.</p>\n'


def _strip(lines: Sequence[ShownLine]) -> str:
    """Bars of the bits per byte from the first line to the last; the worst of lines that share one.

    The numbers stand beside the lines, so that nobody has to see it.
    """
    columns = min(len(lines), _STRIP_COLUMNS)
    bars = [0.0] * columns
    for place, line in enumerate(lines):
        column = place * columns // len(lines)
        bars[column] = max(bars[column], line.bits_per_byte if line.telling else 0.0)
    shapes, highest = [], max(*bars, _STRIP_BITS)
    for column, bits in enumerate(bars):
        height = bits / highest * _STRIP_ROWS
        hot = ' class="hot"' if bits >= _STRIP_BITS else ""
        top = _STRIP_ROWS - height
        shapes.append(f'<rect x="{column}" y="{top:.2f}" width=".8" height="{height:.2f}"{hot}/>')
    return (
        f'<svg class="strip" viewBox="0 0 {columns} {_STRIP_ROWS}" preserveAspectRatio="none"'
        f' aria-hidden="true">{"".join(shapes)}</svg>\n'
    )


def _marked(text: str, level: int, bits: float) -> str:
    shown = "".join(_characters(text))
    return f'<mark class="s{level}" title="{bits:.1f} bits">{shown}</mark>' if level else shown


def _characters(text: str) -> Iterator[str]:
    for char in text:
        spelled = char if char == "\t" else safe(char)
        yield escape(char) if spelled == char else f'<span class="x">{escape(spelled)}</span>'


def _text(text: str | None) -> str:
    return escape(safe(text or ""))


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return "none"
    return f"{value:,.{digits}f}" if value < _LONGEST_NUMBER else f"{value:.2e}"
