"""Access control over TCP: the Host header, the Origin header, the API key."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from bigcode_cli.server.exchange import Receive, Send, compact

_OPEN = frozenset({"/health", "/v1/health"})
App = Callable[[Mapping[str, Any], Receive, Send], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Access:
    """Rules for TCP; the Unix socket is open to its owner alone.

    Attributes:
        origins: of web pages that may ask.
        key: what `Authorization: Bearer` must hold; None: nothing is needed.
        hosts: names besides those of the loopback that `Host` may have.
    """

    origins: frozenset[str] = frozenset()
    key: str | None = None
    hosts: frozenset[str] = frozenset()


class Guard:
    """ASGI middleware."""

    def __init__(self, app: App, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Let a request through, or answer 400, 401 or 403."""
        if scope["type"] != "http" or (scope.get("server") or ("", None))[1] is None:
            await self._app(scope, receive, send)
            return
        origin = _values(scope, b"origin")
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(send, *refusal)
        elif origin and scope["method"] == "OPTIONS":
            await _answer(send, 204, b"", _cors(origin[0]))
        else:
            await self._app(
                scope, receive, _with_headers(send, _cors(origin[0])) if origin else send
            )

    def _refusal(self, scope: Mapping[str, Any]) -> tuple[int, str, str] | None:
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or not scope["path"].startswith("/"):
            return 400, "invalid_request", "one Host and a path are needed"
        if not self._is_ours(hosts[0]):
            return 403, "forbidden", "Host: not a name of this machine's loopback"
        origins = _values(scope, b"origin")
        if any(origin not in self._access.origins for origin in origins):
            return 403, "forbidden", "Origin: not allowed; see --cors"
        if not origins and "cross-site" in _values(scope, b"sec-fetch-site"):
            return 403, "forbidden", "cross-site requests are not allowed"
        if self._access.key is not None and scope["path"] not in _OPEN and not self._has_key(scope):
            return 401, "authentication_error", "Authorization: a valid API key is needed"
        return None

    def _is_ours(self, host: str) -> bool:
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if name in self._access.hosts or name.lower() == "localhost":
            return True
        try:
            return ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
        except ValueError:
            return False

    def _has_key(self, scope: Mapping[str, Any]) -> bool:
        given = _values(scope, b"authorization")
        wanted = f"Bearer {self._access.key}"
        return len(given) == 1 and hmac.compare_digest(given[0].encode(), wanted.encode())


def _values(scope: Mapping[str, Any], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _cors(origin: str) -> dict[str, str]:
    return {
        "access-control-allow-origin": origin,
        "access-control-allow-headers": "authorization, content-type",
        "access-control-allow-methods": "GET, POST",
        "vary": "origin",
    }


def _with_headers(send: Send, headers: dict[str, str]) -> Send:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            more = [(name.encode(), value.encode()) for name, value in headers.items()]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending


async def _refuse(send: Send, status: int, slug: str, message: str) -> None:
    error = {"error": {"type": slug, "code": status, "message": message}}
    headers = {"content-type": "application/json", "connection": "close"}
    await _answer(send, status, compact(error), headers)


async def _answer(send: Send, status: int, data: bytes, headers: dict[str, str]) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    pairs.append((b"content-length", str(len(data)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": data})
