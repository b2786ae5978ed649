"""Shows the source of a file on a terminal, coloured by surprise, or marked by digits.

The terminal gets only printable characters, whatever is in the file: control characters are
spelled, tabs become spaces, and every colour ends with its line.
"""

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from bigcode_cli.commands.score.views import LEVEL_BITS, Run, ShownLine, shown_lines
from bigcode_cli.framework.output import Result, safe

if TYPE_CHECKING:
    from gpt_bigcode.scoring.results import Score

# Marks of the levels 1 to 4. Hues that can be read on a dark and on a light background alike; the
# two upper levels bring their own. Underlines tell them apart where hues do not.
_STYLES_OF_256 = ("38;5;136", "4;38;5;166", "38;5;16;48;5;214", "1;4;38;5;231;48;5;160")
_STYLES_OF_8 = ("33", "4;33", "30;43", "1;4;37;41")
_FAINT = "2"
_TAB_COLUMNS = 8
_MARGIN = 14  # columns of the line's number and value
_LEAST_COLUMNS = 20

Cell = tuple[str, int, int]  # what is shown for a character, its width in columns, its level


class Heatmap:
    """Writes the lines of files, each with its number and its bits per byte.

    With colours where standard output is a terminal that has them and NO_COLOR is not set. Anywhere
    else a second line marks the characters of surprising tokens by the digits of their levels.
    """

    def __init__(self, result: Result) -> None:
        self._result = result
        self._styles = _terminal_styles()
        terminal = sys.stdout.isatty()
        columns = shutil.get_terminal_size().columns if terminal else sys.maxsize
        self._columns = max(columns - _MARGIN, _LEAST_COLUMNS)
        self._explained = False

    def write(self, text: str, score: "Score") -> None:
        """Write the lines of one file.

        Args:
            text: the file, or its beginning.
            score: its values, with lines and tokens.
        """
        if not self._explained:
            self._explained = True
            self._explain()
        before = shown = 0
        for line in shown_lines(text, score):
            if line.score.line != before + 1:
                self._result.write("    ...\n")
            before = line.score.line
            shown += 1
            self._write_line(line)
        if hidden := len(score.lines) - shown:
            self._result.write(f"    ... {hidden} more lines are not shown\n")

    def _explain(self) -> None:
        self._result.write("tokens of at least ")
        for level, bits in enumerate(LEVEL_BITS, 1):
            self._result.write(", " if level > 1 else "")
            if self._styles:
                self._result.write_styled(f"{bits} bits", self._styles[level - 1])
            else:
                self._result.write(f"{bits} bits ({level})")
        self._result.write("\n")

    def _write_line(self, line: ShownLine) -> None:
        margin = f"{line.score.line:>6} {line.bits_per_byte:>5.2f}  "
        if self._styles:
            self._result.write_styled(margin, _FAINT)
            for level, text in _joined(_cells(line.runs)):
                self._write_run(text, level)
            self._result.write("\n")
            return
        for part in _folded(list(_cells(line.runs)), self._columns):
            digits = "".join((str(level) if level else " ") * width for _, width, level in part)
            self._result.write(f"{margin}{''.join(map(itemgetter(0), part))}\n")
            margin = " " * _MARGIN
            if digits.strip():
                self._result.write(f"{margin}{digits.rstrip()}\n")

    def _write_run(self, text: str, level: int) -> None:
        if level:
            self._result.write_styled(text, self._styles[level - 1])
        else:
            self._result.write(text)


def _terminal_styles() -> tuple[str, ...]:
    """What selects the colours of the levels; nothing if there are none."""
    term = os.environ.get("TERM", "")
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or term in ("", "dumb"):
        return ()
    many = "256" in term or os.environ.get("COLORTERM") in ("truecolor", "24bit")
    return _STYLES_OF_256 if many else _STYLES_OF_8


def _cells(runs: Iterable[Run]) -> Iterator[Cell]:
    """How each character is shown; a tab fills up to the next multiple of eight columns."""
    from rich.cells import get_character_cell_size

    column = 0
    for run in runs:
        for char in run.text:
            shown = " " * (_TAB_COLUMNS - column % _TAB_COLUMNS) if char == "\t" else safe(char)
            single = len(shown) == 1
            width = get_character_cell_size(shown) if single else len(shown)
            column += width
            yield shown, width, run.level


def _joined(cells: Iterable[Cell]) -> Iterator[tuple[int, str]]:
    for level, group in groupby(cells, key=itemgetter(2)):
        yield level, "".join(map(itemgetter(0), group))


def _folded(cells: list[Cell], columns: int) -> Iterator[list[Cell]]:
    """The line in parts that fit, so that marks stay under what they mark; one part if empty."""
    part: list[Cell] = []
    used = 0
    for cell in cells:
        if used + cell[1] > columns:
            yield part
            part, used = [], 0
        part.append(cell)
        used += cell[1]
    yield part
