"""ollama's `/api`: generate, and what editors ask about models before that."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

from bigcode_cli import __version__
from bigcode_cli.framework.quantities import parse_duration
from bigcode_cli.server.dialects import Endpoint
from bigcode_cli.server.dialects.fields import BadRequestError, Fields
from bigcode_cli.server.dialects.replies import NDJSON, events, finished, line, plain_error
from bigcode_cli.server.dialects.sampling import generation, writing
from bigcode_cli.server.exchange import Exchange
from bigcode_cli.server.jobs import Done, ModelChoice, Piece
from bigcode_cli.server.library import Generate

_NANOSECONDS = 10**9
_LATEST = ":latest"


async def generate(exchange: Exchange) -> None:
    """Continue a prompt or fill a gap; an empty request loads the model, or unloads it."""
    body, options = exchange.body, exchange.body.object("options")
    choice = _choice(body)
    prompt, suffix = body.text("prompt", ""), body.maybe_text("suffix")
    if not prompt and not suffix:
        await _load(exchange, choice)
        return
    settings = generation(
        options,
        tokens=("num_predict", -1),
        penalty="repeat_penalty",
        temperature=0.8,
        top_k=40,
        top_p=0.9,
    )
    if suffix is not None:
        wanted = Generate(prefix=prompt, suffix=suffix, options=settings)
    else:
        wanted = Generate(prompt=prompt, raw=True, options=settings)
    work = writing(exchange, wanted, choice)
    name = body.maybe_text("model") or ""
    if not body.flag("stream", default=True):
        done = await finished(exchange, work)
        text = done.document["choices"][0]["text"]
        await exchange.json({**_part(name, text), **_end(done)})
        return
    exchange.open_stream(NDJSON)
    async for event in events(exchange, work):
        if isinstance(event, Piece):
            await exchange.write(line({**_part(name, event.text), "done": False}))
        elif isinstance(event, Done):
            await exchange.write(line({**_part(name, ""), **_end(event)}))
    await exchange.close_stream()


def _choice(body: Fields) -> ModelChoice:
    """Model and keep_alive: seconds, or a time such as 5m."""
    name = body.maybe_text("model") or body.maybe_text("name") or ""
    return ModelChoice(name=name.removesuffix(_LATEST), keep_alive=_keep_alive(body))


def _keep_alive(body: Fields) -> float | None:
    if "keep_alive" not in body:
        return None
    try:
        return parse_duration(body.values["keep_alive"])
    except ValueError:
        raise BadRequestError("keep_alive: expected seconds, or a time such as 5m") from None


async def _load(exchange: Exchange, choice: ModelChoice) -> None:
    """Load the model; with a keep_alive of 0 unload it."""
    body = exchange.body
    if choice.keep_alive == 0:
        exchange.service.registry.unload(choice.name or "")
        reason = "unload"
    else:
        work = exchange.service.jobs.tokenizing(choice, exchange.caller, lambda _model: {})
        await finished(exchange, work)
        reason = "load"
    part = _part(body.maybe_text("model") or "", "")
    await exchange.json({**part, "done": True, "done_reason": reason})


def _part(name: str, text: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {"model": name, "created_at": now, "response": text}


def _end(done: Done) -> dict[str, Any]:
    (choice,) = done.document["choices"]
    timings = done.document["timings"]
    reading = round(timings["prefill_seconds"] * _NANOSECONDS)
    writing_time = round(timings["decode_seconds"] * _NANOSECONDS)
    return {
        "done": True,
        "done_reason": "length" if choice["finish_reason"] == "length" else "stop",
        "total_duration": reading + writing_time,
        "load_duration": 0,
        "prompt_eval_count": done.document["prompt_tokens"],
        "prompt_eval_duration": reading,
        "eval_count": choice["completion_tokens"],
        "eval_duration": writing_time,
    }


async def tags(exchange: Exchange) -> None:
    """List the models."""
    models = [_described(name, size) for name, size in exchange.service.jobs.sizes()]
    await exchange.json({"models": models})


async def running(exchange: Exchange) -> None:
    """List the models in memory."""
    loaded = exchange.service.registry.describe()
    models = [
        {**_described(one["model"], one["bytes"]), "size_vram": 0}
        for one in loaded
        if one["task"] == "generate"
    ]
    await exchange.json({"models": models})


async def show(exchange: Exchange) -> None:
    """Describe a model: what an editor reads is whether it can fill gaps."""
    choice = _choice(exchange.body)
    work = exchange.service.jobs.tokenizing(choice, exchange.caller, _abilities)
    document = (await finished(exchange, work)).document
    await exchange.json(
        {
            "modelfile": "",
            "parameters": "",
            "template": "{{ .Prompt }}{{ .Suffix }}",
            "details": _details(),
            "model_info": {"general.architecture": "starcoder", **document["info"]},
            "capabilities": document["capabilities"],
        }
    )


def _abilities(model: Any) -> dict[str, Any]:
    fills = [] if model.tokenizer.infill is None else ["insert"]
    info = {"starcoder.context_length": model.decoder.context_length}
    return {"capabilities": ["completion", *fills], "info": info}


def _described(name: str, size: int) -> dict[str, Any]:
    modified = "2024-01-01T00:00:00Z"
    named = {"name": name, "model": name, "modified_at": modified}
    return {**named, "size": size, "digest": "", "details": _details()}


def _details() -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "safetensors",
        "family": "gpt_bigcode",
        "families": ["gpt_bigcode"],
        "parameter_size": "",
        "quantization_level": "",
    }


async def version(exchange: Exchange) -> None:
    """Tell the version."""
    await exchange.json({"version": __version__})


_endpoint = partial(Endpoint, error=plain_error, error_event=line)
ENDPOINTS = (
    _endpoint("POST", ("/api/generate",), generate),
    _endpoint("GET", ("/api/tags",), tags),
    _endpoint("GET", ("/api/ps",), running),
    _endpoint("POST", ("/api/show",), show),
    _endpoint("GET", ("/api/version",), version),
)
