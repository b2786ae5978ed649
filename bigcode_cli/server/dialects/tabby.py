"""Tabby's own form, for its editor extensions."""

import os
import platform
from functools import partial
from secrets import token_hex

from bigcode_cli import __version__
from bigcode_cli.server.dialects import Endpoint
from bigcode_cli.server.dialects.fields import Fields
from bigcode_cli.server.dialects.replies import finished, line, plain_error
from bigcode_cli.server.dialects.sampling import sampling, seed_of, writing
from bigcode_cli.server.exchange import Exchange
from bigcode_cli.server.jobs import ModelChoice
from bigcode_cli.server.library import Generate, Task

_MAX_TOKENS = 64
_SNIPPETS = ("declarations", "relevant_snippets_from_changed_files")


async def completions(exchange: Exchange) -> None:
    """Fill the gap that the segments describe."""
    body = exchange.body
    segments = body.object("segments")
    path = segments.maybe_text("filepath")
    options = {
        **sampling(body, temperature=0.0),
        **seed_of(body),
        "max_tokens": _MAX_TOKENS,
        "path": path,
    }
    wanted = Generate(
        prefix=segments.text("prefix"),
        suffix=segments.text("suffix", ""),
        options=options,
        context_files=tuple(_snippets(segments)),
    )
    done = await finished(exchange, writing(exchange, wanted, ModelChoice()))
    choices = [{"index": one["index"], "text": one["text"]} for one in done.document["choices"]]
    identity = f"cmpl-{token_hex(16)}"
    mode = body.text("mode", "standard")
    await exchange.json({"id": identity, "choices": choices, "mode": mode})


def _snippets(segments: Fields) -> list[tuple[str, str]]:
    return [
        (one.text("filepath", "snippet"), one.text("body"))
        for name in _SNIPPETS
        for one in segments.objects(name)
    ]


async def health(exchange: Exchange) -> None:
    """Describe the server as Tabby's does."""
    version = {
        "build_date": "",
        "build_timestamp": "",
        "git_sha": "",
        "git_describe": f"v{__version__}",
    }
    await exchange.json(
        {
            "status": "ok",
            "model": exchange.service.jobs.default_name(Task.GENERATE),
            "device": "cpu",
            "arch": platform.machine(),
            "cpu_info": "",
            "cpu_count": os.cpu_count() or 1,
            "cuda_devices": [],
            "models": {},
            "version": version,
        }
    )


async def nothing(exchange: Exchange) -> None:
    """Accept what an editor tells about its use, and keep nothing of it."""
    await exchange.json({})


async def settings(exchange: Exchange) -> None:
    """Ask editors to tell nothing about their use."""
    await exchange.json({"disable_client_side_telemetry": True})


_endpoint = partial(Endpoint, error=plain_error, error_event=line)
ENDPOINTS = (
    _endpoint("GET", ("/v1/health",), health),
    _endpoint("POST", ("/v1/health",), health),
    _endpoint("POST", ("/v1/events",), nothing),
    _endpoint("GET", ("/v1beta/server_setting",), settings),
)
