"""The HTTP APIs: one module for each, with its endpoints and its form of errors."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bigcode_cli.server.exchange import Exchange

_MODULES = ("bigcode", "general", "llama", "openai", "mistral", "ollama", "tgi", "tabby")


@dataclass(frozen=True)
class Endpoint:
    """A method and paths of HTTP that are answered.

    Attributes:
        method: GET or POST.
        paths: all that mean the same.
        answer: reads the request's body and replies.
        error: status, word and sentence -> the document that tells an error.
        error_event: that document as a part of a stream that has begun.
    """

    method: str
    paths: tuple[str, ...]
    answer: Callable[["Exchange"], Awaitable[None]]
    error: Callable[[int, str, str], dict[str, Any]]
    error_event: Callable[[dict[str, Any]], bytes]


def endpoints() -> Iterator[Endpoint]:
    """All endpoints."""
    for name in _MODULES:
        yield from import_module(f"{__name__}.{name}").ENDPOINTS
