"""Our own endpoints, which the commands of this tool use: JSON of the contract, or lines of it."""

import os
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from typing import Any

from bigcode_cli import __version__
from bigcode_cli.server.dialects import Endpoint
from bigcode_cli.server.dialects.fields import MAX_TOKENS, BadRequestError, Fields
from bigcode_cli.server.dialects.replies import NDJSON, finished, judged, line, typed_error
from bigcode_cli.server.engine.decoder import Reuse
from bigcode_cli.server.exchange import Exchange
from bigcode_cli.server.jobs import Done, Event, Judged, ModelChoice, Piece, Started, Work
from bigcode_cli.server.judged_text import JudgedText
from bigcode_cli.server.library import Compute, Generate, Task
from gpt_bigcode.hardware import Precision

_SCOPES = ("line", "block", "function", "file")
_LONGEST_KEEP_SECONDS = 10.0**9


def generation_options(body: Fields) -> dict[str, Any]:
    """The options of a completion, by the names of this tool's command line."""
    options: dict[str, Any] = {
        "max_tokens": body.whole("max_tokens", 128, low=1, high=MAX_TOKENS),
        "temperature": body.number("temperature", 0.0, high=100.0),
        "top_k": body.whole("top_k", 0, high=1_000_000),
        "top_p": body.number("top_p", 1.0, high=1.0),
        "min_p": body.number("min_p", 0.0, high=1.0),
        "repetition_penalty": body.number("repetition_penalty", 1.0, high=100.0),
        "stop": body.texts("stop"),
        "samples": body.whole("samples", 1, low=1, high=128),
        "until": body.one_of("until", _SCOPES),
        "truncate": body.flag("truncate", default=True),
        "heal": body.flag("heal", default=True),
        "speculate": body.flag("speculate", default=True),
        "trim": body.flag("trim", default=True),
        "order": body.one_of("order", ("psm", "spm")),
        "path": body.maybe_text("path"),
    }
    if "seed" in body:
        options["seed"] = body.whole("seed", high=2**63 - 1)
    if "time_budget" in body:
        options["time_budget_seconds"] = body.number("time_budget", low=1e-9, high=86_400.0)
    if "min_confidence" in body:
        options["min_confidence"] = body.number("min_confidence", high=1.0)
    return options


def model_choice(body: Fields) -> ModelChoice:
    """Which model a request wants, and where it is to run."""
    keep_alive = None
    if "keep_alive" in body:
        keep_alive = body.number("keep_alive", low=-1.0, high=_LONGEST_KEEP_SECONDS)
    compute = Compute(
        device=body.text("device", "auto"),
        precision=body.one_of("precision", tuple(Precision), "auto") or "auto",
    )
    return ModelChoice(name=body.maybe_text("model"), compute=compute, keep_alive=keep_alive)


def _generate(body: Fields, *, infill: bool) -> Generate:
    files = tuple((one.text("path"), one.text("text")) for one in body.objects("context_files"))
    options = generation_options(body)
    if infill:
        prefix, suffix = body.text("prefix", ""), body.text("suffix", "")
        return Generate(prefix=prefix, suffix=suffix, options=options, context_files=files)
    return Generate(prompt=body.text("prompt", ""), options=options, context_files=files)


async def _write(exchange: Exchange, *, infill: bool) -> None:
    body = exchange.body
    _check_peer(exchange)
    service = exchange.service
    wanted, choice = _generate(body, infill=infill), model_choice(body)
    reuse = Reuse(exact=body.flag("exact", default=True), keep=body.flag("cache", default=True))
    work = service.jobs.writing(wanted, choice, exchange.caller, reuse=reuse)
    if body.flag("stream"):
        await _stream(exchange, work)
    else:
        await exchange.json((await finished(exchange, work)).document)


async def _judge(exchange: Exchange, *, task: Task) -> None:
    body = exchange.body
    _check_peer(exchange)
    files = body.objects("files")
    texts = [JudgedText(one.text("text"), _lines(one)) for one in files]
    options = _JUDGING[task](body)
    work = exchange.service.jobs.judging(texts, options, model_choice(body), exchange.caller, task)
    if body.flag("stream"):
        await _stream(exchange, work)
        return
    documents, summary = await judged(exchange, work)
    named = [
        {"path": one.text("path", ""), **found} for one, found in zip(files, documents, strict=True)
    ]
    await exchange.json({"files": named, "summary": summary})


def _lines(body: Fields) -> tuple[range, ...] | None:
    """The lines that are wanted, as pairs of the first and the one after the last."""
    if "lines" not in body:
        return None
    try:
        return tuple(range(int(start), int(stop)) for start, stop in body.values["lines"])
    except (TypeError, ValueError, OverflowError):
        raise BadRequestError("lines: expected pairs of line numbers") from None


async def _stream(exchange: Exchange, work: Work) -> None:
    """Lines of JSON; an empty line is a heartbeat."""
    exchange.open_stream(NDJSON)
    await exchange.write(b"\n")
    async with aclosing(exchange.service.events(exchange.caller, work)) as found:
        async for event in found:
            await exchange.write(b"\n" if event is None else line(_shown(event)))
    await exchange.close_stream()


def _shown(event: Event) -> dict[str, Any]:
    match event:
        case Started():
            return {"event": "start", "model": event.model, **event.counts}
        case Piece():
            return {"event": "text", "index": event.index, "text": event.text}
        case Judged():
            return {"event": "file", "index": event.place, "file": event.document}
        case Done():
            return {"event": "done", "answer": event.document}


def _check_peer(exchange: Exchange) -> None:
    """A command of another version, or with other threads, must not take our answer for its own.

    Raises:
        BadRequestError: 409.
    """
    version = exchange.headers.get("bigcode-version", __version__)
    if version != __version__:
        why = f"the server is of version {__version__}, the client of {version}"
        raise BadRequestError(why, status=409, slug="version")
    from gpt_bigcode.hardware import choose_threads

    threads = choose_threads(exchange.service.registry.threads)
    if exchange.body.whole("threads", threads, low=1, high=1024) != threads:
        why = f"the server computes with {threads} threads"
        raise BadRequestError(why, status=409, slug="threads")


def _scoring(body: Fields) -> dict[str, Any]:
    return {
        "window": body.one_of("window", ("strided", "disjoint", "full", "llama"), "strided"),
        "stride": body.whole("stride", low=1, high=10**9) if "stride" in body else None,
        "lines": body.flag("lines"),
        "tokens": body.flag("tokens"),
    }


def _classifying(body: Fields) -> dict[str, Any]:
    return {"windows": body.flag("windows")}


def _tagging(body: Fields) -> dict[str, Any]:
    scores = body.object("min_scores")
    options: dict[str, Any] = {
        "labels": frozenset(body.texts("labels")) if "labels" in body else None,
        "min_scores": {name: scores.number(name, high=1.0) for name in scores.values},
    }
    if "min_score" in body:
        options["min_score"] = body.number("min_score", high=1.0)
    return options


_JUDGING: dict[Task, Callable[[Fields], dict[str, Any]]] = {
    Task.SCORE: _scoring,
    Task.CLASSIFY: _classifying,
    Task.TAG: _tagging,
}


async def ps(exchange: Exchange) -> None:
    """Describe this process and the models that it has loaded."""
    service = exchange.service
    await exchange.json(
        {
            "version": __version__,
            "pid": os.getpid(),
            "models": service.registry.describe(),
            "active_requests": service.gate.active,
            "waiting_requests": service.gate.waiting,
            "stopping": service.stopping,
        }
    )


async def stop(exchange: Exchange) -> None:
    """Unload a model, or end the server; only this user's socket may say so.

    Raises:
        BadRequestError: 403.
    """
    if not exchange.caller.trusted:
        raise BadRequestError("only over the server's own socket", status=403)
    name = exchange.body.maybe_text("model")
    if name is not None:
        await exchange.json({"unloaded": exchange.service.registry.unload(name)})
        return
    await exchange.json({"stopping": True, "pid": os.getpid()})
    exchange.service.stop()


def _error_line(document: dict[str, Any]) -> bytes:
    return line({"event": "error", **document})


_endpoint = partial(Endpoint, error=typed_error, error_event=_error_line)
ENDPOINTS = (
    _endpoint("POST", ("/bigcode/v1/complete",), partial(_write, infill=False)),
    _endpoint("POST", ("/bigcode/v1/infill",), partial(_write, infill=True)),
    _endpoint("POST", ("/bigcode/v1/score",), partial(_judge, task=Task.SCORE)),
    _endpoint("POST", ("/bigcode/v1/classify",), partial(_judge, task=Task.CLASSIFY)),
    _endpoint("POST", ("/bigcode/v1/tag",), partial(_judge, task=Task.TAG)),
    _endpoint("GET", ("/bigcode/v1/ps",), ps),
    _endpoint("POST", ("/bigcode/v1/stop",), stop),
)
