"""From text to the ids that a model reads, within its context.

`<|endoftext|>` goes in front of a prompt that begins a document: the family was trained on
documents joined by it, so the first tokens of a document were always read after it. A prompt whose
beginning did not fit has none, as the windows of training that begin inside a document have none.
"""

from dataclasses import dataclass

from gpt_bigcode.completion.options import CompletionOptions
from gpt_bigcode.errors import ContextError
from gpt_bigcode.text_form import has_crlf, to_lf, without_mark
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer


@dataclass(frozen=True)
class ModelSpace:
    """What a model has room for.

    Attributes:
        context_length: the most tokens that it can hold.
        start_id: the token that begins a document.
    """

    context_length: int
    start_id: int

    def room(self, options: CompletionOptions) -> int:
        """Tokens that a prompt may have, files and control tokens included.

        Room is kept for the new tokens, but at most half of the context.
        """
        return self.context_length - min(options.max_tokens, self.context_length // 2)

    def require_truncation(
        self, options: CompletionOptions, what: str, tokens: int, room: int
    ) -> None:
        """Check that a text of too many tokens may be cut: `--no-truncate` refuses it.

        Raises:
            ContextError: it may not.
        """
        if not options.truncate:
            new = self.context_length - self.room(options)
            raise ContextError(
                f"{what} has {tokens} tokens, the model has room for {room} beside {new} new ones"
            )


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What the model reads.

    Attributes:
        ids: token ids, at least one.
        text: the prompt's text as the model reads it: no byte order mark, line ends as LF if CRLF
            was the dominant kind.
        crlf: whether it was; then what the model writes gets CRLF back.
        healed: the bytes of the last token, if it was taken off.
        before: the last bytes of text before the first new token; they may end inside a character
            if a token was taken off.
        suffix: the text after the cursor in the same form, when infilling.
        dropped_tokens: tokens of the prompt that did not fit (see `options.Completion`).
        dropped_suffix_tokens: the same for the text after the cursor.
        dropped_context_tokens: the same for the files.
    """

    ids: tuple[int, ...]
    text: str
    crlf: bool
    healed: bytes = b""
    before: bytes = b""
    suffix: str = ""
    dropped_tokens: int = 0
    dropped_suffix_tokens: int = 0
    dropped_context_tokens: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """Tokens that the model reads and that did not fit, by the names of a `Completion`."""
        return {
            "prompt_tokens": len(self.ids),
            "dropped_prefix_tokens": self.dropped_tokens,
            "dropped_suffix_tokens": self.dropped_suffix_tokens,
            "dropped_context_tokens": self.dropped_context_tokens,
        }


def build_prompt(
    tokenizer: CodeTokenizer, text: str, options: CompletionOptions, space: ModelSpace
) -> Prompt:
    """Lay out files and prompt; files get at most half the room, and only what the prompt leaves.

    Raises:
        ContextError: the prompt does not fit and may not be truncated.
        InputError: text that the tokenizer cannot hold.
    """
    text = without_mark(text)
    crlf = has_crlf(text)
    if crlf:
        text = to_lf(text)
    most = space.room(options)
    ids, dropped = tokenizer.encode_tail(text, most - 1)
    if dropped:
        space.require_truncation(options, "the prompt", len(ids) + dropped, most - 1)
    room = 0 if dropped else min(most // 2, most - 1 - len(ids))
    context, dropped_context = lay_out_context(tokenizer, options, room)
    start = [] if dropped and ids else [space.start_id]
    whole = [*start, *context, *ids]
    heal = options.heal and bool(ids) and len(whole) > 1
    healed = tokenizer.token_bytes(ids[-1]) if heal else b""
    return Prompt(
        ids=tuple(whole[:-1] if heal else whole),
        text=text,
        crlf=crlf,
        healed=healed,
        before=before_text(text, healed),
        dropped_tokens=dropped,
        dropped_context_tokens=dropped_context,
    )


def before_text(text: str, healed: bytes) -> bytes:
    """The last bytes of a text without those of a token that was taken off."""
    tail = text[-len(healed) - 4 :].encode("utf-8", "replace")
    return tail[: len(tail) - len(healed)][-4:]


def lay_out_context(
    tokenizer: CodeTokenizer, options: CompletionOptions, room: int
) -> tuple[list[int], int]:
    """Ids of the files in front of the prompt, and the number of tokens left out."""
    if not options.context_files:
        return [], 0
    from gpt_bigcode.completion.context_files import lay_out_files

    return lay_out_files(tokenizer, options, room)
