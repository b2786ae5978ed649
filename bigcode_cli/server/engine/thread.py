"""One thread a model computes for all requests.

What one request needs is done call by call: a block of a prompt, a step of a text. Between two
calls others have their turn, and a request that is cancelled ends. The steps of all texts that are
being written go through the model together.
"""

import heapq
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from gpt_bigcode.backends.interfaces import BlockDecoder, Logits

Result = TypeVar("Result")
_LEAST_PATIENCE_SECONDS = 0.005


class CancelledRequestError(Exception):
    """The request was cancelled; `str` says why."""


class Ticket:
    """The state of a request that the threads working for it share."""

    def __init__(self) -> None:
        self.arrived = monotonic()
        self.answered = False
        self._reason: str | None = None

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


@dataclass(order=True)
class _Call:
    """Something to compute by itself; the lowest turn is the first."""

    turn: int
    number: int
    ticket: Ticket = field(compare=False)
    function: Callable[[], Any] = field(compare=False)
    future: Future[Any] = field(compare=False)


@dataclass
class _Step:
    """Tokens to append to a row, and the logits after each that are wanted."""

    ticket: Ticket
    decoder: "BlockDecoder"
    tokens: Sequence[int]
    future: "Future[Logits]"

    def run(self) -> "Logits":
        """By itself."""
        return self.decoder.append_each([self.decoder], [self.tokens])[0]


@dataclass(frozen=True)
class _Left:
    """A request asks for no more steps."""

    ticket: Ticket


class Engine:
    """The thread of one model."""

    def __init__(self, name: str) -> None:
        self._arrived: queue.SimpleQueue[_Call | _Step | _Left | None] = queue.SimpleQueue()
        self._numbers = count()
        self._calls: list[_Call] = []
        self._steps: list[_Step] = []
        self._writing: set[Ticket] = set()  # those whose last step has been done
        self._step_seconds = 0.0
        self._open = True
        self._thread = threading.Thread(target=self._work, name=f"engine {name}", daemon=True)
        self._thread.start()

    def turn(self) -> int:
        """Reserve a place in the order of calls."""
        return next(self._numbers)

    def call(
        self, ticket: Ticket, function: Callable[[], Result], turn: int | None = None
    ) -> Result:
        """Run a function on the engine's thread and wait for what it returns or raises.

        Args:
            ticket: for whom.
            function: what to run.
            turn: a place that `turn` gave; None: after all calls so far.

        Raises:
            CancelledRequestError: the request was cancelled before its turn came.
        """
        ticket.check()
        future: Future[Result] = Future()
        number = next(self._numbers)
        place = number if turn is None else turn
        self._arrived.put(_Call(place, number, ticket, function, future))
        return future.result()

    def step(self, ticket: Ticket, decoder: "BlockDecoder", tokens: Sequence[int]) -> "Logits":
        """Append tokens to the decoder's only row, in one pass with the steps of other requests.

        Args:
            ticket: for whom; it has to `leave` when it asks for no more.
            decoder: has exact steps, so no result depends on what else is in the batch.
            tokens: T ids.

        Returns:
            The logits after each token, [T, V].

        Raises:
            CancelledRequestError: the request was cancelled before its turn came.
        """
        ticket.check()
        future: Future[Logits] = Future()
        self._arrived.put(_Step(ticket, decoder, tokens, future))
        return future.result()

    def leave(self, ticket: Ticket) -> None:
        """Wait no longer for steps of a request."""
        self._arrived.put(_Left(ticket))

    def close(self) -> None:
        """End the thread when all that was asked so far is done."""
        self._arrived.put(None)

    def _work(self) -> None:
        while self._open or self._calls or self._steps:
            if not self._calls and not self._steps:
                self._sort(self._arrived.get())
            self._sort_arrived()
            if self._calls:
                _run(heapq.heappop(self._calls))
            if self._steps:
                self._gather()
                self._advance()

    def _sort_arrived(self) -> None:
        while True:
            try:
                self._sort(self._arrived.get_nowait())
            except queue.Empty:
                return

    def _sort(self, item: _Call | _Step | _Left | None) -> None:
        if item is None:
            self._open = False
        elif isinstance(item, _Call):
            heapq.heappush(self._calls, item)
        elif isinstance(item, _Step):
            self._steps.append(item)
        else:
            self._writing.discard(item.ticket)

    def _gather(self) -> None:
        """Wait for the requests of the last pass, which only have to choose a token.

        One that is not back within the time of a step is not waited for again until it is.
        """
        deadline = monotonic() + max(self._step_seconds, _LEAST_PATIENCE_SECONDS)
        while absent := self._writing.difference(step.ticket for step in self._steps):
            try:
                self._sort(self._arrived.get(timeout=max(deadline - monotonic(), 0)))
            except queue.Empty:
                self._writing -= absent
                return
            # What they ask for first, such as forgetting a wrong guess, takes no time.
            for call in [call for call in self._calls if call.ticket in absent]:
                self._calls.remove(call)
                heapq.heapify(self._calls)
                _run(call)

    def _advance(self) -> None:
        """One pass for all steps that wait."""
        steps, self._steps = self._steps, []
        started = monotonic()
        ready = [step for step in steps if not _failed(step, step.ticket.check)]
        if not ready:
            return
        decoders = [step.decoder for step in ready]
        try:
            logits = decoders[0].append_each(decoders, [step.tokens for step in ready])
        except BaseException:  # noqa: BLE001  # raised again where it is waited for
            for step in ready:  # by itself each: only those whose fault it is fail
                _run(step)
        else:
            for step, rows in zip(ready, logits, strict=True):
                step.future.set_result(rows)
        self._writing.update(step.ticket for step in ready)
        self._step_seconds = monotonic() - started


def _run(job: _Call | _Step) -> None:
    """Run a job unless its request was cancelled."""

    def answer() -> None:
        job.ticket.check()
        job.future.set_result(job.function() if isinstance(job, _Call) else job.run())

    _failed(job, answer)


def _failed(job: _Call | _Step, function: Callable[[], None]) -> bool:
    """Run a function; if it raises, the job's future gets the error, and True is returned."""
    try:
        function()
    except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
        job.future.set_exception(error)
        return True
    return False
