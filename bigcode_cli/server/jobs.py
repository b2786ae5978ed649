"""Turns requests into work for a thread of their own, and defines the events that it emits."""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

from bigcode_cli.framework.errors import Failure
from bigcode_cli.models.resolve import BUILT_IN_OF, Found
from bigcode_cli.server.engine.decoder import Reuse, ServedDecoder
from bigcode_cli.server.engine.thread import CancelledRequestError, Ticket
from bigcode_cli.server.judged_text import JudgedText
from bigcode_cli.server.library import (
    Compute,
    Generate,
    Task,
    Writer,
    find,
    judge_many,
    on_engine,
    weight_bytes,
)
from bigcode_cli.server.logprobs import Listing, list_tokens
from bigcode_cli.server.registry import Loaded, Registry

SUPERSEDED = "superseded"
_LEAST_BUDGET_SECONDS = 1e-3
_WRITING = frozenset({Task.GENERATE, Task.SCORE})


@dataclass(frozen=True, kw_only=True)
class Started:
    """The prompt is known; nothing is written yet."""

    model: str
    counts: dict[str, int]


@dataclass(frozen=True)
class Piece:
    """Some text of a choice."""

    index: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Done:
    """The whole answer, in the form of the contract.

    Attributes:
        document: the answer.
        reused_tokens: how many of the prompt's tokens were known.
        superseded: it was ended by a newer request.
    """

    document: dict[str, Any]
    reused_tokens: int = 0
    superseded: bool = False


@dataclass(frozen=True)
class Judged:
    """What was found of one text."""

    place: int
    document: dict[str, Any]


Event = Started | Piece | Done | Judged
Emit = Callable[[Event], None]
Work = Callable[[Ticket, Emit], None]


@dataclass(kw_only=True)
class Caller:
    """The client of a request.

    Attributes:
        client: the connection.
        trusted: it came over the socket of this user, so it may name folders.
        ticket: the request.
        gone: set when the connection is closed.
        slot: a newer request of the same slot ends this one.
    """

    client: str
    trusted: bool
    ticket: Ticket = field(default_factory=Ticket)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    slot: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model, and how.

    Attributes:
        name: its name; None or empty: the default.
        lenient: an unknown name means the default model, as llama-server has it.
        compute: how it runs; None: as the server was started.
        keep_alive: seconds that it stays when idle; None: as the server was started.
    """

    name: str | None = None
    lenient: bool = False
    compute: Compute | None = None
    keep_alive: float | None = None


@dataclass
class Watch:
    """Ends that llama-server's clients ask for: a time after the first line, less indentation.

    Attributes:
        seconds: from the first text on; looked at after a line break.
        indent: a line that is indented less, and is not the first, ends the text before it.
    """

    seconds: float | None
    indent: int
    began: float = 0.0
    text: str = ""

    @classmethod
    def of(cls, options: dict[str, Any]) -> "Watch":
        """What the options ask for."""
        return cls(options.get("writing_seconds"), options.get("least_indent", 0))

    def ends(self, piece: str) -> bool:
        """Whether the text ends with this piece."""
        self.began = self.began or monotonic()
        if self.seconds is None and not self.indent:
            return False
        self.text += piece
        late = self.seconds is not None and monotonic() - self.began > self.seconds
        return (late and "\n" in self.text) or self._end() is not None

    def trimmed(self, document: dict[str, Any]) -> dict[str, Any]:
        """The answer without a line that is indented less."""
        end = self._end()
        if end is not None and len(document["choices"]) == 1:
            (choice,) = document["choices"]
            document["choices"] = [{**choice, "text": choice["text"][:end]}]
        return document

    def _end(self) -> int | None:
        if not self.indent:
            return None
        for found in re.finditer(r"\n([ \t]*)(?=[^\s])", self.text):
            if len(found[1]) < self.indent:
                return found.start()
        return None


class Jobs:
    """Makes work of requests, for the models of one server."""

    def __init__(self, models: list[str], registry: Registry, compute: Compute) -> None:
        """Do nothing yet.

        Args:
            models: names that were given at the start; the first is the default.
            registry: the models in memory.
            compute: how models run unless a request says otherwise.
        """
        self.models, self.registry, self.compute = models, registry, compute

    def find(self, choice: ModelChoice, task: Task, *, trusted: bool) -> Found:
        """Find the model that a request names.

        Raises:
            Failure: it is not found; `model-missing` also for a folder that may not be named.
        """
        name = choice.name or None
        if name is None:
            return find(self.models[0] if self.models and task in _WRITING else None, task)
        if name.startswith(("/", ".", "~")) and name not in self.models and not trusted:
            raise Failure("model-missing", "model: folders are not named by requests")
        try:
            return find(name, task)
        except Failure:
            if not choice.lenient:
                raise
            return find(self.models[0] if self.models else None, task)

    @contextmanager
    def _using(
        self, choice: ModelChoice, task: Task, caller: Caller, ticket: Ticket
    ) -> Iterator[Loaded]:
        """The model that a request names, for as long as it is used."""
        found = self.find(choice, task, trusted=caller.trusted)
        compute = choice.compute or self.compute
        with self.registry.use(
            found, task, compute, ticket=ticket, keep_alive=choice.keep_alive
        ) as loaded:
            try:
                yield loaded
            finally:
                loaded.engine.leave(ticket)

    def default_name(self, task: Task) -> str:
        """The name of the model that answers requests without one."""
        return self.models[0] if self.models and task in _WRITING else BUILT_IN_OF[task.command]

    def writing(
        self, wanted: Generate, choice: ModelChoice, caller: Caller, *, reuse: Reuse
    ) -> Work:
        """Work that writes a text.

        Args:
            wanted: what to write.
            choice: with which model.
            caller: for whom.
            reuse: how; the tree is that of the model.
        """

        def work(ticket: Ticket, emit: Emit) -> None:
            with self._using(choice, Task.GENERATE, caller, ticket) as loaded:
                own = replace(reuse, kept=loaded.kept, prefills=loaded.prefills)
                writer = Writer(loaded.model, loaded.engine, ticket, own)
                written = writer.start(_within_budget(wanted, ticket))
                emit(Started(model=loaded.found.name, counts=written.counts))
                superseded, watch = False, Watch.of(wanted.options)
                try:
                    for index, piece in written.pieces():
                        emit(Piece(index, piece))
                        if watch.ends(piece):
                            break
                except CancelledRequestError as error:
                    superseded = str(error) == SUPERSEDED
                    if not superseded:
                        raise
                done = Done(
                    document=watch.trimmed({**written.completion(), "server": True}),
                    reused_tokens=writer.decoder.reused_tokens,
                    superseded=superseded,
                )
                emit(done)

        return work

    def judging(
        self,
        texts: list[JudgedText],
        options: dict[str, Any],
        choice: ModelChoice,
        caller: Caller,
        task: Task,
    ) -> Work:
        """Work that scores, classifies or tags texts."""

        def work(ticket: Ticket, emit: Emit) -> None:
            with self._using(choice, task, caller, ticket) as loaded:
                model = on_engine(loaded.model, task, loaded.engine, ticket)
                emit(Started(model=loaded.found.name, counts={}))
                for place, document in enumerate(judge_many(model, task, texts, dict(options))):
                    emit(Judged(place, document))
                summary = {
                    "model": loaded.found.name,
                    "revision": loaded.found.revision,
                    "server": True,
                }
                emit(Done(document=summary))

        return work

    def tokenizing(
        self, choice: ModelChoice, caller: Caller, read: Callable[[Any], dict[str, Any]]
    ) -> Work:
        """Work that looks at a model and computes nothing; `read` gives the answer."""

        def work(ticket: Ticket, emit: Emit) -> None:
            with self._using(choice, Task.GENERATE, caller, ticket) as loaded:
                emit(Done(document=read(loaded.model)))

        return work

    def listing(
        self,
        prompt: str | tuple[int, ...],
        options: dict[str, Any],
        listing: Listing,
        choice: ModelChoice,
        caller: Caller,
    ) -> Work:
        """Work that writes a text and lists its tokens; see `list_tokens`."""

        def work(ticket: Ticket, emit: Emit) -> None:
            with self._using(choice, Task.GENERATE, caller, ticket) as loaded:
                decoder = ServedDecoder(loaded.model.decoder, loaded.engine, ticket, Reuse())
                emit(Done(document=list_tokens(loaded.model, decoder, prompt, options, listing)))

        return work

    def names(self) -> list[str]:
        """Models that requests may name, the default first."""
        return [name for name, _ in self.sizes()]

    def sizes(self) -> list[tuple[str, int]]:
        """The same, with the bytes of their weights."""
        names = self.models or [self.default_name(Task.GENERATE)]
        loaded = [one["model"] for one in self.registry.describe() if one["task"] == "generate"]
        listed = []
        for name in dict.fromkeys([*names, *loaded]):
            found = find(name, Task.GENERATE)
            listed.append((name, weight_bytes(found.directory)))
        return listed


def _within_budget(wanted: Generate, ticket: Ticket) -> Generate:
    """Count the time since the request arrived."""
    budget = wanted.options.get("time_budget_seconds")
    if budget is None:
        return wanted
    left = max(budget - (monotonic() - ticket.arrived), _LEAST_BUDGET_SECONDS)
    return replace(wanted, options={**wanted.options, "time_budget_seconds": left})
