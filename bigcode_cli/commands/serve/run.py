"""Runs the server until a signal, `bigcode stop` or idleness ends it."""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import struct
from dataclasses import dataclass
from time import monotonic, strftime
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from bigcode_cli.commands.serve.options import LimitOptions, ListenOptions
from bigcode_cli.framework.errors import ExitStatus
from bigcode_cli.framework.options import ComputeOptions
from bigcode_cli.framework.output import Notes, write_message
from bigcode_cli.server.app import build_app
from bigcode_cli.server.engine.thread import Ticket
from bigcode_cli.server.gate import Gate
from bigcode_cli.server.guard import Access
from bigcode_cli.server.jobs import Jobs
from bigcode_cli.server.library import Compute, Task, find
from bigcode_cli.server.lifecycle import claimed_socket, listen_on_port
from bigcode_cli.server.registry import Registry
from bigcode_cli.server.service import SHUTDOWN, Service

HEADER_SECONDS = 5.0
SHUTDOWN_SECONDS = 5.0
_TELLING_SECONDS = 3  # for the clients of what did not end by itself
_LARGEST_HEADER_BYTES = 1 << 16
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_PRELOADING = 3600.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One call of the command.

    Attributes:
        models: names of models to load at once.
        listen: where to listen.
        limits: how much at once.
        compute: how models run.
        key: what requests over TCP must know.
        exit_when_idle: end by itself.
    """

    models: tuple[str, ...]
    listen: ListenOptions
    limits: LimitOptions
    compute: ComputeOptions
    key: str | None
    exit_when_idle: bool


def run_server(settings: Settings, notes: Notes) -> None:
    """Serve until the end.

    Raises:
        Failure: another server runs, an address or a model cannot be used.
    """
    with claimed_socket() as listener, contextlib.ExitStack() as stack:
        sockets = [listener]
        if settings.listen.port is not None:
            on_port = listen_on_port(settings.listen.host, settings.listen.port)
            sockets.append(stack.enter_context(on_port))
        service = _service(settings)
        _preload(service, settings)
        if asyncio.run(_serve(service, settings, sockets, notes)):
            raise KeyboardInterrupt


def _service(settings: Settings) -> Service:
    limits, compute = settings.limits, settings.compute
    registry = Registry(
        keep_alive=limits.keep_alive,
        max_memory=limits.max_memory,
        prefix_bytes=limits.prefix_memory,
        threads=compute.threads,
    )
    gate = Gate(parallel=limits.parallel, queue=limits.queue)
    default = Compute(device=compute.device, precision=compute.precision.value)
    jobs = Jobs(list(settings.models), registry, default)
    return Service(jobs, gate, threads=limits.parallel)


def _preload(service: Service, settings: Settings) -> None:
    """Load the named models, so that a model that cannot be used ends the start."""
    for name in settings.models or (None,):
        found = find(name, Task.GENERATE)
        with service.registry.use(found, Task.GENERATE, service.jobs.compute, ticket=Ticket()):
            pass


async def _serve(
    service: Service, settings: Settings, sockets: list[socket.socket], notes: Notes
) -> bool:
    """Serve until something ends it; whether that was Ctrl-C."""
    hosts = frozenset({settings.listen.host})
    origins = frozenset(settings.listen.cors or ())
    access = Access(origins=origins, key=settings.key, hosts=hosts)

    def log(line: str) -> None:
        if notes.verbose:
            write_message(f"{strftime('%H:%M:%S')} {line}")

    config = uvicorn.Config(
        build_app(service, access, log),
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(SHUTDOWN_SECONDS) + _TELLING_SECONDS,
        h11_max_incomplete_event_size=_LARGEST_HEADER_BYTES,
        backlog=512,
        server_header=False,
    )
    server = _Server(config)
    service.stop = server.stop
    _handle_signals(server)
    for one in sockets:
        notes.note(f"listening on {_shown_address(one)}")
    upkeep = asyncio.create_task(_upkeep(service, settings, server))
    try:
        await server.serve(sockets)
    finally:
        service.stopping = True
        service.cancel_all(SHUTDOWN)
        upkeep.cancel()
    return server.interrupted


class _Server(uvicorn.Server):
    """Uvicorn without signal handlers of its own: ours end it within a time."""

    interrupted = False

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave signals alone."""
        yield

    def stop(self) -> None:
        """End when what runs is done; asked again, at once."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True


def _handle_signals(server: _Server) -> None:
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        if server.should_exit:
            os._exit(ExitStatus.INTERRUPTED)
        server.interrupted = True
        server.stop()

    def terminated() -> None:
        if server.should_exit:
            os._exit(0)
        server.stop()

    loop.add_signal_handler(signal.SIGINT, interrupted)
    loop.add_signal_handler(signal.SIGTERM, terminated)
    loop.add_signal_handler(signal.SIGHUP, terminated)


async def _upkeep(service: Service, settings: Settings, server: _Server) -> None:
    """Unload what is idle, end an idle server, and cancel what does not end in time."""
    stopping_since: float | None = None
    while True:
        await asyncio.sleep(0.2)
        service.registry.unload_idle()
        idle = monotonic() - service.registry.last_used
        if settings.exit_when_idle and idle > settings.limits.keep_alive and not service.tickets:
            server.stop()
        if server.should_exit:
            service.stopping = True
            stopping_since = stopping_since or monotonic()
            if monotonic() - stopping_since > SHUTDOWN_SECONDS:
                service.cancel_all(SHUTDOWN)


def _shown_address(listener: socket.socket) -> str:
    name = listener.getsockname()
    if isinstance(name, str):
        return name
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"http://{host}:{name[1]}"


class _Protocol(H11Protocol):
    """HTTP/1.1 whose clients are known by number, are this user, and send headers in time."""

    _numbers = itertools.count(1)

    def connection_made(self, transport: Any) -> None:
        """Accept a connection; over the socket only from this user or root."""
        super().connection_made(transport)
        self._deadline: asyncio.TimerHandle | None = None
        if not isinstance(transport.get_extra_info("sockname"), tuple):
            self.client = ("socket", next(self._numbers))
            peer = transport.get_extra_info("socket")
            if hasattr(socket, "SO_PEERCRED"):
                data = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
                if _CREDENTIALS.unpack(data)[1] not in (0, os.geteuid()):
                    transport.abort()
                    return
        self._await_header()

    def data_received(self, data: bytes) -> None:
        """Read, and give a header that is not complete only so much time."""
        try:
            super().data_received(data)
        except (h11.LocalProtocolError, UnicodeDecodeError):
            self.transport.close()
            return
        if self.conn.their_state is h11.IDLE:
            self._await_header()
        else:
            self._forget_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget_deadline()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Forget the deadline; uvicorn has its own between requests."""
        self._forget_deadline()
        super().on_response_complete()

    def _await_header(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self._too_late)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        head = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        self.transport.write(head)
        self.transport.close()
