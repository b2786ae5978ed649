"""OpenAI's completions, with the suffix that it once had, and Mistral's for gaps."""

from collections.abc import Mapping
from functools import partial
from secrets import token_hex
from time import time
from typing import Any

from bigcode_cli.server.dialects import Endpoint
from bigcode_cli.server.dialects.fields import BadRequestError, Fields
from bigcode_cli.server.dialects.llama import token_ids
from bigcode_cli.server.dialects.replies import (
    EVENTS,
    events,
    finished,
    server_sent,
    typed_error,
)
from bigcode_cli.server.dialects.sampling import generation, named_model, tokens_of, writing
from bigcode_cli.server.exchange import Exchange
from bigcode_cli.server.jobs import Done, Piece
from bigcode_cli.server.library import Generate, Task
from bigcode_cli.server.logprobs import Listing

DONE = b"data: [DONE]\n\n"
_MOST_PROMPTS = 64
_MOST_LOGPROBS = 20
_REASONS = {"length": "length", "time": "length", "repetition": "length"}
Prompt = str | tuple[int, ...]


async def completions(exchange: Exchange) -> None:
    """Continue prompts, or fill a gap where there is a suffix; Tabby's form has segments."""
    body = exchange.body
    if "segments" in body:
        from bigcode_cli.server.dialects.tabby import completions as tabby

        await tabby(exchange)
        return
    prompts = _prompts(body)
    if body.object("logit_bias").values:
        raise BadRequestError("logit_bias: not offered")
    if "logprobs" in body or "prompt_logprobs" in body or body.flag("echo"):
        await _with_logprobs(exchange, prompts)
        return
    samples = body.whole("n", 1, low=1, high=128)
    requests = [_request(body, prompt, samples) for prompt in prompts]
    if body.flag("stream"):
        await _stream(exchange, requests, samples)
        return
    documents = []
    for wanted in requests:
        work = writing(exchange, wanted, named_model(body))
        documents.append((await finished(exchange, work)).document)
    choices = [
        _choice(choice, number * samples)
        for number, document in enumerate(documents)
        for choice in document["choices"]
    ]
    await exchange.json(_document(documents[0]["model"], choices, usage(documents)))


def _prompts(body: Fields) -> list[Prompt]:
    """One or more texts, or lists of token ids."""
    value = body.values.get("prompt", "")
    if isinstance(value, str):
        return [body.text("prompt", "")]
    if isinstance(value, list) and value and isinstance(value[0], int):
        return [token_ids(body, "prompt", value)]
    if not isinstance(value, list) or not 1 <= len(value) <= _MOST_PROMPTS:
        raise BadRequestError(f"prompt: expected a string, token ids, or up to {_MOST_PROMPTS}")
    if all(isinstance(one, str) for one in value):
        return list(Fields({"prompt": [one or " " for one in value]}).texts("prompt"))
    return [token_ids(body, "prompt", one) for one in value]


def _request(body: Fields, prompt: Prompt, samples: int) -> Generate:
    options = {**_options(body), "samples": samples}
    suffix = body.maybe_text("suffix")
    if suffix is None:
        return Generate(prompt=prompt, raw=True, options=options)
    if not isinstance(prompt, str):
        raise BadRequestError("suffix: needs a prompt that is a string")
    return Generate(prefix=prompt, suffix=suffix, options=options)


def _options(body: Fields) -> dict[str, Any]:
    return generation(body, tokens=("max_tokens", 16), temperature=1.0)


def usage(documents: list[Any]) -> dict[str, int]:
    """The tokens that were read and written."""
    read = sum(document["prompt_tokens"] for document in documents)
    written = sum(one["completion_tokens"] for doc in documents for one in doc["choices"])
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }


def _choice(choice: Mapping[str, Any], offset: int) -> dict[str, Any]:
    return {
        "index": offset + choice["index"],
        "text": choice["text"],
        "logprobs": None,
        "finish_reason": finish_reason(choice),
    }


def finish_reason(choice: Mapping[str, Any]) -> str:
    """`stop` or `length`."""
    return _REASONS.get(choice["finish_reason"], "stop")


def _document(model: str, choices: list[Any], used: Mapping[str, int] | None) -> dict[str, Any]:
    document = {
        "id": f"cmpl-{token_hex(12)}",
        "object": "text_completion",
        "created": int(time()),
        "model": model,
        "choices": choices,
    }
    return document if used is None else {**document, "usage": used}


async def _stream(exchange: Exchange, requests: list[Generate], samples: int) -> None:
    """Events, each with the text of one choice; the reason comes before the end."""
    body = exchange.body
    shared = _document(exchange.service.jobs.default_name(Task.GENERATE), [], None)
    shared["model"] = body.maybe_text("model") or shared["model"]
    documents = []
    exchange.open_stream(EVENTS)
    for number, wanted in enumerate(requests):
        async for event in events(exchange, writing(exchange, wanted, named_model(body))):
            if isinstance(event, Piece):
                index = number * samples + event.index
                part = {"index": index, "text": event.text, "finish_reason": None}
                await exchange.write(server_sent({**shared, "choices": [part]}))
            elif isinstance(event, Done):
                documents.append(event.document)
                for choice in event.document["choices"]:
                    end = {**_choice(choice, number * samples), "text": ""}
                    await exchange.write(server_sent({**shared, "choices": [end]}))
    if body.object("stream_options").flag("include_usage"):
        await exchange.write(server_sent({**shared, "usage": usage(documents)}))
    await exchange.write(DONE)
    await exchange.close_stream()


async def _with_logprobs(exchange: Exchange, prompts: list[Prompt]) -> None:
    """Prompts and answers with the logarithms of their tokens' probabilities."""
    body = exchange.body
    if "suffix" in body:
        raise BadRequestError("suffix: does not go with logprobs or echo")
    top = body.whole("logprobs", 0, high=_MOST_LOGPROBS)
    prompt_top = body.whole("prompt_logprobs", -1, low=-1, high=_MOST_LOGPROBS)
    echo = body.flag("echo") or prompt_top >= 0
    options = _options(body)
    options["max_tokens"] = tokens_of(body, "max_tokens", 16)
    samples = body.whole("n", 1, low=1, high=128)
    documents = []
    for prompt in prompts:
        work = exchange.service.jobs.listing(
            prompt,
            {**options, "samples": samples},
            Listing(top=max(top, prompt_top, 0), echo=echo),
            named_model(body),
            exchange.caller,
        )
        documents.append((await finished(exchange, work)).document)
    found = [choice for document in documents for choice in document["choices"]]
    choices = [_listed(body, choice, place, prompt_top) for place, choice in enumerate(found)]
    document = _document(documents[0]["model"], choices, usage(documents))
    if body.flag("stream"):
        exchange.open_stream(EVENTS)
        await exchange.write(server_sent(document))
        await exchange.write(DONE)
        await exchange.close_stream()
    else:
        await exchange.json(document)


def _listed(body: Fields, choice: dict[str, Any], index: int, prompt_top: int) -> dict[str, Any]:
    """A choice with its tokens, in OpenAI's form, and vLLM's for those of the prompt."""
    prompt = choice.pop("prompt")
    listed = choice.pop("tokens")
    if body.flag("echo"):
        listed = [*prompt, *listed]
        choice["text"] = choice.pop("prompt_text") + choice["text"]
    else:
        del choice["prompt_text"]
    logprobs = None
    if "logprobs" in body:
        logprobs = {
            "tokens": [one["text"] for one in listed],
            "token_logprobs": [one["logprob"] for one in listed],
            "top_logprobs": [one["top"] for one in listed],
            "text_offset": [one["offset"] for one in listed],
        }
    shown = {"index": index, "text": choice["text"], "logprobs": logprobs}
    shown["finish_reason"] = finish_reason(choice)
    if prompt_top >= 0:
        shown["prompt_logprobs"] = [
            None if one["logprob"] is None else {str(one["id"]): {"logprob": one["logprob"]}}
            for one in prompt
        ]
    return shown


async def models(exchange: Exchange) -> None:
    """List the models that requests may name."""
    data = [
        {"id": name, "object": "model", "created": 0, "owned_by": "bigcode"}
        for name in exchange.service.jobs.names()
    ]
    await exchange.json({"object": "list", "data": data})


_endpoint = partial(Endpoint, error=typed_error, error_event=server_sent)
ENDPOINTS = (
    _endpoint("POST", ("/v1/completions",), completions),
    _endpoint("GET", ("/v1/models", "/models"), models),
)
