"""The slowest that a transfer may be; knows nothing of what is transferred."""

import time
from collections.abc import Callable

from bigcode_cli.failures import Failure


class SpeedLimit:
    """Refuses a transfer that stays below a rate for as long as the patience lasts.

    A server that sends one byte now and then never runs into a time limit for silence.
    """

    def __init__(
        self,
        bytes_per_second: float,
        patience_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._least = bytes_per_second * patience_seconds
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._began = clock()
        self._received = 0

    def count(self, received: int) -> None:
        """Take note of bytes that have come.

        Raises:
            Failure: there were too few for too long.
        """
        self._received += received
        now = self._clock()
        if now - self._began < self._patience_seconds:
            return
        if self._received < self._least:
            rate = self._received / (now - self._began)
            message = f"the server sends only {rate:.0f} bytes a second"
            raise Failure("network", message, hint="try again later")
        self._began, self._received = now, 0
