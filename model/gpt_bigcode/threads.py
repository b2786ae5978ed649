"""How many processor threads to compute with; imports nothing heavy."""

import os
import platform
from collections.abc import Iterator
from math import ceil
from pathlib import Path

from gpt_bigcode.errors import OptionError

_CPU_INFO = Path("/proc/cpuinfo")
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_MAX_THREADS = 1024


def choose_threads(threads: int | None = None) -> int:
    """How many threads to compute with.

    Default: OMP_NUM_THREADS if it is set, else the smaller of the cores that the process may run
    on and the processor time that its control group grants (containers see all the host's cores).

    Raises:
        OptionError: not 1 to 1024.
    """
    if threads is not None:
        if not 1 <= threads <= _MAX_THREADS:
            raise OptionError(f"threads: {threads} is not 1 to {_MAX_THREADS}")
        return threads
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isascii() and asked.isdigit() and 1 <= int(asked) <= _MAX_THREADS:
        return int(asked)
    return max(1, min(_cores(), _quota()))


def processor_name() -> str:
    """Which processor this is, as far as the system tells: libraries choose their code by it."""
    lines = (line.partition(":") for line in _read(_CPU_INFO).splitlines())
    names = (value.strip() for key, _, value in lines if key.strip() in ("model name", "flags"))
    found = " ".join(value for _, value in zip(range(2), names, strict=False))
    return f"{platform.machine()} {found}"


def _cores() -> int:
    """Physical cores among the processors that this process may run on."""
    try:
        allowed = os.sched_getaffinity(0)
    except (AttributeError, OSError):
        return os.cpu_count() or 1
    topology = Path("/sys/devices/system/cpu")
    siblings = set()
    for number in allowed:
        try:
            siblings.add(
                (topology / f"cpu{number}/topology/thread_siblings_list").read_text("ascii")
            )
        except OSError:
            return len(allowed)
    return len(siblings)


def _quota() -> int:
    """Processors' worth of time that the control groups grant, rounded up; no limit: many."""
    limits = [_MAX_THREADS]
    for folder in _control_groups():
        # Version 2 has "quota period" in one file and "max" for none, version 1 two files and -1.
        words = _read(folder / "cpu.max").split()
        words = words or [_read(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
        quota, period = words if len(words) == len(("quota", "period")) else ("", "")
        if quota.isdigit() and period.isdigit() and int(period):
            limits.append(ceil(int(quota) / int(period)))
    return min(limits)


def _control_groups() -> Iterator[Path]:
    """The folders of this process's group and of the groups around it; none outside Linux."""
    for line in _read(_OWN_GROUPS).splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _CGROUPS / "cpu" if controllers else _CGROUPS
        own = root / path.strip("/")
        yield own
        yield from (folder for folder in own.parents if folder.is_relative_to(root))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
