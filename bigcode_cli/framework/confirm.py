"""Asks for confirmation before anything is deleted."""

import sys

from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.framework.output import safe


def confirm(question: str, *, yes: bool) -> None:
    """Return if the user agrees; the answer is read from the terminal.

    Raises:
        UsageFailure: there is no terminal to ask on, and --yes was not given.
        Failure: the answer was no.
    """
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageFailure("this needs confirmation", hint="--yes goes on without asking")
    sys.stderr.write(f"{safe(question)} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Failure("declined", "nothing was deleted")
