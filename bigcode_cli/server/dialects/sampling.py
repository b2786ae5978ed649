"""Options of a completion that most dialects have, by the names that they share."""

from typing import Any

from bigcode_cli.server.dialects.fields import MAX_TOKENS, BadRequestError, Fields
from bigcode_cli.server.engine.decoder import Reuse
from bigcode_cli.server.exchange import Exchange
from bigcode_cli.server.jobs import ModelChoice, Work
from bigcode_cli.server.library import Generate

_LEAST_TOP_P = _LEAST_PENALTY = 1e-6
_MOST_STOPS = 16
ENDLESS = -1


def sampling(
    body: Fields, *, temperature: float, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0
) -> dict[str, Any]:
    """How tokens are drawn; the arguments are what the dialect's own server does by default.

    Penalties for presence and frequency are not offered and ignored: editors send them as zeros.
    """
    options: dict[str, Any] = {
        "temperature": body.number("temperature", temperature, high=100.0),
        "top_k": max(body.whole("top_k", top_k, low=-1, high=1_000_000), 0),
        "top_p": max(body.number("top_p", top_p, high=1.0), _LEAST_TOP_P),
        "min_p": body.number("min_p", min_p, high=1.0),
    }
    return options


def generation(
    body: Fields,
    *,
    tokens: tuple[str, int],
    penalty: str = "repetition_penalty",
    seed: str = "seed",
    **defaults: Any,
) -> dict[str, Any]:
    """All that most dialects have, by the names of one.

    Args:
        body: the request, or the part of it that has them.
        tokens: the field for the number of tokens, and what is meant without it.
        penalty: the field for the repetition penalty.
        seed: the field for the seed.
        defaults: see `sampling`.
    """
    return {
        **sampling(body, **defaults),
        **seed_of(body, seed),
        "max_tokens": max(tokens_of(body, *tokens), 1),
        "stop": _stops(body),
        "repetition_penalty": max(body.number(penalty, 1.0, high=100.0), _LEAST_PENALTY),
    }


def seed_of(body: Fields, name: str = "seed") -> dict[str, int]:
    """The seed, if there is one; -1 means none."""
    seed = body.whole(name, -1, low=-(2**63), high=2**63 - 1)
    return {} if seed < 0 else {"seed": seed}


def tokens_of(body: Fields, name: str, default: int) -> int:
    """How many tokens to write; -1 means as many as there is room for."""
    count = body.whole(name, default, low=ENDLESS - 1, high=2**31)
    return MAX_TOKENS if count < 0 else min(count, MAX_TOKENS)


def named_model(body: Fields, *, lenient: bool = False) -> ModelChoice:
    """The model that a request names in the field `model`."""
    return ModelChoice(name=body.maybe_text("model"), lenient=lenient)


def writing(exchange: Exchange, wanted: Generate, choice: ModelChoice) -> Work:
    """Work for an editor, which need not be exact (see `Reuse`)."""
    reuse = Reuse(exact=False)
    return exchange.service.jobs.writing(wanted, choice, exchange.caller, reuse=reuse)


def _stops(body: Fields) -> tuple[str, ...]:
    """The stop texts.

    Raises:
        BadRequestError: more than can be watched for.
    """
    stops = tuple(dict.fromkeys(body.texts("stop")))
    if len(stops) > _MOST_STOPS:
        raise BadRequestError(f"stop: at most {_MOST_STOPS} texts")
    return stops
