"""What the reports on many texts have in common: rows of CSV, names that are no UTF-8.

Knows nothing of what is reported.
"""

import base64
from collections.abc import Iterable, Sequence
from typing import Any


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
    writer.writerows(rows)
    return text.getvalue()


def _is_no_text(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
