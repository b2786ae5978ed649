"""Limits on how slow a server may be."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from bigcode_cli.framework.errors import Failure


class SpeedLimit:
    """Ends a transfer that stays below a rate for some time.

    A read timeout does not end it: every byte resets that.
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
        """Count received bytes.

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


@contextmanager
def deadline(seconds: float, late: Callable[[], Exception]) -> Iterator[None]:
    """Interrupt work that takes longer, even inside a library.

    Headers that come byte by byte reset every read timeout, and the HTTP library shows them only
    when they are complete. Only the main thread can be interrupted.

    Args:
        seconds: after these, and every second from then on.
        late: makes the exception.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise late()

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
