"""Prompts in prefill: another request for one of them waits and gets a copy of the result."""

import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from bigcode_cli.server.engine.thread import Ticket

State = TypeVar("State")
_WAIT_SECONDS = 0.1


class Prefills(Generic[State]):
    """The prompts of one model that are in prefill; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, list[Future[State | None]]] = {}

    def read(
        self,
        key: Hashable,
        ticket: Ticket,
        compute: Callable[[], State],
        copies: Callable[[State, int], Sequence[State]],
    ) -> tuple[State, bool]:
        """Prefill a prompt, or wait for another request that does.

        Args:
            key: equal for prompts that give the same state.
            ticket: the request.
            compute: prefills the prompt.
            copies: makes a number of copies of a state, for the requests that waited.

        Returns:
            The state, and whether it is a copy.

        Raises:
            CancelledRequestError: the request was cancelled while it waited.
            Exception: what `compute` raised; a request that waited then reads by itself.
        """
        while True:
            with self._lock:
                others = self._waiting.get(key)
                if others is None:
                    self._waiting[key] = []
                    break
                mine: Future[State | None] = Future()
                others.append(mine)
            state = _awaited(mine, ticket)
            if state is not None:
                return state, True
        return self._read_first(key, compute, copies), False

    def _read_first(
        self,
        key: Hashable,
        compute: Callable[[], State],
        copies: Callable[[State, int], Sequence[State]],
    ) -> State:
        given: Sequence[State | None] = ()
        state = None
        try:
            state = compute()
        finally:
            with self._lock:
                others = self._waiting.pop(key)
            try:
                if state is not None and others:
                    given = copies(state, len(others))
            finally:  # a request without a copy prefills by itself
                for place, other in enumerate(others):
                    other.set_result(given[place] if given else None)
        return state


def _awaited(future: "Future[State | None]", ticket: Ticket) -> State | None:
    while True:
        ticket.check()
        try:
            return future.result(_WAIT_SECONDS)
        except TimeoutError:
            continue
