"""The ASGI application: every endpoint of every dialect, and how its errors are told."""

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from bigcode_cli.framework.errors import Failure, UsageFailure, is_memory_error
from bigcode_cli.framework.output import safe
from bigcode_cli.server import dialects
from bigcode_cli.server.dialects.fields import BadRequestError
from bigcode_cli.server.engine.thread import CancelledRequestError
from bigcode_cli.server.exchange import (
    ClientGoneError,
    ErrorReply,
    Exchange,
    Receive,
    Send,
)
from bigcode_cli.server.gate import QueueFullError
from bigcode_cli.server.guard import Access, Guard
from bigcode_cli.server.service import Service
from gpt_bigcode import errors as library

CLIENT_GONE = 499
_LONGEST_PATH = 200
Log = Callable[[str], None]


def build_app(service: Service, access: Access, log: Log) -> Guard:
    """The application of one server.

    Args:
        service: what answers.
        access: rules for TCP.
        log: takes one line for each request: no text of a request is in it.
    """
    routes = [
        Route(path, _Endpoint(service, endpoint, log), methods=[endpoint.method])
        for endpoint in dialects.endpoints()
        for path in endpoint.paths
    ]
    handlers: Any = {404: _not_found, 405: _not_found, 500: _not_found}
    inner: Any = Starlette(routes=routes, exception_handlers=handlers)
    return Guard(inner, access)


async def _not_found(_request: Any, error: Any) -> JSONResponse:
    status = getattr(error, "status_code", 500)
    message = "no such endpoint" if status == 404 else "method not allowed"
    return JSONResponse(
        {"error": {"type": "not_found", "code": status, "message": message}}, status
    )


class _Endpoint:
    """An endpoint as an ASGI application."""

    def __init__(self, service: Service, endpoint: "dialects.Endpoint", log: Log) -> None:
        self._service, self._endpoint, self._log = service, endpoint, log

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request; any error is told in the dialect's own form."""
        exchange = Exchange(self._service, scope, receive, send)
        started = monotonic()
        try:
            await exchange.read()
            await self._endpoint.answer(exchange)
        except ClientGoneError:
            exchange.status = CLIENT_GONE
        except Exception as error:  # noqa: BLE001  # the outermost handler
            await self._tell(exchange, describe(error))
        finally:
            exchange.finish()
        if exchange.caller.gone.is_set() and not exchange.status:
            exchange.status = CLIENT_GONE
        path = self._endpoint.paths[0]
        self._service.metrics.requests.labels(path, str(exchange.status)).inc()
        shown = safe(scope["path"])[:_LONGEST_PATH]
        self._log(f"{scope['method']} {shown} {exchange.status} {monotonic() - started:.3f} s")

    async def _tell(self, exchange: Exchange, error: ErrorReply) -> None:
        document = self._endpoint.error(error.status, error.slug, error.message)
        try:
            if exchange.started:
                await exchange.write(self._endpoint.error_event(document))
                await exchange.close_stream()
                exchange.status = error.status
            else:
                retry = {"retry-after": "1"} if error.status == 503 else {}
                await exchange.json(document, error.status, retry)
        except ClientGoneError:
            exchange.status = CLIENT_GONE


def describe(error: Exception) -> ErrorReply:
    """The reply for an error; an unexpected one shows its class alone."""
    if isinstance(error, BadRequestError):
        return ErrorReply(error.status, error.slug, str(error))
    if isinstance(error, QueueFullError):
        return ErrorReply(503, "overloaded", "too many requests wait; try again")
    if isinstance(error, CancelledRequestError):
        return ErrorReply(503, "shutting_down", str(error))
    if isinstance(error, (Failure, library.GPTBigCodeError)):
        statuses = (status for kinds, status in _STATUS if isinstance(error, kinds))
        status = _STATUS_OF_SLUG.get(error.slug) or next(statuses, 500)
        return ErrorReply(status, error.slug, str(error))
    if is_memory_error(error):
        return ErrorReply(503, "memory", "not enough memory for this request")
    return ErrorReply(500, "internal", f"internal error: {type(error).__name__}")


_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (library.InfillUnsupportedError, 501),
    (library.MemoryLimitError, 503),
    (library.DeviceError, 400),
    (library.OptionError, 400),
    (library.InputError, 400),
    (library.ContextError, 400),
    (UsageFailure, 400),
)
_STATUS_OF_SLUG = {"model-missing": 404, "memory": 503}
