"""The client side: requests over a server's socket by the standard library alone.

Imported when a server is asked: HTTP and TLS take a third as long as the rest of a start.
"""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bigcode_cli import __version__
from bigcode_cli.server.client.unusable import ServerUnusableError

CONNECT_SECONDS = 2.0
SILENCE_SECONDS = 10.0
"""A server says something every second; one that is silent for longer hangs."""
_LONGEST_LINE = 1 << 28


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_SECONDS)
        self.sock.connect(str(self._path))
        self.sock.settimeout(self.timeout)


class Connection:
    """A connection to a server; used in a `with` block."""

    def __init__(self, address: Path, *, timeout: float = SILENCE_SECONDS) -> None:
        """Connect to a socket.

        Raises:
            ServerUnusableError: nobody listens.
        """
        self._connection = _SocketConnection(address, timeout)
        try:
            self._connection.connect()
        except OSError as error:
            self._connection.close()
            raise ServerUnusableError(error.strerror or "does not answer") from None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection, which ends what the server does for it."""
        self._connection.close()

    def get(self, path: str) -> Any:
        """Ask for a document.

        Raises:
            ServerUnusableError: there is no answer, or an error.
        """
        return self._document(self._send("GET", path, None))

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send a document and wait for the answer; errors as for `get`."""
        return self._document(self._send("POST", path, body))

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Send a document; the events that come back, the last one being `done`.

        Raises:
            ServerUnusableError: there is no answer, an error, or no end.
        """
        response = self._send("POST", path, {**body, "stream": True})
        if response.status != http.client.OK:
            self._document(response)
        done = False
        while not done:
            line = self._line(response)
            if not line:
                raise ServerUnusableError("the connection has ended before the answer")
            if line == b"\n":
                continue
            event = _parsed(line)
            if event.get("event") == "error":
                raise ServerUnusableError(_message(event))
            done = event.get("event") == "done"
            yield event

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> http.client.HTTPResponse:
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "Bigcode-Version": __version__}
        try:
            self._connection.request(method, path, body=data, headers=headers)
            return self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise ServerUnusableError(_reason(error)) from None

    def _document(self, response: http.client.HTTPResponse) -> Any:
        try:
            document = _parsed(response.read())
        except (OSError, http.client.HTTPException) as error:
            raise ServerUnusableError(_reason(error)) from None
        if response.status != http.client.OK:
            raise ServerUnusableError(_message(document))
        return document

    def _line(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.readline(_LONGEST_LINE)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ServerUnusableError(_reason(error)) from None


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError:
        raise ServerUnusableError("its answer is no JSON") from None
    if not isinstance(document, dict):
        raise ServerUnusableError("its answer is no object")
    return document


def _message(document: dict[str, Any]) -> str:
    error = document.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    return str(message)[:200]


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return getattr(error, "strerror", None) or type(error).__name__
