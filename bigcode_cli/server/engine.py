"""One thread a model computes for all requests, one call after the other, in the order asked.

Every step of a text is a call of its own, so requests advance together, and one that is cancelled
ends within a step.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Any, TypeVar

Result = TypeVar("Result")


class CancelledRequestError(Exception):
    """Nobody waits for the answer any more, or it has to end now; `str` says why."""


class Ticket:
    """A request on its way, as those who compute for it see it."""

    def __init__(self) -> None:
        self.arrived = monotonic()
        self.answered = False
        self._reason: str | None = None

    @property
    def reason(self) -> str | None:
        """Why it was cancelled; None: it was not."""
        return self._reason

    def cancel(self, reason: str) -> None:
        """End it at the next step; the first reason stays."""
        self._reason = self._reason or reason

    def check(self) -> None:
        """Go on if it was not cancelled.

        Raises:
            CancelledRequestError: it was.
        """
        if self._reason is not None:
            raise CancelledRequestError(self._reason)


class Engine:
    """The thread of one model."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Ticket, Callable[[], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._work, name=f"engine {name}", daemon=True)
        self._thread.start()

    def call(self, ticket: Ticket, function: Callable[[], Result]) -> Result:
        """Run a function on the engine's thread and wait for what it returns or raises.

        Raises:
            CancelledRequestError: the request was cancelled before its turn came.
        """
        ticket.check()
        future: Future[Result] = Future()
        self._calls.put((ticket, function, future))
        return future.result()

    def close(self) -> None:
        """End the thread when all that was asked so far is done."""
        self._calls.put(None)

    def _work(self) -> None:
        while (job := self._calls.get()) is not None:
            ticket, function, future = job
            try:
                ticket.check()
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
                future.set_exception(error)
            del job, function, future  # a model that is unloaded must not live on here
