"""How lists and facts are shown: as columns for people, or as one JSON document.

Knows nothing of models.
"""

from collections.abc import Sequence
from typing import Any

from bigcode_cli.options import OutputFormat
from bigcode_cli.output import Result, safe

_KILO = 1000


def write_document(document: dict[str, Any], output_format: OutputFormat) -> None:
    """Write a JSON document: indented for `json`, on one line for `jsonl`."""
    Result().write_json(document, indent=2 if output_format is OutputFormat.JSON else None)


def write_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows under headings, each column as wide as its longest cell."""
    cells = [[safe(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    result = Result()
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        result.write("  ".join(padded).rstrip() + "\n")
    result.close()


def write_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Write one fact on each line, the names in a column of their own."""
    width = max(len(name) for name, _ in facts)
    result = Result()
    for name, value in facts:
        result.write(f"{safe(name).ljust(width)}  {safe(value)}".rstrip() + "\n")
    result.close()


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
