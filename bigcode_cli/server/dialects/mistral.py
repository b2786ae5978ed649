"""Mistral's `/v1/fim/completions`: a gap in, messages of a chat out."""

from secrets import token_hex
from time import time
from typing import Any

from bigcode_cli.server.dialects import Endpoint
from bigcode_cli.server.dialects.openai import DONE, finish_reason, usage
from bigcode_cli.server.dialects.replies import EVENTS, events, finished, server_sent
from bigcode_cli.server.dialects.sampling import generation, named_model, writing
from bigcode_cli.server.exchange import Exchange
from bigcode_cli.server.jobs import Done, Piece
from bigcode_cli.server.library import Generate, Task


async def fim(exchange: Exchange) -> None:
    """Fill the gap between `prompt` and `suffix`."""
    body = exchange.body
    options = generation(body, tokens=("max_tokens", 128), seed="random_seed", temperature=0.7)
    prefix, suffix = body.text("prompt"), body.text("suffix", "")
    wanted = Generate(prefix=prefix, suffix=suffix, options=options)
    work = writing(exchange, wanted, named_model(body))
    shared: dict[str, Any] = {
        "id": token_hex(16),
        "object": "chat.completion.chunk" if body.flag("stream") else "chat.completion",
        "created": int(time()),
        "model": body.maybe_text("model") or exchange.service.jobs.default_name(Task.GENERATE),
    }
    if not body.flag("stream"):
        done = await finished(exchange, work)
        (choice,) = done.document["choices"]
        message = {"role": "assistant", "content": choice["text"], "tool_calls": None}
        answer = {"index": 0, "message": message, "finish_reason": finish_reason(choice)}
        await exchange.json({**shared, "usage": usage([done.document]), "choices": [answer]})
        return
    exchange.open_stream(EVENTS)
    async for event in events(exchange, work):
        if isinstance(event, Piece):
            await exchange.write(server_sent({**shared, "choices": [_delta(event.text, None)]}))
        elif isinstance(event, Done):
            (choice,) = event.document["choices"]
            end = [_delta("", finish_reason(choice))]
            await exchange.write(
                server_sent({**shared, "choices": end, "usage": usage([event.document])})
            )
    await exchange.write(DONE)
    await exchange.close_stream()


def _delta(text: str, reason: str | None) -> dict[str, Any]:
    delta = {"role": "assistant", "content": text}
    return {"index": 0, "delta": delta, "finish_reason": reason}


def _error(status: int, slug: str, message: str) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": slug, "param": None, "code": str(status)}


_PATHS = ("/v1/fim/completions", "/fim/completions")
ENDPOINTS = (Endpoint("POST", _PATHS, fim, error=_error, error_event=server_sent),)
