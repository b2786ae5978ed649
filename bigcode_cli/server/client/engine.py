"""A remote engine: any server with OpenAI's completions, over HTTP by the standard library."""

import contextlib
import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.option_types import SERVER_KEY_VARIABLE
from bigcode_cli.server.client.connection import reason_of, told_by
from gpt_bigcode.reading import parse_json

TIMEOUT_SECONDS = 120.0
"""Of silence; a server that is busy is asked again for as long."""
_ATTEMPTS = 4
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 8.0
_BUSY = frozenset({429, 502, 503, 504})
_NOBODY = "no server listens there; `bigcode serve --port PORT` starts one"
_REFUSED = frozenset({400, 422, 500})
_LONGEST_LINE = 1 << 24
_DATA = b"data:"


class RefusedPromptError(Exception):
    """The engine does not take a prompt of this form."""


class Engine:
    """Asks a server; every call has a connection of its own, so calls may come from threads.

    A connection that breaks before an answer is tried four times in all. A server that says that it
    is busy is asked again until it has been so for `TIMEOUT_SECONDS`.
    """

    def __init__(self, url: str) -> None:
        """Ask nothing yet.

        Args:
            url: the server, with or without `/v1`; --server has checked it.
        """
        parts = urlsplit(url)
        self.url = url
        self._secure, self._port = parts.scheme == "https", parts.port
        self._host = parts.hostname or ""
        path = parts.path.rstrip("/")
        self._base = path if path.endswith("/v1") else f"{path}/v1"
        self._open: set[http.client.HTTPConnection] = set()
        self._closed = threading.Event()

    def close(self) -> None:
        """Cancel the requests of all threads."""
        self._closed.set()
        for connection in list(self._open):
            _break(connection)

    def model_name(self, wanted: str) -> str:
        """What the server calls the model: the wanted name, or that of its only model."""
        listed = self._document("GET", "/models", None).get("data")
        entries = listed if isinstance(listed, list) else []
        names = [one.get("id") for one in entries if isinstance(one, dict)]
        return str(names[0]) if len(names) == 1 and wanted not in names else wanted

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """The whole answer to a request.

        Raises:
            RefusedPromptError: the server does not take the prompt in this form.
            Failure: `server`: there is no answer.
        """
        return self._document("POST", "/completions", body)

    def stream(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The events of an answer; errors as for `complete`."""
        connection, response = self._ask("POST", "/completions", {**body, "stream": True})
        try:
            while line := response.readline(_LONGEST_LINE):
                if not line.startswith(_DATA):
                    continue
                data = line.removeprefix(_DATA).strip()
                if data == b"[DONE]":
                    return
                event = self._parsed(data)
                if event.get("error") is not None:
                    raise self._failure(told_by(event))
                yield event
        except (OSError, http.client.HTTPException) as error:
            raise self._failure(reason_of(error)) from None
        finally:
            self._end(connection)
        raise self._failure("the answer is not complete")

    def _document(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        connection, response = self._ask(method, path, body)
        try:
            return self._parsed(response.read())
        except (OSError, http.client.HTTPException) as error:
            raise self._failure(reason_of(error)) from None
        finally:
            self._end(connection)

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send a request, again if the server is busy or the connection breaks before an answer."""
        data = None if body is None else json.dumps(body).encode()
        retries = _Retries()
        pause: float | None = 0.0
        why, hint = "cancelled", None
        while pause is not None and not self._closed.wait(pause):
            connection = self._connection()
            try:
                connection.request(method, self._base + path, body=data, headers=_headers())
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                self._end(connection)
                why, pause = reason_of(error), retries.after_break()
                hint = _NOBODY if isinstance(error, ConnectionRefusedError) else None
                continue
            if response.status == http.client.OK:
                return connection, response
            why = f"status {response.status}: {_told_by(response)}"
            self._end(connection)
            if body is not None and response.status in _REFUSED:
                raise RefusedPromptError(why)
            busy = response.status in _BUSY
            pause = retries.after_busy(response.getheader("Retry-After", "")) if busy else None
        raise self._failure(why, hint)

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=TIMEOUT_SECONDS)
        self._open.add(connection)
        return connection

    def _end(self, connection: http.client.HTTPConnection) -> None:
        self._open.discard(connection)
        connection.close()

    def _parsed(self, data: bytes) -> dict[str, Any]:
        try:
            document = parse_json(data)
        except ValueError as error:
            raise self._failure(f"its answer: {error}") from None
        if not isinstance(document, dict):
            raise self._failure("its answer is no JSON object")
        return document

    def _failure(self, why: str, hint: str | None = None) -> Failure:
        return Failure("server", f"{self.url}: {why}", hint=hint)


class _Retries:
    """How long to wait before a request is sent again; None: not any more."""

    def __init__(self) -> None:
        self._breaks = 0
        self._pause = _PAUSE_SECONDS
        self._give_up = monotonic() + TIMEOUT_SECONDS

    def after_break(self) -> float | None:
        """The connection broke before an answer, or there is none."""
        self._breaks += 1
        return None if self._breaks == _ATTEMPTS else self._next()

    def after_busy(self, wanted: str) -> float | None:
        """The server has no room; `wanted` is what it says of the pause: seconds, or nothing."""
        known = wanted.isdecimal()
        pause = max(float(wanted), _PAUSE_SECONDS) if known else self._next()
        return None if monotonic() + pause > self._give_up else pause

    def _next(self) -> float:
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        return pause


def _break(connection: http.client.HTTPConnection) -> None:
    """Let a thread that waits for a connection go on: closing alone would not wake it."""
    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def _headers() -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    key = os.environ.get(SERVER_KEY_VARIABLE)
    return {**headers, "Authorization": f"Bearer {key}"} if key else headers


def _told_by(response: http.client.HTTPResponse) -> str:
    try:
        return told_by(parse_json(response.read(1 << 16)))
    except (OSError, http.client.HTTPException, ValueError):
        return response.reason
