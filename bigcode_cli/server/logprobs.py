"""Tokens of prompts and answers with the logarithms of their probabilities, for `logprobs`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bigcode_cli.server.library import encode_raw

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bigcode_cli.server.engine.decoder import ServedDecoder

_CHUNK_TOKENS = 64


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What is to be listed.

    Attributes:
        top: how many of the likeliest tokens are named with each token.
        echo: the prompt's tokens too.
    """

    top: int
    echo: bool


def list_tokens(
    model: Any,
    decoder: "ServedDecoder",
    prompt: str | tuple[int, ...],
    options: dict[str, Any],
    listing: Listing,
) -> dict[str, Any]:
    """Write answers to a prompt and list the tokens.

    A prompt that is a text begins a document, so its first token has a probability too; one of
    token ids is read as it is, and its first token has none.

    Args:
        model: a `TextModel`.
        decoder: the request's own.
        prompt: the text, or token ids.
        options: max_tokens (0: nothing is written), samples, stop, seed and those of a sampler.
        listing: what is listed.

    Raises:
        ContextError, InputError: a prompt that does not fit, or is invalid.
    """
    from gpt_bigcode.errors import ContextError, InputError

    tokenizer = model.tokenizer
    is_text = isinstance(prompt, str)
    ids = list(encode_raw(tokenizer, prompt)) if isinstance(prompt, str) else list(prompt)
    start = [model.start_id] if is_text and not (ids and ids[0] == model.start_id) else []
    whole = [*start, *ids]
    if not whole or not 0 <= min(whole) <= max(whole) < decoder.vocabulary_size:
        raise InputError(f"token ids: not all in 0..{decoder.vocabulary_size - 1}")
    if len(whole) >= decoder.context_length:
        length = decoder.context_length
        raise ContextError(f"{len(whole)} tokens leave no room in a context of {length}")
    shown = _Shown(tokenizer, listing.top)
    if not listing.echo:
        shown.offset = len(tokenizer.decode_bytes(ids).decode("utf-8", "replace"))
    prompts = [] if start or not listing.echo else [shown.token(ids[0], None)]
    logits = decoder.prefill([whole[:1] if listing.echo else whole])
    if listing.echo:
        for begin in range(1, len(whole), _CHUNK_TOKENS):
            part = whole[begin : begin + _CHUNK_TOKENS]
            after = decoder.append(part)
            before = [logits[-1], *after[:-1]]
            prompts += [shown.token(one, row) for one, row in zip(part, before, strict=True)]
            logits = after
    choices = []
    for number in range(options.get("samples", 1)):
        decoder.truncate(len(whole))
        text = _Shown(tokenizer, listing.top, offset=shown.offset)
        choice = _write(model, decoder, logits[-1], text, {**options, "number": number})
        choices.append({**choice, "index": number, "prompt": prompts, "prompt_text": shown.text})
    return {"model": model.name, "prompt_tokens": len(whole), "choices": choices}


class _Shown:
    """Tokens as they are told, with their places in the text."""

    def __init__(self, tokenizer: Any, top: int, *, offset: int = 0) -> None:
        self.offset = offset
        self._bytes = bytearray()
        self._tokenizer, self._top = tokenizer, top

    @property
    def text(self) -> str:
        """All tokens so far."""
        return self._bytes.decode("utf-8", "replace")

    def token(self, token: int, logits: "NDArray[np.float32] | None") -> dict[str, Any]:
        """A token, and the logits that it was expected by; None: it was not."""
        from gpt_bigcode.generation.loop import log_probability

        offset = self.offset
        data = self._tokenizer.token_bytes(token)
        self._bytes += data
        self.offset += len(data.decode("utf-8", "replace"))
        logprob = None if logits is None else log_probability(logits, token)
        top = None if logits is None or not self._top else self._likeliest(logits)
        text = data.decode("utf-8", "replace")
        return {"id": token, "text": text, "logprob": logprob, "top": top, "offset": offset}

    def _likeliest(self, logits: "NDArray[np.float32]") -> dict[str, float]:
        from gpt_bigcode.generation.loop import log_probability

        best = [int(one) for one in (-logits).argsort(kind="stable")[: self._top]]
        named = ((self._tokenizer.token_bytes(one).decode("utf-8", "replace"), one) for one in best)
        found: dict[str, float] = {}
        for name, one in named:
            found.setdefault(name, log_probability(logits, one))
        return found


def _write(
    model: Any,
    decoder: "ServedDecoder",
    logits: "NDArray[np.float32]",
    shown: _Shown,
    options: dict[str, Any],
) -> dict[str, Any]:
    """One answer."""
    from gpt_bigcode.completion.options import CompletionOptions
    from gpt_bigcode.generation.loop import choose_token, row_generators
    from gpt_bigcode.stopping.text_stop import TextStop

    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    sampling = CompletionOptions(**{name: options[name] for name in names if name in options})
    sampler = sampling.sampler
    number = options["number"]
    generator = row_generators(options.get("seed"), number + 1)[number]
    stop = TextStop(options.get("stop", ()))
    room = decoder.context_length - 1
    tokens: list[dict[str, Any]] = []
    written: list[int] = []
    text, reason = "", "length"
    while len(written) < min(options["max_tokens"], room):
        token = choose_token(logits, written, sampler, generator).id
        if token in model.end_ids:
            reason = "stop"
            break
        written.append(token)
        tokens.append(shown.token(token, logits))
        text += stop.feed(model.tokenizer.token_bytes(token))
        if stop.reason is not None:
            reason = "stop"
            break
        if len(written) < options["max_tokens"]:
            logits = decoder.decode([token])[0]
    text += stop.close()
    return {
        "text": text,
        "tokens": tokens,
        "finish_reason": reason,
        "completion_tokens": len(written),
    }
