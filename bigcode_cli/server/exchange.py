"""One request and its reply over ASGI: a body within its limits, JSON or a stream of lines back."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from bigcode_cli.server.dialects.fields import BadRequestError, Fields, parse_body
from bigcode_cli.server.jobs import Caller
from bigcode_cli.server.service import DISCONNECT, Service

MAX_BODY_BYTES = 16 * 2**20
BODY_SECONDS = 10.0
SEND_SECONDS = 30.0
_LARGE_BODY_BYTES = 1 << 18

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ErrorShape = Callable[[int, str, str], dict[str, Any]]
Headers = Mapping[str, str]


class ClientGoneError(Exception):
    """The client has closed the connection, or does not read what it asked for."""


@dataclass(frozen=True)
class ErrorReply:
    """An error as it is told: a status of HTTP, a word for programs, and a sentence."""

    status: int
    slug: str
    message: str


def compact(document: Any) -> bytes:
    """JSON on one line without blanks: clients match it with patterns."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


class Exchange:
    """A request that was let in, and the way its reply goes."""

    def __init__(
        self, service: Service, scope: Mapping[str, Any], receive: Receive, send: Send
    ) -> None:
        """Take over a request; nothing is read yet."""
        self.service = service
        self.started = False
        self.status = 0
        self._stream_type = ""
        self.body = Fields({})
        self._scope, self._receive, self._send = scope, receive, send
        self._watch: asyncio.Task[None] | None = None
        host, port = scope.get("client") or ("", 0)
        local = scope.get("server") or ("", None)
        self.caller = Caller(client=f"{host}:{port}", trusted=local[1] is None)

    @property
    def headers(self) -> dict[str, str]:
        """The request's header fields, in lower case."""
        pairs = self._scope["headers"]
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}

    async def read(self) -> None:
        """Read the body, and watch from then on for the client to go.

        Raises:
            BadRequestError: too large, too slow, or no JSON object.
            ClientGoneError: it has gone already.
        """
        if self._scope["method"] == "POST":
            kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                raise BadRequestError("content-type: expected application/json", status=415)
            data = await self._read_body()
            if len(data) > _LARGE_BODY_BYTES:
                self.body = await asyncio.to_thread(parse_body, data)
            else:
                self.body = parse_body(data)
        self._watch = asyncio.create_task(self._watch_connection())

    async def json(self, document: Any, status: int = 200, headers: Headers | None = None) -> None:
        """Reply with one JSON document."""
        await self.reply(compact(document), "application/json", status=status, headers=headers)

    async def reply(
        self, data: bytes, content_type: str, *, status: int = 200, headers: Headers | None = None
    ) -> None:
        """Reply with some bytes."""
        length = {"content-length": str(len(data))}
        await self._open(status, content_type, {**(headers or {}), **length})
        await self._emit({"type": "http.response.body", "body": data})

    def open_stream(self, content_type: str) -> None:
        """Begin a reply whose parts come one after the other.

        Nothing is sent before the first part, so that what fails until then has its own status.
        """
        self._stream_type = content_type

    async def write(self, data: bytes) -> None:
        """Send a part of a stream."""
        await self._begin_stream()
        await self._emit({"type": "http.response.body", "body": data, "more_body": True})

    async def close_stream(self) -> None:
        """End a stream."""
        await self._begin_stream()
        await self._emit({"type": "http.response.body", "body": b""})

    def finish(self) -> None:
        """Nothing more is sent or watched for."""
        if self._watch is not None:
            self._watch.cancel()

    async def _begin_stream(self) -> None:
        if not self.started:
            await self._open(200, self._stream_type, {"cache-control": "no-store"})

    async def _open(self, status: int, content_type: str, headers: Headers) -> None:
        self.started, self.status = True, status
        fields = {"content-type": content_type, **headers}
        pairs = [(name.encode(), value.encode()) for name, value in fields.items()]
        await self._emit({"type": "http.response.start", "status": status, "headers": pairs})

    async def _emit(self, message: Message) -> None:
        try:
            await asyncio.wait_for(self._send(message), SEND_SECONDS)
        except (OSError, TimeoutError):
            raise ClientGoneError from None

    async def _read_body(self) -> bytes:
        length = self.headers.get("content-length", "0")
        if length.isdigit() and int(length) > MAX_BODY_BYTES:
            raise _too_large()
        data = bytearray()
        while True:
            try:
                message = await asyncio.wait_for(self._receive(), BODY_SECONDS)
            except TimeoutError:
                raise BadRequestError("body: it did not come in time", status=408) from None
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            data += message.get("body", b"")
            if len(data) > MAX_BODY_BYTES:
                raise _too_large()
            if not message.get("more_body"):
                return bytes(data)

    async def _watch_connection(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.caller.ticket.cancel(DISCONNECT)
        self.caller.gone.set()


def _too_large() -> BadRequestError:
    return BadRequestError(f"body: more than {MAX_BODY_BYTES >> 20} MiB", status=413)
