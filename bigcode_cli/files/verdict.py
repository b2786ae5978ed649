"""What gates say of a text.

Knows nothing of what they look at.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What the gates say of a file."""

    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    TOO_SHORT = "too-short"
    NOT_COMPARED = "not-compared"


@dataclass(frozen=True)
class Judgement:
    """The verdict on a file, and a sentence for every gate that it failed."""

    verdict: Verdict
    findings: tuple[str, ...] = ()


def bytes_of_name(path: str) -> dict[str, str]:
    """The name's bytes in base64 as `path_b64`, if they are no UTF-8; else nothing."""
    if not _is_no_text(path):
        return {}
    raw = path.encode("utf-8", "surrogateescape")
    return {"path_b64": base64.b64encode(raw).decode()}


def csv_rows(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    """Rows of a table as CSV: other keys are left out, and what a row has not is empty."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n", restval="")
    writer.writerows({name: _harmless(cell) for name, cell in row.items()} for row in rows)
    return text.getvalue()


def _harmless(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula; numbers and `-` stay what they are."""
    formula = isinstance(cell, str) and len(cell) > 1 and cell[0] in "=+-@\t\r"
    return f"'{cell}" if formula else cell


def _is_no_text(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
