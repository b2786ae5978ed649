"""llama-server's own endpoints: `/infill`, `/completion`, `/tokenize`, `/detokenize`."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from bigcode_cli.server.dialects import Endpoint
from bigcode_cli.server.dialects.fields import BadRequestError, Fields
from bigcode_cli.server.dialects.replies import EVENTS, events, finished, server_sent, typed_error
from bigcode_cli.server.dialects.sampling import generation, named_model, tokens_of, writing
from bigcode_cli.server.exchange import Exchange
from bigcode_cli.server.jobs import SUPERSEDED, Done, Piece, Work
from bigcode_cli.server.library import Generate

_MILLISECONDS = 1000.0
_DRAWN_TEMPERATURE = 0.8
_STOP_TYPES = {"stop": "eos", "length": "limit", "suffix": "word", "repetition": "limit"}


async def infill(exchange: Exchange) -> None:
    """Fill a gap; the text of the request's fields is never read for control tokens."""
    body = exchange.body
    if "input_prefix" not in body or "input_suffix" not in body:
        raise BadRequestError("input_prefix and input_suffix: missing")
    extra = body.objects("input_extra")
    files = tuple((one.text("filename", "tmp"), one.text("text")) for one in extra)
    samples = body.whole("n_cmpl", 1, low=1, high=128)
    warming = tokens_of(body, "n_predict", 128) == 0
    options = _options(body, temperature=_DRAWN_TEMPERATURE if samples > 1 else 0.0)
    # The cursor's line up to the cursor is the end of the prefix.
    wanted = Generate(
        prefix=body.text("input_prefix") + body.text("prompt", ""),
        suffix=body.text("input_suffix"),
        options={**options, "samples": samples},
        context_files=files,
    )
    await _answer(exchange, wanted, warming=warming, array=samples > 1)


async def completion(exchange: Exchange) -> None:
    """Continue a raw prompt; control tokens in it are read as such, whatever model they are of."""
    body = exchange.body
    prompt = body.values.get("prompt")
    if not isinstance(prompt, str):
        prompt = token_ids(body, "prompt", prompt)
    else:
        prompt = body.text("prompt")
    samples = body.whole("n_cmpl", 1, low=1, high=128)
    options = _options(body, temperature=0.8, top_k=40, top_p=0.95, min_p=0.05)
    wanted = Generate(prompt=prompt, raw=True, options={**options, "samples": samples})
    warming = tokens_of(body, "n_predict", -1) == 0
    await _answer(exchange, wanted, warming=warming, array=samples > 1)


def token_ids(body: Fields, name: str, value: Any) -> tuple[int, ...]:
    """A prompt of token ids.

    Raises:
        BadRequestError: it is not a list of ids.
    """
    plain = isinstance(value, list) and all(type(one) is int for one in value)
    if not plain or not value:
        body.text(name)  # says what is missing
        raise BadRequestError(f"{name}: expected a string or token ids")
    return tuple(value)


def _options(body: Fields, **defaults: Any) -> dict[str, Any]:
    budget = {}
    if body.number("t_max_predict_ms", 0.0, low=-1.0, high=1e9) > 0:
        budget["writing_seconds"] = body.number("t_max_predict_ms", high=1e9) / _MILLISECONDS
    return {
        **generation(body, tokens=("n_predict", -1), penalty="repeat_penalty", **defaults),
        **budget,
        "least_indent": body.whole("n_indent", 0, high=10_000),
    }


async def _answer(exchange: Exchange, wanted: Generate, *, warming: bool, array: bool) -> None:
    body = exchange.body
    if not warming and body.whole("id_slot", -1, low=-1, high=2**31) >= 0:
        exchange.caller.slot = f"slot {body.values['id_slot']}"
    if warming:
        wanted = Generate(**{**vars(wanted), "options": {**wanted.options, "samples": 1}})
    work = writing(exchange, wanted, named_model(body, lenient=True))
    if body.flag("stream") and not warming:
        await _stream(exchange, work)
        return
    done = await finished(exchange, work)
    replies = [_reply(done, choice, warming=warming) for choice in done.document["choices"]]
    fields = body.values.get("response_fields")
    if isinstance(fields, list) and fields:
        replies = [_picked(reply, fields) for reply in replies]
    await exchange.json(replies if array and not warming else replies[0])


async def _stream(exchange: Exchange, work: Work) -> None:
    exchange.open_stream(EVENTS)
    async for event in events(exchange, work):
        if isinstance(event, Piece):
            part = {"index": event.index, "content": event.text, "stop": False, "id_slot": -1}
            await exchange.write(server_sent({**part, "tokens": []}))
        elif isinstance(event, Done):
            for choice in event.document["choices"]:
                await exchange.write(server_sent({**_reply(event, choice), "content": ""}))
    await exchange.close_stream()


def _reply(done: Done, choice: Mapping[str, Any], *, warming: bool = False) -> dict[str, Any]:
    document, timings = done.document, done.document["timings"]
    read, written = document["prompt_tokens"], choice["completion_tokens"]
    evaluated = read - done.reused_tokens
    dropped = document["dropped_prefix_tokens"] + document["dropped_suffix_tokens"]
    reason = SUPERSEDED if done.superseded else choice["finish_reason"]
    return {
        "index": choice["index"],
        "content": "" if warming else choice["text"],
        "tokens": [],
        "id_slot": -1,
        "stop": True,
        "model": document["model"],
        "tokens_predicted": 0 if warming else written,
        "tokens_evaluated": read,
        "tokens_cached": read + written,
        "has_new_line": "\n" in choice["text"],
        "truncated": dropped > 0,
        "stop_type": _STOP_TYPES.get(reason, "limit"),
        "stopping_word": "",
        "timings": {
            **_pace("prompt", evaluated, timings["prefill_seconds"]),
            **_pace("predicted", written, timings["decode_seconds"]),
        },
    }


def _pace(name: str, tokens: int, seconds: float) -> dict[str, float]:
    return {
        f"{name}_n": tokens,
        f"{name}_ms": seconds * _MILLISECONDS,
        f"{name}_per_token_ms": seconds * _MILLISECONDS / max(tokens, 1),
        f"{name}_per_second": tokens / seconds if seconds else 0.0,
    }


def _picked(reply: Mapping[str, Any], names: Sequence[Any]) -> dict[str, Any]:
    """The wanted fields; `timings/prompt_n` comes back as a flat field of that name."""
    picked: dict[str, Any] = {}
    for name in names:
        value: Any = reply
        for part in str(name).split("/"):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            picked[str(name)] = value
    return picked


async def tokenize(exchange: Exchange) -> None:
    """Text to token ids."""
    body = exchange.body
    text, special = body.text("content"), body.flag("parse_special", default=True)
    choice = named_model(body, lenient=True)
    work = exchange.service.jobs.tokenizing(
        choice, exchange.caller, partial(_encoded, text=text, special=special)
    )
    pieces = (await finished(exchange, work)).document["pieces"]
    if body.flag("with_pieces"):
        await exchange.json({"tokens": [{"id": one, "piece": text} for one, text in pieces]})
    else:
        await exchange.json({"tokens": [one for one, _ in pieces]})


def _encoded(model: Any, *, text: str, special: bool) -> dict[str, Any]:
    from bigcode_cli.server.library import encode_raw

    ids = encode_raw(model.tokenizer, text) if special else model.tokenizer.encode(text)
    pieces = [(one, model.tokenizer.token_bytes(one).decode("utf-8", "replace")) for one in ids]
    return {"pieces": pieces}


async def detokenize(exchange: Exchange) -> None:
    """Decode token ids to text; control tokens are left out."""
    body = exchange.body
    ids = token_ids(body, "tokens", body.values.get("tokens") or [])
    work = exchange.service.jobs.tokenizing(
        named_model(body, lenient=True), exchange.caller, partial(_decoded, ids=ids)
    )
    await exchange.json((await finished(exchange, work)).document)


def _decoded(model: Any, *, ids: Sequence[int]) -> dict[str, Any]:
    return {"content": model.tokenizer.decode_bytes(ids).decode("utf-8", "replace")}


_endpoint = partial(Endpoint, error=typed_error, error_event=server_sent)
ENDPOINTS = (
    _endpoint("POST", ("/infill",), infill),
    _endpoint("POST", ("/completion", "/completions"), completion),
    _endpoint("POST", ("/tokenize",), tokenize),
    _endpoint("POST", ("/detokenize",), detokenize),
)
