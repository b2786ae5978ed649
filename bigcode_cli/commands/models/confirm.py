"""Asks before something is lost. Knows nothing of what."""

import sys

from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.framework.output import safe


def confirm(question: str, *, yes: bool) -> None:
    """Go on if the user says so; the answer is read from the terminal.

    Raises:
        UsageFailure: nobody can be asked, and --yes was not given.
        Failure: the answer was no.
    """
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageFailure("there is nobody to ask", hint="--yes goes on without asking")
    sys.stderr.write(f"{safe(question)} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Failure("declined", "nothing was removed")
