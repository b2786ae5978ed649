"""What the recipe's commands print and write: progress lines, hashes, JSON reports."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def note(text: str) -> None:
    """One line of progress on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def publish(report: dict[str, Any], path: Path) -> None:
    """Write a report to a file and to stdout."""
    text = json.dumps(report, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
    print(text)
