"""Admission control: concurrent requests, a bounded queue, fairness between clients."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bigcode_cli.server.engine.thread import CancelledRequestError


class QueueFullError(Exception):
    """Too many requests wait."""


class Gate:
    """Lets requests in, fairly between clients; lives on the event loop alone."""

    def __init__(self, *, parallel: int, queue: int) -> None:
        """Set the limits.

        Args:
            parallel: requests that compute at once.
            queue: requests that wait.
        """
        self._parallel, self._queue = parallel, queue
        self._active: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def active(self) -> int:
        """How many requests compute."""
        return self._active.total()

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def admit(self, client: str, gone: asyncio.Event) -> AsyncIterator[None]:
        """Wait for a turn, and have it until the block ends.

        Args:
            client: the connection; its requests wait for each other and delay no other client's.
            gone: set when the client has closed its connection.

        Raises:
            QueueFullError: too many wait already.
            CancelledRequestError: the client has gone meanwhile.
        """
        if self.active < self._parallel and not self._waiting:
            self._active[client] += 1
        else:
            await self._wait(client, gone)
        try:
            yield
        finally:
            self._active[client] -= 1
            self._active += Counter()  # drops zeros
            self._admit_next()

    async def _wait(self, client: str, gone: asyncio.Event) -> None:
        if self.waiting >= self._queue:
            raise QueueFullError
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        leaving = asyncio.ensure_future(gone.wait())
        try:
            either: set[asyncio.Future[Any]] = {turn, leaving}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not turn.done():
                self._forget(client, turn)
        if not turn.done():
            raise CancelledRequestError("disconnect")

    def _forget(self, client: str, turn: asyncio.Future[None]) -> None:
        self._waiting[client].remove(turn)
        if not self._waiting[client]:
            del self._waiting[client]

    def _admit_next(self) -> None:
        """Give the turn to the client that has the fewest, the one that waited longest first."""
        while self._waiting and self.active < self._parallel:
            client = min(self._waiting, key=self._active.__getitem__)
            turn = self._waiting[client].popleft()
            if self._waiting[client]:
                self._waiting.move_to_end(client)
            else:
                del self._waiting[client]
            self._active[client] += 1
            turn.set_result(None)
