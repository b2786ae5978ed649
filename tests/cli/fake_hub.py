"""A hub on the loopback interface, in the standard library alone, that can break in every way.

Speaks the routes that the client needs: revision, tree with pages, resolve with ranges, and
redirects of large files to another origin. Knows no test.
"""

import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from cached_models import COMMIT, LARGE_SUFFIXES, blob_name

TOKEN = "hf_SENTINELsentinelSENTINEL"  # noqa: S105  # looked for in all output
LONGEST_HANG_SECONDS = 40.0
CHUNK_BYTES = 1 << 14


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]


@dataclass
class Repository:
    """What a repository holds, and for whom."""

    files: dict[str, bytes]
    commit: str = COMMIT
    revisions: tuple[str, ...] = ("main",)
    token: str | None = None  # which token may read it; None: everybody
    error_code: str = "GatedRepo"
    entries: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = field(default=lambda e: e)


def folder_files(folder: Path) -> dict[str, bytes]:
    """The files of a folder as a repository holds them."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


class FakeHub:
    """`with FakeHub() as hub:` serves `hub.repositories` at `hub.url` and keeps `hub.requests`.

    `hub.fault(handler)` may answer a request itself, in any broken way, and return True.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.fault: Callable[[Handler], bool] = lambda _: False
        self.large_files_at: FakeHub | None = None
        self.page_entries = 1000
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.hub = self  # type: ignore[attr-defined]  # read by the handler
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """The address for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(LONGEST_HANG_SECONDS)

    def encrypt(self, certificate: Path) -> None:
        """Speak TLS from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def paths(self, part: str = "") -> list[str]:
        """The paths that were asked for and contain `part`."""
        return [request.path for request in self.requests if part in request.path]


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    request_seen: Request

    @property
    def hub(self) -> FakeHub:
        """The hub that this request came to."""
        return self.server.hub  # type: ignore[attr-defined,no-any-return]

    def log_message(self, *_: object) -> None:
        """Write nothing."""

    def do_GET(self) -> None:
        """Log the request, break it if asked to, else answer."""
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.request_seen = Request(unquote(parts.path), parse_qs(parts.query), headers)
        self.hub.requests.append(self.request_seen)
        self.close_connection = True
        try:
            if not self.hub.fault(self):
                self._route()
        except (BrokenPipeError, ConnectionResetError):
            return

    def hang(self, seconds: float = LONGEST_HANG_SECONDS) -> bool:
        """Say nothing until the hub closes."""
        self.hub.closing.wait(min(seconds, LONGEST_HANG_SECONDS))
        return True

    def reply(
        self,
        status: int,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        length: int | None = None,
    ) -> bool:
        """Send an answer; `length` may lie."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Connection", "close")
        self.end_headers()
        for start in range(0, len(body), CHUNK_BYTES):
            self.wfile.write(body[start : start + CHUNK_BYTES])
        return True

    def reply_chunked(self, body: bytes) -> bool:
        """Send an answer that does not say how long it is."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        for start in range(0, len(body), CHUNK_BYTES):
            chunk = body[start : start + CHUNK_BYTES]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")
        return True

    def body_for_range(self) -> tuple[bytes, int]:
        """The content that was asked for, and the byte from which on."""
        found = self._find("/resolve/")
        assert found is not None
        content = found[0].files[found[1]]
        start = int(self.request_seen.headers.get("range", "bytes=0-")[6:-1])
        return content, start

    def _route(self) -> None:
        path = self.request_seen.path
        if path.startswith("/large/"):
            self._send_content(self._large(path.removeprefix("/large/")))
        elif path.startswith("/api/models/"):
            self._api(path.removeprefix("/api/models/"))
        else:
            self._resolve()

    def _large(self, digest: str) -> bytes:
        for repository in self.hub.repositories.values():
            for name, content in repository.files.items():
                if blob_name(name, content) == digest:
                    return content
        raise AssertionError(digest)

    def _find(self, word: str) -> tuple[Repository, str] | None:
        """The repository that a path names, and what follows the revision."""
        before, _, after = self.request_seen.path.partition(word)
        name = before.removeprefix("/api/models").strip("/")
        repository = self.hub.repositories.get(name)
        if repository is None:
            self.reply(404, b"{}", headers={"X-Error-Code": "RepoNotFound"})
            return None
        if repository.token is not None:
            sent = self.request_seen.headers.get("authorization")
            if sent != f"Bearer {repository.token}":
                status = 401 if sent is None else 403
                self.reply(status, b"{}", headers={"X-Error-Code": repository.error_code})
                return None
        revision, _, rest = after.partition("/")
        if revision not in (*repository.revisions, repository.commit):
            self.reply(404, b"{}", headers={"X-Error-Code": "RevisionNotFound"})
            return None
        return repository, rest

    def _api(self, path: str) -> None:
        word = "/revision/" if "/revision/" in path else "/tree/"
        found = self._find(word)
        if found is None:
            return
        repository = found[0]
        if word == "/revision/":
            self._send_json({"id": path.partition(word)[0], "sha": repository.commit})
            return
        entries = repository.entries([_entry(n, c) for n, c in repository.files.items()])
        start = int(self.request_seen.query.get("cursor", ["0"])[0])
        page = entries[start : start + self.hub.page_entries]
        following = start + len(page)
        link = f'<{self.hub.url}{self.request_seen.path}?cursor={following}>; rel="next"'
        self._send_json(page, {"Link": link} if following < len(entries) else {})

    def _send_json(self, document: Any, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(document).encode()
        kind = {"Content-Type": "application/json"}
        self.reply(200, body, headers={**kind, **(headers or {})})

    def _resolve(self) -> None:
        found = self._find("/resolve/")
        if found is None:
            return
        repository, name = found
        if name not in repository.files:
            self.reply(404, b"", headers={"X-Error-Code": "EntryNotFound"})
            return
        content = repository.files[name]
        other = self.hub.large_files_at
        if other is not None and name.endswith(LARGE_SUFFIXES):
            other.repositories = self.hub.repositories
            place = f"{other.url}/large/{blob_name(name, content)}"
            self.reply(302, b"", headers={"Location": place})
            return
        self._send_content(content)

    def _send_content(self, content: bytes) -> None:
        asked = self.request_seen.headers.get("range")
        if asked is None:
            self.reply(200, content)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        place = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.reply(206, content[start:], headers={"Content-Range": place})


def _entry(name: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
    if name.endswith(LARGE_SUFFIXES):
        digest = blob_name(name, content)
        return entry | {"lfs": {"oid": digest, "size": len(content), "pointerSize": 134}}
    return entry | {"oid": blob_name(name, content)}
