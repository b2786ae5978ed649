"""What dialects share: forms of errors, of streams, and how an answer is waited for."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from bigcode_cli.server.exchange import Exchange, compact
from bigcode_cli.server.jobs import Done, Event, Judged, Work

NDJSON, EVENTS = "application/x-ndjson", "text/event-stream"


def line(document: Any) -> bytes:
    """A document as a line of newline-delimited JSON."""
    return compact(document) + b"\n"


def server_sent(document: Any) -> bytes:
    """A document as a server-sent event: JSON has no line breaks, so one line holds it."""
    return b"data: " + compact(document) + b"\n\n"


def typed_error(status: int, slug: str, message: str) -> dict[str, Any]:
    """The form of OpenAI and llama-server."""
    return {"error": {"message": message, "type": slug, "code": status, "param": None}}


def plain_error(_status: int, _slug: str, message: str) -> dict[str, Any]:
    """The form of ollama and TGI: a sentence."""
    return {"error": message}


async def events(exchange: Exchange, work: Work) -> AsyncIterator[Event]:
    """The events of some work, without heartbeats."""
    async with aclosing(exchange.service.events(exchange.caller, work)) as found:
        async for event in found:
            if event is not None:
                yield event


async def finished(exchange: Exchange, work: Work) -> Done:
    """Wait for the whole answer."""
    done = None
    async for event in events(exchange, work):
        if isinstance(event, Done):
            done = event
    if done is None:
        raise RuntimeError("the work ended without an answer")
    return done


async def judged(exchange: Exchange, work: Work) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Wait for what was found of all texts, and the summary."""
    documents, summary = [], {}
    async for event in events(exchange, work):
        if isinstance(event, Judged):
            documents.append(event.document)
        elif isinstance(event, Done):
            summary = event.document
    return documents, summary
