"""Writes the results of `bigcode score` as one self-contained HTML page without scripts.

The templates escape everything. Deceptive characters are spelled out, and the page's content
security policy lets a browser load and run nothing.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigcode_cli.commands.score.reports import ScoreEntry, describe
from bigcode_cli.commands.score.views import (
    LEVEL_BITS,
    Run,
    ShownLine,
    most_surprising,
    shown_lines,
)
from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.output import safe
from bigcode_cli.io import atomic_files

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

PAGE_CHARACTERS = 20 * 10**6
"""The most source that a page shows, over all files."""

_BEGINNING = b'<!DOCTYPE html>\n<html lang="en">\n'
_TOP_OF_ALL, _TOP_OF_FILE = 20, 10
_SHOWN_OF_LINE = 160  # characters, in a list
_LONGEST_NUMBER = 1e7
_STRIP_COLUMNS, _STRIP_ROWS, _LEAST_STRIP_LINES = 240, 24, 30
_STRIP_BITS = 4.0  # bits per byte of a full bar, unless one is higher; also of a hot one


@dataclass(frozen=True)
class _TopLine:
    """A line in a list: its name, where it is on the page, and the beginning of its text."""

    name: str
    place: str
    bits_per_byte: float
    runs: tuple[Run, ...]
    cut: bool

    @classmethod
    def of(cls, line: ShownLine, place: str) -> "_TopLine":
        runs: list[Run] = []
        left = _SHOWN_OF_LINE
        for run in line.runs:
            text = run.text if runs else run.text.lstrip()  # indentation is of no use here
            if text and left > 0:
                runs.append(replace(run, text=text[:left]))
            left -= len(text)
        name = f"line {line.score.line}"
        return cls(name, place, line.bits_per_byte, tuple(runs), cut=left <= 0)


@dataclass(frozen=True)
class _File:
    """A file on the page: its entry, its most surprising lines, and its finished source."""

    entry: ScoreEntry
    number: int
    top: tuple[_TopLine, ...]
    source: "Markup"

    @property
    def alarm(self) -> bool:
        return self.entry.failed

    @property
    def verdict(self) -> str:
        if self.entry.fault is not None:
            return f"{self.entry.status}: {self.entry.fault.reason}"
        if self.entry.gate_result is None:
            return "scored"
        return self.entry.gate_result.verdict.value.replace("-", " ")

    @property
    def said(self) -> str:
        fault = self.entry.fault
        return describe(self.entry) if fault is None else f"{self.entry.status}: {fault.detail}"


@dataclass(frozen=True)
class _Bar:
    """A bar of the strip; a hot one is above what is usual for code."""

    height: float
    hot: bool


@dataclass
class Page:
    """A page that is filled while files are scored, and written at the end.

    Attributes:
        file: where it will be.
    """

    file: Path
    _target: atomic_files.Target
    _files: list[_File] = field(default_factory=list)
    _characters: int = 0

    @classmethod
    def prepare(cls, file: Path) -> "Page":
        """Open a page, whose file must be writable.

        Raises:
            UsageFailure, Failure: it is not, see `atomic_files.open_target`; or it is not such a
                page.
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
            hint = "choose another name, or remove the file first"
            raise Failure("output", f"{file}: exists and is not such a page", hint=hint)
        return cls(file, target)

    @cached_property
    def _templates(self) -> "Environment":
        from jinja2 import Environment, FileSystemLoader

        templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            trim_blocks=True,
            keep_trailing_newline=True,
        )
        templates.filters |= {"spelled": _spelled, "number": _number}
        return templates

    def add(self, entry: ScoreEntry) -> None:
        """Add the result for a file, with its text."""
        name, lines, hidden = f"f{len(self._files) + 1}", [], 0
        if entry.score is not None and entry.text is not None:
            room = self._characters < PAGE_CHARACTERS
            lines = list(shown_lines(entry.text, entry.score)) if room else []
            hidden = len(entry.score.lines) - len(lines)
            self._characters += len(entry.text)
        worst = most_surprising(lines)[:_TOP_OF_FILE]
        top = tuple(_TopLine.of(line, f"{name}-l{line.score.line}") for line in worst)
        ranks = {line.score.line: rank for rank, line in enumerate(worst, 1)}
        source = self._source(lines, name=name, ranks=ranks, hidden=hidden)
        self._files.append(_File(entry, len(self._files) + 1, top, source))

    def write(self, summary: dict[str, Any]) -> None:
        """Write the page as a whole.

        Args:
            summary: the totals, and what produced the values.

        Raises:
            Failure: it cannot be written.
        """
        style = Path(__file__).with_name("page.css").read_text("utf-8")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        files = self._files
        text = self._templates.get_template("page.html.jinja").render(
            summary=summary,
            files=files,
            title=files[0].entry.path if len(files) == 1 else f"{len(files)} files",
            top_of_all=_top_of_all(files),
            level_bits=LEVEL_BITS,
            style=style,
            policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'",
        )
        atomic_files.atomic_write(self._target, text.encode("utf-8", "replace"))

    def _source(self, lines: Sequence[ShownLine], **values: Any) -> "Markup":
        from markupsafe import Markup

        bars = _bars(lines) if len(lines) >= _LEAST_STRIP_LINES else []
        template = self._templates.get_template("source.html.jinja")
        return Markup(template.render(lines=lines, bars=bars, rows=_STRIP_ROWS, **values))  # noqa: S704  # escaped by the template


def _top_of_all(files: Sequence[_File]) -> list[_TopLine]:
    """Return the most surprising lines of several files; one file has its own list."""
    if len(files) < 2:
        return []
    named = (
        replace(line, name=f"{file.entry.path}:{line.name.removeprefix('line ')}")
        for file in files
        for line in file.top
    )
    return sorted(named, key=lambda line: -line.bits_per_byte)[:_TOP_OF_ALL]


def _bars(lines: Sequence[ShownLine]) -> list[_Bar]:
    """Return the bits per byte from the first line to the last; the highest if lines share a bar.

    The numbers are also beside the lines, so nobody has to see the strip.
    """
    columns = min(len(lines), _STRIP_COLUMNS)
    bars = [0.0] * columns
    for place, line in enumerate(lines):
        column = place * columns // len(lines)
        bars[column] = max(bars[column], line.bits_per_byte if line.telling else 0.0)
    highest = max(*bars, _STRIP_BITS)
    return [_Bar(bits / highest * _STRIP_ROWS, hot=bits >= _STRIP_BITS) for bits in bars]


def _spelled(text: str | None) -> "Markup":
    """Escape a text, and spell out deceptive characters; tabs stay."""
    from markupsafe import Markup, escape

    whole = text or ""
    if safe(whole) == whole:
        return escape(whole)
    parts: list[Markup] = []
    for char in whole:
        shown = char if char == "\t" else safe(char)
        known = escape(shown)
        parts.append(known if shown == char else Markup('<span class="x">{}</span>').format(known))
    return Markup("").join(parts)


def _number(value: Any, digits: int) -> str:
    if not isinstance(value, (int, float)):
        return "none"
    return f"{value:,.{digits}f}" if value < _LONGEST_NUMBER else f"{value:.2e}"
