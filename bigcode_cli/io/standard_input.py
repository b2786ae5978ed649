"""Standard input: read where no file is named or the name is `-`, and never from a terminal."""

import select
import sys
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any, BinaryIO

from bigcode_cli.framework.errors import UsageFailure
from gpt_bigcode.errors import UnreadableFileError

STANDARD_INPUT = "-"
"""How a command line names it."""


def is_standard_input(file: Path | None) -> bool:
    """Tell whether FILE is absent or `-`."""
    return file is None or str(file) == STANDARD_INPUT


def refuse_terminal(*, hint: str, missing: str | None = None) -> None:
    """Refuse to wait for somebody to type.

    Args:
        hint: how to call the command instead.
        missing: the argument that could have named a file.

    Raises:
        UsageFailure: standard input is a terminal.
    """
    if sys.stdin is not None and sys.stdin.isatty():
        reason = f"no {missing} given, and " if missing else ""
        raise UsageFailure(f"{reason}stdin is a terminal", hint=hint)


def open_standard_input() -> BinaryIO:
    """Open it for reading bytes.

    Raises:
        UnreadableFileError: it is closed.
    """
    if sys.stdin is None:
        raise UnreadableFileError.at("stdin", "is closed")

    class Waiting(FileIO):
        """Waits for more where the parent made the pipe non-blocking and it is empty."""

        def readinto(self, buffer: Any) -> int:
            while (count := super().readinto(buffer)) is None:
                select.select([self], [], [])
            return count

    return BufferedReader(Waiting(sys.stdin.fileno(), closefd=False))
