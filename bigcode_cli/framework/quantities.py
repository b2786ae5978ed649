"""Sizes and times as people write them: 8G, 512MiB, 10m, 1h."""

import re
from typing import Any

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,3})?)\s*([kmg]i?)?b?", re.IGNORECASE | re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(-?\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|h)?", re.ASCII)


def parse_size(value: Any) -> int:
    """Read a number of bytes: 8G, 512MiB, 1000000.

    Raises:
        ValueError: it is not one.
    """
    found = _SIZE.fullmatch(str(value).strip())
    if found is None:
        raise ValueError(f"{value!r} is not a size such as 8G or 512Mi")
    return int(float(found[1]) * _UNITS[(found[2] or "").lower()])


def parse_duration(value: Any) -> float:
    """Read a time in seconds: 10m, 1h, 90, 0; below 0 means forever.

    Raises:
        ValueError: it is not one.
    """
    found = _DURATION.fullmatch(str(value).strip())
    if found is None:
        raise ValueError(f"{value!r} is not a time such as 10m, 1h or 90")
    return float(found[1]) * _SECONDS[found[2] or ""]
