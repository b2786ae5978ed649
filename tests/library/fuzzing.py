"""How long the fuzzers go on: a few seeded cases, or as long as BIGCODE_FUZZ_SECONDS says."""

import os
import time
from collections.abc import Iterator


def seeds(count: int) -> Iterator[int]:
    """0 to `count` - 1; with BIGCODE_FUZZ_SECONDS as many as there is time for."""
    seconds = float(os.environ.get("BIGCODE_FUZZ_SECONDS", "0"))
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end if seconds else number < count:
        yield number
        number += 1
