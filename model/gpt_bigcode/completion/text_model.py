"""TextModel: a checkpoint and its tokenizer, text in, completions out.

Knows no argument, no file to complete and no terminal. `engines` chooses what computes, so that
PyTorch is imported only where it is needed.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import exp, isfinite
from pathlib import Path
from time import perf_counter
from typing import Self

from gpt_bigcode.backends.interfaces import Decoder, StepDecoder
from gpt_bigcode.backends.select import open_decoder
from gpt_bigcode.completion.fim import Gap, InfillOrder, build_infill_prompt
from gpt_bigcode.completion.prompt import ContextFile, Prompt, PromptLayout, build_prompt
from gpt_bigcode.completion.results import Choice, Completion, Timings
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import InfillUnsupportedError, OptionError
from gpt_bigcode.generation.loop import GeneratedToken, Generation, Limits
from gpt_bigcode.generation.sampling import Sampler
from gpt_bigcode.generation.speculative import look_ahead
from gpt_bigcode.generation.token_healing import Healing
from gpt_bigcode.hardware import LoadingPolicy
from gpt_bigcode.stopping.finish_reason import FinishReason
from gpt_bigcode.stopping.scope import Scope, ScopeRule
from gpt_bigcode.stopping.suffix import SuffixOverlap
from gpt_bigcode.stopping.text_stream import NewlineRestorer
from gpt_bigcode.stopping.watcher import TextStop
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

MAX_SAMPLES = 128
MAX_STOPS = 16
MAX_STOP_BYTES = 256


@dataclass(frozen=True, kw_only=True)
class CompletionOptions:
    """How to complete; everything has a default.

    Attributes:
        max_tokens: new tokens a sample, at least 1; also clamped to the room in the context.
        sampler: how tokens are chosen; greedy by default.
        seed: makes sampling repeatable; sample i is the same for any number of samples.
        stop: up to 16 texts of 1 to 256 bytes; the first to be complete ends the text before it.
        until: end with the scope at the cursor.
        time_budget_seconds: return what there is when the time is spent.
        samples: completions to write, 1 to 128, decoded as one batch.
        min_confidence: 0 to 1; a completion whose tokens' geometric mean probability
            (exp(logprob / tokens)) is below it comes back with an empty text.
        heal: let the model spell the prompt's last token anew (see `healing`).
        truncate: keep the text nearest the cursor when the prompt is too long; False: ContextError.
        context_files: other files of the repository, put before the prompt.
        path: where the prompt's own text comes from, relative to the repository; read only together
            with `context_files`.
        speculate: check several guessed tokens at once; the text is the same (`speculation`).

    Raises:
        OptionError: a value out of range; it is named.
    """

    max_tokens: int = 128
    sampler: Sampler = field(default_factory=Sampler)
    seed: int | None = None
    stop: tuple[str, ...] = ()
    until: Scope | None = None
    time_budget_seconds: float | None = None
    samples: int = 1
    min_confidence: float | None = None
    truncate: bool = True
    heal: bool = True
    context_files: tuple[ContextFile, ...] = ()
    path: str | None = None
    speculate: bool = True

    def __post_init__(self) -> None:
        _ = self.limits
        if self.until is not None:
            object.__setattr__(self, "until", Scope.parse(self.until))
        if not 1 <= self.samples <= MAX_SAMPLES:
            raise OptionError(f"samples: {self.samples} is not 1 to {MAX_SAMPLES}")
        if self.seed is not None and self.seed < 0:
            raise OptionError(f"seed: {self.seed} is not 0 or more")
        floor = self.min_confidence
        if floor is not None and not (isfinite(floor) and 0 <= floor <= 1):
            raise OptionError(f"min-confidence: {floor} is not 0 to 1")
        if len(self.stop) > MAX_STOPS:
            raise OptionError(f"stop: {len(self.stop)} texts, at most {MAX_STOPS} are allowed")
        for text in self.stop:
            size = len(text.encode("utf-8", "surrogatepass"))
            if not 1 <= size <= MAX_STOP_BYTES:
                raise OptionError(f"stop: a text of {size} bytes is not 1 to {MAX_STOP_BYTES}")

    @property
    def limits(self) -> Limits:
        """The limits that `Generation` keeps."""
        return Limits(self.max_tokens, self.time_budget_seconds)


@dataclass(frozen=True, kw_only=True)
class InfillOptions(CompletionOptions):
    """How to fill a gap: all that `CompletionOptions` has, and two choices more.

    Attributes:
        order: in which order the model reads prefix and suffix; None: the one that its config.json
            names, else PSM. `heal` matters for SPM alone.
        trim: end the text where the suffix begins (see `suffix_overlap.SuffixOverlap`).
    """

    order: InfillOrder | None = None
    trim: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order is not None:
            object.__setattr__(self, "order", InfillOrder.parse(self.order))


class TextModel:
    """A model that continues text."""

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: CodeTokenizer,
        *,
        name: str = "model",
        revision: str | None = None,
        start_id: int | None = None,
        load_seconds: float = 0.0,
    ) -> None:
        self.decoder = decoder
        self.tokenizer = tokenizer
        self.name = name
        self.revision = revision
        self.start_id = tokenizer.end_of_text_id if start_id is None else start_id
        self.load_seconds = load_seconds
        self.draft: StepDecoder | None = None  # a smaller model with the same tokenizer
        self.infill_order = InfillOrder.PSM  # what `InfillOptions` without an order mean

    @classmethod
    def load(
        cls,
        directory: Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        policy: LoadingPolicy | None = None,
    ) -> Self:
        """Read config.json, tokenizer.json and the weights of a directory.

        Args:
            directory: the checkpoint; its name becomes the model's (`name` may be set afterwards).
            device: auto, cpu, cuda or cuda:N.
            precision: auto, float32, bfloat16, float16, int8 or int4.
            threads: processor threads; default: see `threads.choose_threads`.
            policy: where quantized weights are kept, and who is told what was chosen.

        Raises:
            ConfigError, CheckpointError, TokenizerError: the directory's files.
            DeviceError: a device or precision that is not there.
            OptionError: fewer than one thread.
            MemoryLimitError: the weights do not fit.
        """
        started = perf_counter()
        directory = Path(directory)
        config = GPTBigCodeConfig.from_json_file(directory / "config.json")
        infill_order = InfillOrder.of(config)
        tokenizer = CodeTokenizer.from_file(directory / "tokenizer.json")
        tokenizer.validate_against(config)
        decoder = open_decoder(
            directory, config, device=device, precision=precision, threads=threads, policy=policy
        )
        model = cls(decoder, tokenizer, start_id=tokenizer.start_id(config))
        model.name, model.infill_order = directory.resolve().name, infill_order
        model.load_seconds = perf_counter() - started
        return model

    def complete(self, prompt: str, options: CompletionOptions | None = None) -> Completion:
        """Continue the text.

        Args:
            prompt: any text; empty starts a new document. Line ends of the dominant kind come back.
            options: see `CompletionOptions`.

        Raises:
            ContextError: the prompt does not fit and may not be truncated.
            InputError: text that the tokenizer cannot hold.
            NonFiniteError: the model computed NaN or infinity.
        """
        return self._prepare(prompt, options or CompletionOptions()).finish()

    def stream(self, prompt: str, options: CompletionOptions | None = None) -> "CompletionStream":
        """Continue the text piece by piece; joined, the pieces are what `complete` gives.

        With `min_confidence` the text comes in one piece at the end.

        Raises:
            OptionError: more than one sample; and as for `complete`.
        """
        return CompletionStream(self._prepare(prompt, options or CompletionOptions()))

    def infill(self, prefix: str, suffix: str, options: InfillOptions | None = None) -> Completion:
        """Write what belongs between two texts.

        Args:
            prefix: the text before the gap; it and the suffix may be empty.
            suffix: the text behind it.
            options: see `InfillOptions`.

        Raises:
            InfillUnsupportedError: the model has no sentinels for infilling.
            ContextError, InputError, NonFiniteError: as for `complete`.
        """
        gap = Gap(prefix=prefix, suffix=suffix)
        return self._prepare_infill(gap, options or InfillOptions()).finish()

    def stream_infill(
        self, prefix: str, suffix: str, options: InfillOptions | None = None
    ) -> "CompletionStream":
        """The same piece by piece; see `stream`."""
        gap = Gap(prefix=prefix, suffix=suffix)
        return CompletionStream(self._prepare_infill(gap, options or InfillOptions()))

    def _prepare(self, prompt: str, options: CompletionOptions) -> "_Run":
        return _Run(self, build_prompt(self.tokenizer, prompt, self._layout(options)), options)

    def _prepare_infill(self, gap: Gap, options: InfillOptions) -> "_Run":
        if self.tokenizer.infill is None:
            raise InfillUnsupportedError(
                f"{self.name}: cannot infill: its tokenizer has no sentinel tokens",
                hint="use a model that was trained to infill, such as SantaCoder or StarCoder",
            )
        layout = self._layout(options)
        order = options.order or self.infill_order
        prompt = build_infill_prompt(self.tokenizer, gap, layout, order=order)
        return _Run(self, prompt, options)

    def _layout(self, options: CompletionOptions) -> PromptLayout:
        return PromptLayout(
            context_length=self.decoder.context_length,
            max_tokens=options.max_tokens,
            start_id=self.start_id,
            truncate=options.truncate,
            heal=options.heal,
            files=options.context_files,
            path=options.path,
        )


class CompletionStream:
    """An iterator over the text; `completion` is there when it has ended."""

    def __init__(self, run: "_Run") -> None:
        if run.options.samples != 1:
            raise OptionError(f"samples: {run.options.samples} cannot be streamed, only 1")
        self._run = run
        self._pieces = (piece for _, piece in run.pieces())
        self._held = run.options.min_confidence is not None

    def __iter__(self) -> Iterator[str]:
        """Non-empty pieces of whole characters."""
        if self._held:
            for _ in self._pieces:
                pass
            text = self.completion.choices[0].text
            yield from [text] if text else []
        else:
            yield from self._pieces

    @property
    def prompt(self) -> Prompt:
        """What the model reads: counts of tokens and of what did not fit, known at once."""
        return self._run.prompt

    @property
    def completion(self) -> Completion:
        """The whole answer; before the end, what there is so far (its reason then is `time`)."""
        return self._run.completion()


class _Run:
    """One request on its way: token rows on one side, one text a row on the other."""

    def __init__(self, model: TextModel, prompt: Prompt, options: CompletionOptions) -> None:
        self.model, self.prompt, self.options = model, prompt, options
        sampler = self._sampler()
        ahead = options.speculate and options.samples == 1
        self._ahead = look_ahead(model, sampler, options.max_tokens) if ahead else None
        self._generation = Generation(
            self._ahead or model.decoder,
            [prompt.ids] * options.samples,
            sampler=sampler,
            limits=options.limits,
            end_ids=model.tokenizer.end_ids,
            seed=options.seed,
        )
        trim = isinstance(options, InfillOptions) and options.trim
        overlap = SuffixOverlap(prompt.text, prompt.suffix) if trim else None
        self._rows = [_Row(prompt, options, deepcopy(overlap)) for _ in range(options.samples)]

    def finish(self) -> Completion:
        """The whole answer."""
        for _ in self.pieces():
            pass
        return self.completion()

    def _sampler(self) -> Sampler:
        sampler = self.options.sampler
        if not self.prompt.healed:
            return sampler
        healing = Healing(self.prompt.healed, self.model.tokenizer.spellings)
        return replace(sampler, rules=(healing, *sampler.rules))

    def pieces(self) -> Iterator[tuple[int, str]]:
        """(row, text that may be shown now); ends with what was held back."""
        for step in self._generation:
            for token in step:
                row = self._rows[token.row]
                piece = row.add(token, self.model.tokenizer.token_bytes(token.id))
                if row.reason is not None:
                    self._generation.finish(token.row, row.reason)
                if piece:
                    yield token.row, piece
        for index, row in enumerate(self._rows):
            piece = row.close()
            if piece:
                yield index, piece

    def completion(self) -> Completion:
        """What the rows hold."""
        generation = self._generation
        choices = tuple(self._choice(index, row) for index, row in enumerate(self._rows))
        return Completion(
            model=self.model.name,
            revision=self.model.revision,
            prompt_tokens=len(self.prompt.ids),
            dropped_prefix_tokens=self.prompt.dropped_tokens,
            dropped_suffix_tokens=self.prompt.dropped_suffix_tokens,
            dropped_context_tokens=self.prompt.dropped_context_tokens,
            choices=choices,
            timings=Timings(
                load_seconds=self.model.load_seconds,
                prefill_seconds=generation.prefill_seconds,
                decode_seconds=generation.decode_seconds,
                **(self._ahead.counts if self._ahead else {}),
            ),
        )

    def _choice(self, index: int, row: "_Row") -> Choice:
        floor = self.options.min_confidence
        unsure = floor is not None and row.tokens > 0 and exp(row.logprob / row.tokens) < floor
        return Choice(
            index=index,
            text="" if unsure else "".join(row.shown),
            finish_reason=row.reason or self._generation.reasons[index] or FinishReason.TIME,
            completion_tokens=row.tokens,
            logprob=row.logprob,
        )


class _Row:
    """The text of one sample."""

    def __init__(
        self, prompt: Prompt, options: CompletionOptions, overlap: SuffixOverlap | None
    ) -> None:
        stops: Sequence[str] = options.stop
        if prompt.crlf:
            stops = [text.replace("\r\n", "\n") for text in stops]
        whole = options.until in (None, Scope.FILE)
        scope = None if options.until is None or whole else ScopeRule(options.until, prompt.text)
        self._text = TextStop(stops, scope, overlap)
        self._newlines = NewlineRestorer(crlf=prompt.crlf)
        self._known_bytes = len(prompt.healed)
        self.shown: list[str] = []
        self.tokens = 0
        self.logprob = 0.0

    @property
    def reason(self) -> FinishReason | None:
        """Why the text ended, if the text itself ended it."""
        return self._text.reason

    def add(self, token: GeneratedToken, data: bytes) -> str:
        """Count a token; returns what may be shown now."""
        self.tokens += 1
        self.logprob += token.logprob
        known = min(self._known_bytes, len(data))
        self._known_bytes -= known
        return self._show(self._newlines.feed(self._text.feed(data[known:])))

    def close(self) -> str:
        """The text is over; returns what was held back."""
        return self._show(self._newlines.feed(self._text.close()) + self._newlines.close())

    def _show(self, piece: str) -> str:
        if piece:
            self.shown.append(piece)
        return piece
