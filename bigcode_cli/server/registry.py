"""The models in memory: loaded when asked for, unloaded when idle or when room is needed."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import inf
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from bigcode_cli.framework.errors import Failure
from bigcode_cli.models.resolve import Found
from bigcode_cli.server.engine.prefills import Prefills
from bigcode_cli.server.engine.thread import Engine, Ticket
from bigcode_cli.server.library import (
    Compute,
    KeptPrompts,
    Task,
    kept_prompts,
    load_model,
    weight_bytes,
)

if TYPE_CHECKING:
    from bigcode_cli.server.engine.decoder import Prefilled

_WAIT_SECONDS = 0.1


@dataclass(frozen=True)
class _Key:
    """What two requests must have in common to share a model."""

    task: Task
    directory: str
    files: str
    device: str
    precision: str


class Loaded:
    """A model in memory, or on its way there."""

    def __init__(self, found: Found, task: Task, compute: Compute) -> None:
        self.found, self.task, self.compute = found, task, compute
        self.engine = Engine(found.name)
        self.model: Any = None
        self.kept: KeptPrompts | None = None
        self.prefills: Prefills[Prefilled] = Prefills()
        self.error: BaseException | None = None
        self.users = 0
        self.used = monotonic()
        self.expires = inf
        self.weight_bytes = weight_bytes(found.directory)

    @property
    def state(self) -> str:
        """`loading` or `ready`."""
        return "loading" if self.model is None else "ready"

    @property
    def memory_bytes(self) -> int:
        """What the weights' files and the kept prompts take."""
        return self.weight_bytes + (self.kept.bytes if self.kept else 0)

    def describe(self) -> dict[str, Any]:
        """What `bigcode ps` shows."""
        idle = 0.0 if self.users else monotonic() - self.used
        return {
            "model": self.found.name,
            "task": self.task.value,
            "state": self.state,
            "bytes": self.memory_bytes,
            "requests": self.users,
            "idle_seconds": round(idle, 3),
            "expires_seconds": None
            if self.expires == inf
            else round(self.expires - monotonic(), 3),
        }


class Registry:
    """All of them; every method may be called from any thread."""

    def __init__(
        self, *, keep_alive: float, max_memory: int | None, prefix_bytes: int, threads: int | None
    ) -> None:
        """Load nothing yet.

        Args:
            keep_alive: seconds that an idle model stays, unless a request says otherwise.
            max_memory: bytes that all may take; None: no limit.
            prefix_bytes: bytes that the kept prompts of a model may take.
            threads: processor threads that models compute with.
        """
        self.threads = threads
        self.last_used = monotonic()
        self._keep_alive, self._max_memory, self._prefix_bytes = (
            keep_alive,
            max_memory,
            prefix_bytes,
        )
        self._models: dict[_Key, Loaded] = {}
        self._changed = threading.Condition()

    @contextmanager
    def use(
        self,
        found: Found,
        task: Task,
        compute: Compute,
        *,
        ticket: Ticket,
        keep_alive: float | None = None,
    ) -> Iterator[Loaded]:
        """Have a model for one request; it is loaded first if need be.

        Raises:
            CancelledRequestError: the request was cancelled while the model was loading.
            Failure: `memory`: it does not fit beside those in use.
            Failure, GPTBigCodeError: it cannot be loaded.
        """
        loaded = self._take(found, task, compute)
        try:
            while loaded.model is None:
                ticket.check()
                if loaded.error is not None:
                    raise loaded.error
                with self._changed:
                    self._changed.wait(_WAIT_SECONDS)
            yield loaded
        finally:
            with self._changed:
                loaded.users -= 1
                loaded.used = self.last_used = monotonic()
                seconds = self._keep_alive if keep_alive is None else keep_alive
                loaded.expires = loaded.used + (inf if seconds < 0 else seconds)

    def unload_idle(self) -> None:
        """Unload models that have been idle for longer than their keep-alive."""
        now = monotonic()
        with self._changed:
            for key, loaded in list(self._models.items()):
                if not loaded.users and loaded.expires <= now:
                    self._unload(key)

    def unload(self, name: str) -> int:
        """Unload the idle models of that name; return how many."""
        with self._changed:
            keys = [key for key, one in self._models.items() if one.found.name == name]
            idle = [key for key in keys if not self._models[key].users]
            for key in idle:
                self._unload(key)
            return len(idle)

    def describe(self) -> list[dict[str, Any]]:
        """What is loaded, in the order of loading."""
        with self._changed:
            return [loaded.describe() for loaded in self._models.values()]

    @property
    def loading(self) -> bool:
        """Whether a model is on its way."""
        with self._changed:
            return any(loaded.model is None for loaded in self._models.values())

    def kept_bytes(self) -> int:
        """What the kept prompts of all models take."""
        with self._changed:
            return sum(one.kept.bytes for one in self._models.values() if one.kept)

    def _take(self, found: Found, task: Task, compute: Compute) -> Loaded:
        directory = os.path.realpath(found.directory)
        files = _identity(Path(directory))
        key = _Key(task, directory, files, compute.device, compute.precision)
        with self._changed:
            loaded = self._models.get(key)
            if loaded is None:
                self._unload_older(key)
                loaded = Loaded(found, task, compute)
                self._make_room(loaded)
                self._models[key] = loaded
                threading.Thread(target=self._load, args=(key, loaded), daemon=True).start()
            loaded.users += 1
        return loaded

    def _load(self, key: _Key, loaded: Loaded) -> None:
        try:
            compute = replace(loaded.compute, threads=self.threads)
            model = loaded.engine.call(
                Ticket(), lambda: load_model(loaded.found, loaded.task, compute)
            )
            if loaded.task is Task.GENERATE:
                loaded.kept = kept_prompts(model, self._prefix_bytes)
            loaded.model = model
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            loaded.error = error
        with self._changed:
            if loaded.error is not None:
                self._models.pop(key, None)
                loaded.engine.close()
            self._changed.notify_all()

    def _unload_older(self, key: _Key) -> None:
        """A model whose files have changed since is not used any more."""
        for other, loaded in list(self._models.items()):
            if other.directory == key.directory and other.files != key.files and not loaded.users:
                self._unload(other)

    def _make_room(self, wanted: Loaded) -> None:
        if self._max_memory is None:
            return
        while self._taken() + wanted.memory_bytes > self._max_memory:
            idle = [key for key, one in self._models.items() if not one.users]
            if not idle:
                wanted.engine.close()
                have = f"{wanted.memory_bytes} bytes beside {self._taken()} in use"
                raise Failure("memory", f"{wanted.found.name}: {have} exceed --max-memory")
            self._unload(min(idle, key=lambda key: self._models[key].used))

    def _taken(self) -> int:
        return sum(loaded.memory_bytes for loaded in self._models.values())

    def _unload(self, key: _Key) -> None:
        self._models.pop(key).engine.close()


def _identity(directory: Path) -> str:
    """A hash of what identifies a model's files; it changes when one is replaced."""
    digest = blake2b(digest_size=16)
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        if entry.is_file():
            s = entry.stat()
            facts = (entry.name, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
            digest.update(repr(facts).encode())
    return digest.hexdigest()
