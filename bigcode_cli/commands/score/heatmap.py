"""Shows the source of a file on a terminal, coloured by surprise, or marked by digits.

The terminal gets only printable characters, whatever is in the file: control characters are spelled
out and tabs become spaces.
"""

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from bigcode_cli.commands.score.views import LEVEL_BITS, Run, ShownLine, shown_lines
from bigcode_cli.framework.output import Result, has_colours, safe

if TYPE_CHECKING:
    from gpt_bigcode.scoring.results import Score

# Styles of the levels 1 to 4, readable on dark and light backgrounds: the upper two set their own.
# Underlines tell levels apart where hues do not.
_STYLES_OF_256 = (
    "color(136)",
    "underline color(166)",
    "color(16) on color(214)",
    "bold underline color(231) on color(160)",
)
_STYLES_OF_8 = ("yellow", "underline yellow", "black on yellow", "bold underline white on red")
_TAB_COLUMNS = 8
_MARGIN = 14  # columns of the line's number and value
_LEAST_COLUMNS = 20

Cell = tuple[str, int, int]  # what is shown for a character, its width in columns, its level


class Heatmap:
    """Writes the lines of files, each with its number and its bits per byte.

    In colour where standard output is a terminal that has them. Anywhere else a second line marks
    the characters of surprising tokens with the digits of their levels.
    """

    def __init__(self, result: Result) -> None:
        self._result = result
        self._console, self._styles = _colours()
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
        if self._console is None:
            shown = ", ".join(f"{bits} bits ({level})" for level, bits in enumerate(LEVEL_BITS, 1))
            self._result.write(f"tokens of at least {shown}\n")
            return
        parts: list[str | tuple[str, str]] = ["tokens of at least "]
        for bits, style in zip(LEVEL_BITS, self._styles, strict=True):
            parts += [(f"{bits} bits", style), ", "]
        self._print(parts[:-1])

    def _write_line(self, line: ShownLine) -> None:
        margin = f"{line.score.line:>6} {line.bits_per_byte:>5.2f}  "
        if self._console is not None:
            joined = groupby(_cells(line.runs), key=itemgetter(2))
            parts = [("".join(cell[0] for cell in cells), level) for level, cells in joined]
            styled = [(text, self._styles[level - 1] if level else "") for text, level in parts]
            self._print([(margin, "dim"), *styled])
            return
        for part in _folded(list(_cells(line.runs)), self._columns):
            digits = "".join((str(level) if level else " ") * width for _, width, level in part)
            self._result.write(f"{margin}{''.join(map(itemgetter(0), part))}\n")
            margin = " " * _MARGIN
            if digits.strip():
                self._result.write(f"{margin}{digits.rstrip()}\n")

    def _print(self, parts: Sequence[str | tuple[str, str]]) -> None:
        """Write one line of parts in their styles."""
        from rich.text import Text

        with self._console.capture() as captured:
            self._console.print(Text.assemble(*parts), soft_wrap=True)
        self._result.write_rendered(captured.get())


def _colours() -> tuple[Any, tuple[str, ...]]:
    """Return rich's console and the styles of the levels; None where there are no colours."""
    if not has_colours(sys.stdout):
        return None, ()
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    return console, _STYLES_OF_8 if console.color_system == "standard" else _STYLES_OF_256


def _cells(runs: Iterable[Run]) -> Iterator[Cell]:
    """Yield how each character is shown; a tab fills up to a multiple of eight columns."""
    from rich.cells import get_character_cell_size

    column = 0
    for run in runs:
        for char in run.text:
            shown = " " * (_TAB_COLUMNS - column % _TAB_COLUMNS) if char == "\t" else safe(char)
            single = len(shown) == 1
            width = get_character_cell_size(shown) if single else len(shown)
            column += width
            yield shown, width, run.level


def _folded(cells: list[Cell], columns: int) -> Iterator[list[Cell]]:
    """Split a line into parts that fit, so that marks stay below their text; at least one part."""
    part: list[Cell] = []
    used = 0
    for cell in cells:
        if used + cell[1] > columns:
            yield part
            part, used = [], 0
        part.append(cell)
        used += cell[1]
    yield part
