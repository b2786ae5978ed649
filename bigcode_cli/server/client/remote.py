"""Completions from a remote engine; prompts are built here, of token ids if possible."""

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.framework.output import Notes
from bigcode_cli.models.resolve import Found
from bigcode_cli.server.client.engine import Engine, RefusedPromptError

if TYPE_CHECKING:
    from gpt_bigcode.completion.options import Completion, CompletionOptions, InfillOptions
    from gpt_bigcode.completion.prompt import Prompt


class RemoteTextModel:
    """The twin of the library's `TextModel`: a tokenizer here, the weights elsewhere."""

    def __init__(self, url: str, found: Found, notes: Notes) -> None:
        """Read the tokenizer.

        Raises:
            Failure, GPTBigCodeError: the folder has none, or the server does not answer.
            UsageFailure: the URL is invalid.
        """
        self._engine = Engine(url)
        self._config, self._tokenizer = read_model(found.directory)
        self.name, self.revision = found.name, found.revision
        self._served = self._engine.model_name(found.name)
        notes.detail(f"asking {url} for {self._served}")

    def complete(self, prompt: str, options: "CompletionOptions") -> "Completion":
        """Continue a text."""
        return self._written(self._prompt(prompt, options), options).completion

    def stream(self, prompt: str, options: "CompletionOptions") -> "RemoteStream":
        """Continue a text piece by piece."""
        return self._written(self._prompt(prompt, options), options)

    def infill(self, prefix: str, suffix: str, options: "InfillOptions") -> "Completion":
        """Fill a gap."""
        return self.stream_infill(prefix, suffix, options).completion

    def stream_infill(self, prefix: str, suffix: str, options: "InfillOptions") -> "RemoteStream":
        """Fill a gap piece by piece."""
        from dataclasses import replace

        from gpt_bigcode.completion.fim import Gap, build_infill_prompt
        from gpt_bigcode.completion.options import InfillOrder

        gap = Gap(prefix=prefix, suffix=suffix)
        options = replace(options, heal=False, until=options.until or gap.scope)
        order = InfillOrder(options.order or InfillOrder.of(self._config))
        prompt = build_infill_prompt(self._tokenizer, gap, options, self._space, order=order)
        return self._written(prompt, options)

    @property
    def _space(self) -> Any:
        from gpt_bigcode.completion.prompt import ModelSpace

        return ModelSpace(self._config.n_positions, self._tokenizer.start_id(self._config))

    def _prompt(self, prompt: str, options: "CompletionOptions") -> "Prompt":
        from dataclasses import replace

        from gpt_bigcode.completion.prompt import build_prompt

        # An engine elsewhere cannot be made to write a token's beginning again.
        return build_prompt(self._tokenizer, prompt, replace(options, heal=False), self._space)

    def _written(self, prompt: "Prompt", options: "CompletionOptions") -> "RemoteStream":
        if options.min_confidence is not None:
            raise UsageFailure("--min-confidence: a remote engine tells no probabilities")
        body = {**_body(options), "model": self._served}
        try:
            ids = {**body, "prompt": list(prompt.ids)}
            return RemoteStream(self, self._engine, ids, prompt, options)
        except RefusedPromptError:
            text = self._spelled(prompt)
        try:
            return RemoteStream(self, self._engine, {**body, "prompt": text}, prompt, options)
        except RefusedPromptError as error:
            raise Failure("server", f"{self._engine.url}: {error}") from None

    def _spelled(self, prompt: "Prompt") -> str:
        """A prompt as text, for a server that takes no token ids.

        Raises:
            Failure: text of the user spells a control token, which the server would read as one.
        """
        names = {token: name for name, token in self._tokenizer.special_ids.items()}
        parts: list[bytes] = []
        plain = b""
        for token in prompt.ids:
            if token in names:
                parts.append(names[token].encode())
                plain += b"\0"
            else:
                parts.append(self._tokenizer.token_bytes(token))
                plain += parts[-1]
        spelled = [name for name in names.values() if name.encode() in plain]
        if spelled:
            why = f"the text spells the control token {spelled[0]}"
            hint = "use a server that takes token ids, such as vLLM or bigcode serve"
            raise Failure("server-text-only", f"{self._engine.url}: {why}", hint=hint)
        return b"".join(parts).decode("utf-8", "replace")


def _body(options: "CompletionOptions") -> dict[str, Any]:
    """The options by OpenAI's names; those that only some servers have are sent if they are set."""
    body: dict[str, Any] = {
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        "n": options.samples,
    }
    extras = {
        "top_p": (options.top_p, 1.0),
        "top_k": (options.top_k, 0),
        "min_p": (options.min_p, 0.0),
        "repetition_penalty": (options.repetition_penalty, 1.0),
        "seed": (options.seed, None),
    }
    return body | {name: value for name, (value, usual) in extras.items() if value != usual}


class RemoteStream:
    """An answer as it comes; stops, scopes and the text after the gap are watched for here."""

    def __init__(
        self,
        model: RemoteTextModel,
        engine: Engine,
        body: dict[str, Any],
        prompt: "Prompt",
        options: "CompletionOptions",
    ) -> None:
        """Send the request and wait for its first event.

        Raises:
            RefusedPromptError: the server does not take the prompt in this form.
            Failure: there is no answer.
        """
        from gpt_bigcode.completion.options import InfillOptions
        from gpt_bigcode.completion.text_model import SampleText
        from gpt_bigcode.stopping.suffix import GapSides

        self.prompt = prompt
        self._model, self._options = model, options
        trim = isinstance(options, InfillOptions) and options.trim
        gap = GapSides.of(prompt.text, prompt.suffix) if trim else None
        self._texts = [SampleText(prompt, options, gap) for _ in range(options.samples)]
        self._reasons: list[str | None] = [None] * options.samples
        self._began = perf_counter()
        self._events, self._url = engine.stream(body), engine.url
        self._first = next(self._events, None)
        self._first_seconds = perf_counter() - self._began
        self._pieces = self._run()

    def __iter__(self) -> Iterator[str]:
        """The text of the only choice, piece by piece."""
        return (piece for _, piece in self._pieces)

    @property
    def completion(self) -> "Completion":
        """The whole answer."""
        from gpt_bigcode.completion.options import Choice, Completion, Timings
        from gpt_bigcode.stopping.text_stop import FinishReason

        for _ in self._pieces:
            pass
        choices = tuple(
            Choice(
                index=index,
                text="".join(text.shown),
                finish_reason=text.reason or FinishReason(self._reasons[index] or "time"),
                completion_tokens=text.tokens,
                logprob=text.logprob,
            )
            for index, text in enumerate(self._texts)
        )
        seconds = perf_counter() - self._began - self._first_seconds
        return Completion(
            model=self._model.name,
            revision=self._model.revision,
            **self.prompt.counts,
            choices=choices,
            timings=Timings(
                load_seconds=0.0, prefill_seconds=self._first_seconds, decode_seconds=seconds
            ),
        )

    def _run(self) -> Iterator[tuple[int, str]]:
        event = self._first
        budget = self._options.time_budget_seconds
        while event is not None:
            yield from self._take(event)
            late = budget is not None and perf_counter() - self._began > budget
            if late or all(self._is_done(index) for index in range(len(self._texts))):
                break
            event = next(self._events, None)
        self._events.close()  # type: ignore[attr-defined]  # a generator
        for index, text in enumerate(self._texts):
            if piece := text.close():
                yield index, piece

    def _is_done(self, index: int) -> bool:
        return self._texts[index].reason is not None or self._reasons[index] is not None

    def _take(self, event: dict[str, Any]) -> Iterator[tuple[int, str]]:
        from gpt_bigcode.generation.loop import GeneratedToken

        for index, text, reason in self._choices(event):
            if not 0 <= index < len(self._texts) or self._is_done(index):
                continue
            if text:  # a piece counts as a token: a server tells no more
                token = GeneratedToken(index, 0, 0.0)
                if piece := self._texts[index].add(token, text.encode()):
                    yield index, piece
            if reason is not None:
                self._reasons[index] = "length" if reason == "length" else "stop"

    def _choices(self, event: dict[str, Any]) -> Iterator[tuple[int, str, Any]]:
        """Index, text and reason of the end of each choice of an event.

        Raises:
            Failure: the engine speaks of something else than completions.
        """
        choices = event.get("choices") or []
        if not isinstance(choices, list) or not all(isinstance(one, dict) for one in choices):
            raise self._failure()
        for choice in choices:
            reason = choice.get("finish_reason")
            index, text = choice.get("index") or 0, choice.get("text")
            if text is None and reason is not None:
                text = ""
            if not isinstance(index, int) or not isinstance(text, str):
                raise self._failure()
            yield index, text, reason

    def _failure(self) -> Failure:
        hint = "an engine with OpenAI's completions is needed; that of chats is another one"
        return Failure("server", f"{self._url}: its answer is no completion", hint=hint)


def read_model(directory: Path) -> tuple[Any, Any]:
    """Configuration and tokenizer of a model; its weights are not needed."""
    from gpt_bigcode.config import GPTBigCodeConfig
    from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

    config = GPTBigCodeConfig.from_json_file(directory / "config.json")
    tokenizer = CodeTokenizer.from_file(directory / "tokenizer.json")
    tokenizer.validate_against(config)
    return config, tokenizer
