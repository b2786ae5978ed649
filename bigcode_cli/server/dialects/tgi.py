"""Text Generation Inference: `/generate`, `/generate_stream`, `/info`, and the hub's own form."""

from functools import partial
from typing import Any

from bigcode_cli import __version__
from bigcode_cli.server.dialects import Endpoint
from bigcode_cli.server.dialects.fields import Fields
from bigcode_cli.server.dialects.replies import EVENTS, events, finished, server_sent
from bigcode_cli.server.dialects.sampling import generation, named_model, writing
from bigcode_cli.server.exchange import Exchange
from bigcode_cli.server.jobs import Done, ModelChoice, Piece, Work
from bigcode_cli.server.library import Generate

_REASONS = {"length": "length", "time": "length", "repetition": "length", "stop": "eos_token"}


async def generate(exchange: Exchange) -> None:
    """Continue `inputs`; one object."""
    document = await _whole(exchange)
    await exchange.json(document)


async def hub(exchange: Exchange) -> None:
    """Answer as the hub's own servers do: a list of objects, or events."""
    if exchange.body.flag("stream"):
        await generate_stream(exchange)
    else:
        await exchange.json([await _whole(exchange)])


async def info(exchange: Exchange) -> None:
    """Describe the model."""
    work = exchange.service.jobs.tokenizing(ModelChoice(), exchange.caller, _described)
    await exchange.json((await finished(exchange, work)).document)


def _described(model: Any) -> dict[str, Any]:
    length = model.decoder.context_length
    return {
        "model_id": model.name,
        "model_sha": model.revision,
        "model_pipeline_tag": "text-generation",
        "max_input_length": length - 1,
        "max_input_tokens": length - 1,
        "max_total_tokens": length,
        "max_concurrent_requests": 64,
        "max_best_of": 1,
        "max_stop_sequences": 16,
        "version": __version__,
        "router": "bigcode",
    }


def _work(exchange: Exchange) -> Work:
    body, parameters = exchange.body, exchange.body.object("parameters")
    drawn = 1.0 if parameters.flag("do_sample") else 0.0
    options = generation(parameters, tokens=("max_new_tokens", 100), temperature=drawn)
    wanted = Generate(prompt=body.text("inputs"), raw=True, options=options)
    return writing(exchange, wanted, named_model(body, lenient=True))


async def _whole(exchange: Exchange) -> dict[str, Any]:
    body, parameters = exchange.body, exchange.body.object("parameters")
    done = await finished(exchange, _work(exchange))
    text = _text(body, parameters, done)
    document: dict[str, Any] = {"generated_text": text}
    if parameters.flag("details"):
        document["details"] = {**_details(done), "prefill": [], "tokens": []}
    return document


async def generate_stream(exchange: Exchange) -> None:
    """Continue `inputs`; an event for each piece."""
    body, parameters = exchange.body, exchange.body.object("parameters")
    number = 0
    work = _work(exchange)
    exchange.open_stream(EVENTS)
    async for event in events(exchange, work):
        if isinstance(event, Piece):
            number += 1
            token = {"id": 0, "text": event.text, "logprob": None, "special": False}
            await exchange.write(server_sent(_event(number, token, None, None)))
        elif isinstance(event, Done):
            token = {"id": 0, "text": "", "logprob": None, "special": True}
            text = _text(body, parameters, event)
            end = _event(number + 1, token, text, _details(event))
            await exchange.write(server_sent(end))
    await exchange.close_stream()


def _event(
    number: int, token: dict[str, Any], text: str | None, details: dict[str, Any] | None
) -> dict[str, Any]:
    return {"index": number, "token": token, "generated_text": text, "details": details}


def _text(body: Fields, parameters: Fields, done: Done) -> str:
    text = str(done.document["choices"][0]["text"])
    return body.text("inputs") + text if parameters.flag("return_full_text") else text


def _details(done: Done) -> dict[str, Any]:
    (choice,) = done.document["choices"]
    return {
        "finish_reason": _REASONS.get(choice["finish_reason"], "stop_sequence"),
        "generated_tokens": choice["completion_tokens"],
        "input_length": done.document["prompt_tokens"],
        "seed": None,
    }


def _error(status: int, slug: str, message: str) -> dict[str, Any]:
    """By the names that its own clients turn into exceptions."""
    kind = "validation" if 400 <= status < 500 else "generation"
    return {"error": message, "error_type": slug if slug == "overloaded" else kind}


_endpoint = partial(Endpoint, error=_error, error_event=server_sent)
ENDPOINTS = (
    _endpoint("POST", ("/generate",), generate),
    _endpoint("POST", ("/generate_stream",), generate_stream),
    _endpoint("POST", ("/", "/models/{model:path}"), hub),
    _endpoint("GET", ("/info",), info),
)
