"""The two ways out: results to stdout as exact bytes, messages to stderr as clean lines."""

import contextlib
import os
import re
import select
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from bigcode_cli.framework.options import OutputFormat

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_IN_TEXT = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)"
)
_FIRST_ESCAPED_BYTE, _LAST_ESCAPED_BYTE = 0xDC80, 0xDCFF
_LONGEST_HALF = 600  # characters of a message
_FIRST_PRINTABLE, _DELETE = 0x20, 0x7F
_ERROR_STYLE, _PLAIN = "\x1b[1;31m", "\x1b[0m"


def safe(text: str) -> str:
    """Make untrusted text safe for one line of a terminal or a log.

    Control characters are shown in caret notation, bytes that are not UTF-8 as a backslash, x and
    two digits, marks that end a line or change the direction of writing as their code point.
    """
    return _UNSAFE.sub(_escape, text)


def visible(text: str) -> str:
    """Make text safe for a terminal, but keep its lines and tabs."""
    return _UNSAFE_IN_TEXT.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < _FIRST_PRINTABLE or code == _DELETE:
        return "^" + chr(code ^ 0x40)
    if _FIRST_ESCAPED_BYTE <= code <= _LAST_ESCAPED_BYTE:
        return f"\\x{code - 0xDC00:02x}"
    return f"<U+{code:04X}>"


def write_message(line: str, *, error: str = "") -> None:
    """Write one line to stderr; a failure to write it is ignored.

    Args:
        line: the message.
        error: the start of an error line, red on a terminal.
    """
    if sys.stderr is None:
        return
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
        shown = (
            f"{_ERROR_STYLE}{safe(error)}{_PLAIN}"
            if error and has_colours(sys.stderr)
            else safe(error)
        )
        sys.stderr.buffer.write(f"{shown}{safe(line)}\n".encode())
        sys.stderr.buffer.flush()


def has_colours(stream: TextIO) -> bool:
    """Whether stdout or stderr is a terminal on which colours are wanted (NO_COLOR, TERM)."""
    wanted = not os.environ.get("NO_COLOR")
    return wanted and os.environ.get("TERM") not in (None, "", "dumb") and stream.isatty()


def can_redraw() -> bool:
    """Whether stderr is a terminal on which a line of progress can be erased."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return terminal and os.environ.get("TERM") not in (None, "", "dumb")


def complain(slug: str, message: str, *, hint: str | None = None) -> None:
    """Write an error line, and a hint line if there is one.

    Messages can quote files, so the middle of a very long one is cut.
    """
    if len(message) > 2 * _LONGEST_HALF:
        message = f"{message[:_LONGEST_HALF]} ... {message[-_LONGEST_HALF:]}"
    write_message(f": {message}", error=f"bigcode: error[{slug}]")
    if hint:
        write_message(f"hint: {hint}")


@dataclass(frozen=True, kw_only=True)
class Notes:
    """The notes of one command, filtered by -q and -v."""

    quiet: bool = False
    verbose: bool = False

    def note(self, text: str) -> None:
        """Report what was lost, skipped or ignored, on a terminal or not."""
        if not self.quiet:
            write_message(f"bigcode: note: {text}")

    def detail(self, text: str) -> None:
        """Report a detail under --verbose."""
        if self.verbose:
            self.note(text)

    @property
    def has_listener(self) -> bool:
        """Whether a person at a terminal sees notes."""
        return not self.quiet and sys.stderr is not None and sys.stderr.isatty()

    def remark(self, text: str) -> None:
        """Report what only a person at a terminal needs: progress, introductions, advice."""
        if self.has_listener:
            self.note(text)


class Result:
    """Standard output: bytes, flushed at every piece, the same whatever the locale.

    On a terminal, control characters are shown and not sent; anything else gets exact bytes.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        # Without Python's buffer an interrupted write leaves nothing behind that blocks the exit.
        self._stream = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
        self._terminal = sys.stdout.isatty()
        self._held = ""
        self._open_line = False

    def write(self, text: str) -> None:
        """Write text as UTF-8.

        Raises:
            BrokenPipeError: the reader closed the pipe.
            OSError: the text cannot be written.
        """
        if self._terminal:
            text = self._held + text
            # Only the next piece tells whether a line feed follows a carriage return.
            self._held = "\r" if text.endswith("\r") else ""
            text = visible(text.removesuffix("\r") if self._held else text)
        self._emit(text.encode("utf-8", "surrogateescape"))

    def write_bytes(self, data: bytes) -> None:
        """Write bytes as they are, or as readable text if this is a terminal."""
        if self._terminal:
            self.write(data.decode("utf-8", "replace"))
        else:
            self._emit(data)

    def write_rendered(self, text: str) -> None:
        """Write text that was made safe and then rendered by rich, colours included."""
        self._emit(text.encode())

    def write_json(self, document: dict[str, Any], *, indent: int | None) -> None:
        """Write one JSON document in ASCII: safe for every terminal, and strict."""
        import json

        self._emit(json.dumps(document, indent=indent, allow_nan=False).encode() + b"\n")

    def close(self) -> None:
        """Write what was held back; on a terminal, end the line before the shell's prompt."""
        if self._held:
            self._held = ""
            self._emit(b"^M")
        if self._terminal and self._open_line:
            self._emit(b"\n")

    def _emit(self, data: bytes) -> None:
        if data:
            self._open_line = not data.endswith(b"\n")
        while data:
            written = self._stream.write(data)
            if written is None:  # the pipe was made non-blocking by our parent, and it is full
                select.select([], [self._stream], [])
                continue
            data = data[written:]


_KILO = 1000
_GAP_COLUMNS = 2  # between the columns of a table
_WHOLE_COLUMNS = 10  # a cell of this size, such as `25.7 MB`, is not wrapped


def write_document(document: dict[str, Any], output_format: "OutputFormat") -> None:
    """Write a JSON document: indented for `json`, on one line for `jsonl`."""
    Result().write_json(document, indent=2 if output_format == "json" else None)


def write_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows under headings, each column as wide as its longest cell.

    On a terminal the headings are bold. Where there is no room cells are wrapped between words;
    names and paths are never broken: a table of too long ones is wider than the terminal.
    """
    if sys.stdout.isatty():
        _draw(headings, rows)
        return
    cells = [[safe(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    result = Result()
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        result.write("  ".join(padded).rstrip() + "\n")
    result.close()


def write_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Write one fact per line, with aligned names."""
    if sys.stdout.isatty():
        _draw(None, facts)
        return
    width = max(len(name) for name, _ in facts)
    result = Result()
    for name, value in facts:
        result.write(f"{safe(name).ljust(width)}  {safe(value)}".rstrip() + "\n")
    result.close()


def _draw(headings: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> None:
    """Draw a table on a terminal; without headings, its first column names facts."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False)
    table = Table(box=None, pad_edge=False, show_header=headings is not None, header_style="bold")
    if headings is None:
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
    else:
        columns = [[safe(cell) for cell in cells] for cells in zip(headings, *rows, strict=True)]
        widths = _column_widths(columns, console.width - _GAP_COLUMNS * (len(columns) - 1))
        for column, width in zip(columns, widths, strict=True):
            table.add_column(Text(column[0]), width=width)
        console.width = max(console.width, sum(widths) + _GAP_COLUMNS * (len(columns) - 1))
    for row in rows:
        table.add_row(*(Text(safe(cell)) for cell in row))
    console.print(table)


def _column_widths(columns: Sequence[Sequence[str]], room: int) -> list[int]:
    """How wide columns are drawn: whole cells, or only whole words if that makes them fit."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in columns]
    least = [widths[0]]
    for column in columns[1:]:
        parts = [[cell] if len(cell) <= _WHOLE_COLUMNS else cell.split(" ") for cell in column]
        least.append(max(cell_len(part) for cell in parts for part in cell))
    while sum(widths) > room >= sum(least):
        spare = [width - needed for width, needed in zip(widths, least, strict=True)]
        widths[spare.index(max(spare))] -= 1
    return widths


def shown_bytes(count: float) -> str:
    """Write a number of bytes with three digits and a decimal unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < _KILO:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= _KILO
    return f"{count:,.2f} TB"


def shown_count(count: float) -> str:
    """Write a number of parameters with three digits and K, M or B."""
    for unit in ("", "K", "M"):
        if count < _KILO:
            return f"{count:.3g}{unit}"
        count /= _KILO
    return f"{count:.3g}B"


def plural(count: int, word: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
