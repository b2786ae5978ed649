"""What belongs to no dialect: `/health` and `/metrics`."""

from bigcode_cli.server.dialects import Endpoint
from bigcode_cli.server.dialects.replies import line, typed_error
from bigcode_cli.server.exchange import Exchange
from bigcode_cli.server.metrics import CONTENT_TYPE


async def health(exchange: Exchange) -> None:
    """Answer `{"status":"ok"}`, or 503 while a model is loading."""
    if exchange.service.registry.loading:
        error = typed_error(503, "unavailable_error", "loading model")
        await exchange.json({"status": "loading", **error}, 503)
    else:
        await exchange.json({"status": "ok"})


async def metrics(exchange: Exchange) -> None:
    """Answer with the figures of this server."""
    await exchange.reply(exchange.service.metrics.render(), CONTENT_TYPE)


ENDPOINTS = (
    Endpoint("GET", ("/health",), health, error=typed_error, error_event=line),
    Endpoint("GET", ("/metrics",), metrics, error=typed_error, error_event=line),
)
