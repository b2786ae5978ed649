"""How much a test does: the full amount where BIGCODE_FULL_TESTS is set."""

import os


def amount(*, full: int, usual: int) -> int:
    """`full` in a run that takes its time, else `usual`, of which every law holds as well."""
    return full if os.environ.get("BIGCODE_FULL_TESTS") else usual
