"""Which tokens are scored with which context, when a text is longer than the model's context."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gpt_bigcode.errors import ContextError, InputError, OptionError
from gpt_bigcode.windowing.document_stream import Window


class WindowMode(StrEnum):
    """How a long sequence is cut into windows.

    The first three read `<|endoftext|>` in front and score every token of the text exactly once.
    The last two read the text alone, as the programs do that they are called after.
    """

    STRIDED = "strided"
    """Every window scores `stride` more tokens; each of them sees context_length - stride or more
    before it, as soon as the text has that many."""
    DISJOINT = "disjoint"
    """A stride of the whole context: the rolling log-likelihood of lm-eval 0.4, whose last window
    reaches back to be full."""
    FULL = "full"
    """One window; a longer text is a ContextError."""
    HUGGINGFACE = "huggingface"
    """The strided loop of the page on perplexity in the documentation of transformers: windows
    begin at 0, stride, 2 * stride ...; the last one is short; the first token is not scored."""
    LLAMA = "llama"
    """llama.cpp's llama-perplexity: disjoint windows of which only the second half is scored; what
    is left after the last full one is dropped; at least two windows."""

    @property
    def reads_start(self) -> bool:
        """Whether `<|endoftext|>` is put in front of the text."""
        return self not in (WindowMode.HUGGINGFACE, WindowMode.LLAMA)


@dataclass(frozen=True, kw_only=True)
class ScoreWindows:
    """The windows of a text (see `document_stream.Windows`), all of whose used tokens are scored.

    Of a window the model reads all tokens but the last; so a window may have C + 1 tokens, and its
    first token has no value.

    Attributes:
        context_length: C, the most tokens that the model reads at once.
        mode: see `WindowMode`.
        stride: tokens that a window scores, 1 to C; only for strided (default: half of C) and
            huggingface (the same).
        start_id: the token in front of the text, for the modes that read one.

    Raises:
        OptionError: a stride out of range, or for a mode that has none.
    """

    context_length: int
    mode: WindowMode = WindowMode.STRIDED
    stride: int | None = None
    start_id: int = 0

    def __post_init__(self) -> None:
        if self.stride is None:
            return
        if self.mode not in (WindowMode.STRIDED, WindowMode.HUGGINGFACE):
            raise OptionError(f"stride: windows that are {self.mode} have none")
        if not 1 <= self.stride <= self.context_length:
            raise OptionError(
                f"stride: {self.stride} is not 1 to {self.context_length}, the model's context"
            )

    @property
    def step(self) -> int:
        """How many tokens a window after the first one scores; half a window for llama."""
        if self.mode in (WindowMode.DISJOINT, WindowMode.FULL):
            return self.context_length
        return self.stride or max(self.context_length // 2, 1)

    @property
    def start_ids(self) -> Sequence[int]:
        """See `document_stream.Windows`."""
        return (self.start_id,) if self.mode.reads_start else ()

    @property
    def history(self) -> int:
        """See `document_stream.Windows`."""
        return self.context_length

    def row(self, ids: Sequence[int]) -> Sequence[int]:
        """See `document_stream.Windows`."""
        return ids

    def next(self, before: Window | None, known: int, *, ended: bool) -> Window | None:
        """See `document_stream.Windows`.

        Raises:
            ContextError: mode full, and the text does not fit.
            InputError: mode llama, and it is too short.
        """
        done = 0 if before is None else before.stop
        match self.mode:
            case WindowMode.LLAMA:
                return self._half(done, known, ended=ended)
            case WindowMode.HUGGINGFACE:
                return self._forward(done, known, ended=ended)
            case _:
                return self._backward(done, known, ended=ended)

    def _backward(self, done: int, known: int, *, ended: bool) -> Window | None:
        """A window that ends where scoring ends and reaches back as far as it can."""
        context = self.context_length
        if self.mode is WindowMode.FULL and known - 1 > context:
            raise ContextError(
                f"the text has {'' if ended else 'at least '}{known - 1} tokens, the model reads "
                f"{context} at once",
                hint="--window strided scores texts of any length",
            )
        first = max(done, 1)
        stop = first + (self.step if done else context)
        if known <= first or (known < stop and not ended):
            return None
        if self.mode is WindowMode.FULL and not ended:
            return None
        stop = min(stop, known)
        return Window(max(stop - 1 - context, 0), stop, first, stop)

    def _forward(self, done: int, known: int, *, ended: bool) -> Window | None:
        """A window whose beginning is a multiple of the stride."""
        start = done - self.context_length + self.step if done else 0
        # A window that begins where the last one ended has nothing before its first token.
        first, stop = max(done, start + 1), start + self.context_length
        if known <= first or (known < stop and not ended):
            return None
        return Window(start, stop := min(stop, known), first, stop)

    def _half(self, done: int, known: int, *, ended: bool) -> Window | None:
        context = self.context_length
        if ended and known < 2 * context:
            raise InputError(f"the text has {known} tokens; two windows have {2 * context}")
        if known < done + context:
            return None
        stop = done + context
        return Window(done, stop, done + context // 2 + 1, stop)
