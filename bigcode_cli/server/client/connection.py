"""The client side: one request over a server's socket, in HTTP/1.0.

There an answer ends with the connection, so that reading it takes no library: `http.client` takes
a tenth of a short call's time to import. Imported when a server is asked.
"""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bigcode_cli import __version__
from bigcode_cli.server.paths import socket_path

CONNECT_SECONDS = 2.0
SILENCE_SECONDS = 10.0
"""A server says something every second; one that is silent for longer hangs."""
_LONGEST_LINE = 1 << 28
_LONGEST_HEAD_LINE, _MOST_HEAD_LINES = 1 << 14, 100
_OK = 200
_ENDED = "the connection has ended before the answer"
_OTHER_FORM = "its answer has another form"


class ServerUnusableError(Exception):
    """The server cannot answer this; the message says why."""


class Connection:
    """A connection to a server for one request; used in a `with` block."""

    def __init__(self, address: Path, *, timeout: float = SILENCE_SECONDS) -> None:
        """Connect to a socket.

        Raises:
            ServerUnusableError: nobody listens.
        """
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(CONNECT_SECONDS)
            self._socket.connect(str(address))
            self._socket.settimeout(timeout)
        except OSError as error:
            self._socket.close()
            raise ServerUnusableError(error.strerror or "does not answer") from None
        self._answer = self._socket.makefile("rb")
        self._length = -1  # of the answer; what is not told ends with the connection

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
        self._answer.close()
        self._socket.close()

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
        status = self._send("POST", path, {**body, "stream": True})
        if status != _OK:
            self._document(status)
        done = False
        while not done:
            line = self._line(_LONGEST_LINE)
            if not line:
                raise ServerUnusableError(_ENDED)
            if line == b"\n":
                continue
            event = _parsed(line)
            if not isinstance(event.get("event"), str):
                raise ServerUnusableError(_OTHER_FORM)
            if event["event"] == "error":
                raise ServerUnusableError(told_by(event))
            done = event["event"] == "done"
            yield event

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> int:
        """Send a request; the answer's status, with its body still to be read."""
        data = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        head = (
            f"{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\nBigcode-Version: {__version__}\r\n\r\n"
        )
        try:
            self._socket.sendall(head.encode() + data)
        except OSError as error:
            raise ServerUnusableError(reason_of(error)) from None
        first = self._line(_LONGEST_HEAD_LINE)
        if not first:
            raise ServerUnusableError(_ENDED)
        version, _, rest = first.partition(b" ")
        status = rest[:3]
        for _ in range(_MOST_HEAD_LINES):
            name, _, value = self._line(_LONGEST_HEAD_LINE).partition(b":")
            if not name.strip():
                break
            if name.lower() == b"content-length" and value.strip().isdigit():
                self._length = int(value)
        if not version.startswith(b"HTTP/") or not status.isdigit():
            raise ServerUnusableError("its answer is not HTTP")
        return int(status)

    def _document(self, status: int) -> Any:
        try:
            document = _parsed(self._answer.read(self._length))
        except OSError as error:
            raise ServerUnusableError(reason_of(error)) from None
        if status != _OK:
            raise ServerUnusableError(told_by(document))
        return document

    def _line(self, longest: int) -> bytes:
        try:
            return self._answer.readline(longest)
        except OSError as error:
            raise ServerUnusableError(reason_of(error)) from None


@contextmanager
def as_agreed() -> Iterator[None]:
    """Read fields of an answer; whoever listens there may be another program.

    Raises:
        ServerUnusableError: one is missing, or of another type.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError):
        raise ServerUnusableError(_OTHER_FORM) from None


def server_state() -> dict[str, Any] | None:
    """What this user's server says of itself; None if none runs."""
    try:
        with Connection(socket_path(), timeout=CONNECT_SECONDS) as connection:
            state: dict[str, Any] = connection.get("/bigcode/v1/ps")
    except ServerUnusableError:
        return None
    return state


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise ServerUnusableError("its answer is no JSON") from None
    if not isinstance(document, dict):
        raise ServerUnusableError("its answer is no object")
    return document


def told_by(document: Any) -> str:
    """What the document of an error says, whatever its form."""
    error = document.get("error", document) if isinstance(document, dict) else document
    message = error.get("message", error) if isinstance(error, dict) else error
    return str(message)[:200]


def reason_of(error: Exception) -> str:
    """Why a connection broke."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
