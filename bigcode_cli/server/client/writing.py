"""A text from the server, in the place of one that is written here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bigcode_cli.framework.errors import Failure
from bigcode_cli.server.client.connection import ServerUnusableError, as_agreed
from bigcode_cli.server.client.warm import Warm

if TYPE_CHECKING:
    from gpt_bigcode.completion.options import Completion, CompletionOptions, InfillOptions
    from gpt_bigcode.completion.text_model import CompletionStream, TextModel


class WarmTextModel:
    """The twin of the library's `TextModel`; what the server does not answer is computed here."""

    def __init__(
        self, warm: Warm, load: "Callable[[], TextModel]", *, cache: bool = True, exact: bool = True
    ) -> None:
        """Ask nothing yet.

        Args:
            warm: the server's model.
            load: loads the model here, if the server cannot be used.
            cache: let the server use and keep what it has computed of prompts.
            exact: want the bytes that are computed here; else what is kept counts to the token.
        """
        self._warm, self._load = warm, load
        self._reuse = {"cache": cache, "exact": exact}

    def complete(self, prompt: str, options: "CompletionOptions") -> "Completion":
        """Continue a text."""
        stream = self._ask("complete", {"prompt": prompt}, options)
        return stream.completion if stream else self._load().complete(prompt, options)

    def stream(self, prompt: str, options: "CompletionOptions") -> "CompletionStream | WarmStream":
        """Continue a text piece by piece."""
        stream = self._ask("complete", {"prompt": prompt}, options)
        return stream or self._load().stream(prompt, options)

    def infill(self, prefix: str, suffix: str, options: "InfillOptions") -> "Completion":
        """Fill a gap."""
        stream = self._ask("infill", {"prefix": prefix, "suffix": suffix}, options)
        return stream.completion if stream else self._load().infill(prefix, suffix, options)

    def stream_infill(
        self, prefix: str, suffix: str, options: "InfillOptions"
    ) -> "CompletionStream | WarmStream":
        """Fill a gap piece by piece."""
        stream = self._ask("infill", {"prefix": prefix, "suffix": suffix}, options)
        return stream or self._load().stream_infill(prefix, suffix, options)

    def _ask(
        self, job: str, fields: dict[str, Any], options: "CompletionOptions"
    ) -> "WarmStream | None":
        """Ask the server; None: it cannot be used, and nothing was written."""
        body = {**_body(options), **fields, **self._reuse}
        try:
            stream = WarmStream(self._warm.events(job, body), self._warm.name, self._warm.revision)
        except ServerUnusableError as error:
            self._warm.give_up(error)
            return None
        self._warm.note_used()
        return stream


def _body(options: "CompletionOptions") -> dict[str, Any]:
    """The fields of a request, from the library's options."""
    names = {"time_budget_seconds": "time_budget"}
    body = {names.get(name, name): value for name, value in vars(options).items()}
    files = [{"path": file.path, "text": file.text} for file in options.context_files]
    body |= {"context_files": files, "stop": list(options.stop)}
    return {name: value for name, value in body.items() if value is not None}


@dataclass(frozen=True)
class _Prompt:
    """What is told of a prompt before its answer."""

    ids: range
    dropped_tokens: int
    dropped_suffix_tokens: int
    dropped_context_tokens: int


class WarmStream:
    """An answer as it comes from the server; the twin of the library's `CompletionStream`."""

    def __init__(self, events: Iterator[dict[str, Any]], name: str, revision: str | None) -> None:
        """Wait until the first text is there.

        Raises:
            ServerUnusableError: it will not come.
        """
        self._events = events
        self._identity = {"model": name, "revision": revision}
        self._answer: dict[str, Any] = {}
        start = next(events)
        with as_agreed():
            self.prompt = _Prompt(
                range(start["prompt_tokens"]),
                start["dropped_prefix_tokens"],
                start["dropped_suffix_tokens"],
                start["dropped_context_tokens"],
            )
        self._first = self._next()

    def __iter__(self) -> Iterator[str]:
        """The text, piece by piece.

        Raises:
            Failure: the server has gone; what was written stays.
        """
        piece = self._first
        while piece is not None:
            yield piece
            try:
                piece = self._next()
            except ServerUnusableError as error:
                raise Failure("server", f"the answer is not complete: {error}") from None

    def close(self) -> None:
        """Want no more of it: the server ends its work."""
        close = getattr(self._events, "close", None)
        if close is not None:
            close()

    @property
    def completion(self) -> "Completion":
        """The whole answer."""
        for _ in self:
            pass
        try:
            with as_agreed():
                return _completion({**self._answer, **self._identity})
        except ServerUnusableError as error:
            raise Failure("server", str(error)) from None

    def _next(self) -> str | None:
        """The next piece of text; None at the end."""
        if self._answer:
            return None
        for event in self._events:
            with as_agreed():
                if event["event"] == "text":
                    text = str(event["text"])
                    text.encode()  # half of a surrogate pair is no text
                    return text
                self._answer = dict(event["answer"])
        return None


def _completion(answer: dict[str, Any]) -> "Completion":
    from gpt_bigcode.completion.options import Choice, Completion, Timings
    from gpt_bigcode.stopping.text_stop import FinishReason

    class Served(Completion):
        """An answer of a server."""

        def to_dict(self) -> dict[str, Any]:
            """The form of the contract, marked."""
            return {**super().to_dict(), "server": True}

    choices = tuple(
        Choice(**{**choice, "finish_reason": FinishReason(choice["finish_reason"])})
        for choice in answer["choices"]
    )
    rest = {name: value for name, value in answer.items() if name != "server"}
    timings = Timings(**answer["timings"])
    return Served(**{**rest, "choices": choices, "timings": timings})
