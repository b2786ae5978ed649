"""Runs requests: admission, a thread for each, and a stream of its events."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from bigcode_cli.server.engine.thread import CancelledRequestError, Ticket
from bigcode_cli.server.gate import Gate
from bigcode_cli.server.jobs import SUPERSEDED, Caller, Done, Event, Jobs, Piece, Work
from bigcode_cli.server.metrics import Metrics

HEARTBEAT_SECONDS = 1.0
SHUTDOWN, DISCONNECT = "shutting down", "disconnect"


class Service:
    """The models and the requests of one server."""

    def __init__(self, jobs: Jobs, gate: Gate, *, threads: int) -> None:
        """Load nothing yet.

        Args:
            jobs: makes work of requests.
            gate: admission control.
            threads: requests that compute at once.
        """
        self.jobs, self.registry = jobs, jobs.registry
        self.gate, self.metrics = gate, Metrics()
        self.started = monotonic()
        self.stopping = False
        self.stop: Callable[[], None] = lambda: None  # ends the server; set by its runner
        self.tickets: set[Ticket] = set()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._slots: dict[str, Ticket] = {}
        watch = self.metrics.watch
        watch("bigcode_queue_length", "Requests that wait.", lambda: gate.waiting)
        watch("bigcode_active_requests", "Requests that compute.", lambda: gate.active)
        watch("bigcode_prefix_cache_bytes", "Bytes of kept prompts.", self.registry.kept_bytes)

    async def events(self, caller: Caller, work: Work) -> AsyncGenerator[Event | None, None]:
        """Do some work; its events, and None from time to time while there are none.

        Raises:
            QueueFullError, CancelledRequestError: it was not begun, or not ended.
            Exception: what the work raised.
        """
        if self.stopping:
            raise CancelledRequestError(SHUTDOWN)
        found: asyncio.Queue[Event | BaseException | None] = asyncio.Queue()
        self._supersede(caller)
        self.tickets.add(caller.ticket)
        task = asyncio.create_task(self._run(caller, work, found))
        ended = False
        try:
            while True:
                try:
                    event = await asyncio.wait_for(found.get(), HEARTBEAT_SECONDS)
                except TimeoutError:
                    yield None
                    continue
                if event is None:
                    ended = True
                    return
                if isinstance(event, BaseException):
                    raise event
                self._count(caller, event)
                yield event
        finally:
            if not ended:
                caller.ticket.cancel(DISCONNECT)
                caller.gone.set()
            self.tickets.discard(caller.ticket)
            if caller.slot is not None and self._slots.get(caller.slot) is caller.ticket:
                del self._slots[caller.slot]
            await asyncio.shield(task)
            self.metrics.seconds.observe(monotonic() - caller.ticket.arrived)

    def cancel_all(self, reason: str) -> None:
        """End everything that runs."""
        for ticket in list(self.tickets):
            ticket.cancel(reason)

    async def _run(
        self, caller: Caller, work: Work, found: "asyncio.Queue[Event | BaseException | None]"
    ) -> None:
        loop = asyncio.get_running_loop()

        def emit(event: Event | BaseException | None) -> None:
            loop.call_soon_threadsafe(found.put_nowait, event)

        try:
            async with self.gate.admit(caller.client, caller.gone):
                await loop.run_in_executor(self._pool, work, caller.ticket, emit)
            emit(None)
        except BaseException as error:  # noqa: BLE001  # raised again by `events`
            emit(error)

    def _supersede(self, caller: Caller) -> None:
        if caller.slot is None:
            return
        older = self._slots.get(caller.slot)
        if older is not None:
            older.cancel(SUPERSEDED)
        self._slots[caller.slot] = caller.ticket

    def _count(self, caller: Caller, event: Event) -> None:
        if isinstance(event, Piece) and not caller.ticket.answered:
            caller.ticket.answered = True
            self.metrics.first_token.observe(monotonic() - caller.ticket.arrived)
        if isinstance(event, Done):
            choices = event.document.get("choices", ())
            self.metrics.prompt_tokens.inc(event.document.get("prompt_tokens", 0))
            self.metrics.reused_tokens.inc(event.reused_tokens)
            self.metrics.written_tokens.inc(sum(one["completion_tokens"] for one in choices))
