"""How long this process has been running, imports included."""

import os
import time
from pathlib import Path

_IMPORTED = time.monotonic()
_LONGEST_START_SECONDS = 120.0
_START_TIME_FIELD = 19  # of those after the name, which is in parentheses


def seconds_since_start() -> float:
    """Return the seconds since the process was started.

    Where the system does not tell, count from the import of this module.
    """
    since_import = time.monotonic() - _IMPORTED
    try:
        fields = Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()
        ticks = int(fields[_START_TIME_FIELD])
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        since_start = now - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return since_import
    # A sandbox may give nonsense: a process is not imported long after its start.
    plausible = 0 <= since_start - since_import <= _LONGEST_START_SECONDS
    return since_start if plausible else since_import
