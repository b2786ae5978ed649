"""TextModel: a checkpoint and its tokenizer, text in, completions out."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Self, Unpack

from gpt_bigcode.backends.interfaces import BlockDecoder, Decoder, StepDecoder
from gpt_bigcode.completion.options import (
    Choice,
    Completion,
    CompletionOptions,
    InfillOptions,
    InfillOrder,
    Timings,
)
from gpt_bigcode.completion.prompt import ModelSpace, Prompt, build_prompt
from gpt_bigcode.errors import DraftMismatchError, InfillUnsupportedError, OptionError
from gpt_bigcode.generation.loop import GeneratedToken, Generation, Rule, Sampler
from gpt_bigcode.generation.speculative import look_ahead
from gpt_bigcode.generation.token_masks import FirstToken, Healing, LoopRule, Utf8Rule, Utf8Tokens
from gpt_bigcode.loading import LoadOptions, end_token_ids, load_parts, open_decoder
from gpt_bigcode.stopping.text_stop import FinishReason, Scope, TextStop
from gpt_bigcode.text_form import NewlineRestorer, to_lf
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

if TYPE_CHECKING:
    from gpt_bigcode.generation.prefix_cache import PrefixDecoder
    from gpt_bigcode.stopping.suffix import GapSides


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
        self.utf8_tokens = Utf8Tokens.of(tokenizer.spellings)
        self.name = name
        self.revision = revision
        self.start_id = tokenizer.end_of_text_id if start_id is None else start_id
        self.load_seconds = load_seconds
        self.end_ids: Collection[int] = tokenizer.control_ids  # any of them ends a text
        self.draft: StepDecoder | None = None  # a smaller model with the same tokenizer
        self.infill_order = InfillOrder.PSM  # what `InfillOptions` without an order mean
        self.typing_order = InfillOrder.SPM  # for an editor: a keystroke changes the end alone
        self._prefix_folders: tuple[Path, Path] | None = None  # of the cache and the checkpoint
        self._prefix_decoder: PrefixDecoder | None = None
        self._used_prefix: PrefixDecoder | None = None  # by the last prompt

    @classmethod
    def load(
        cls,
        model: str | PathLike[str],
        *,
        draft: "TextModel | None" = None,
        prefix_cache: str | PathLike[str] | None = None,
        **options: Unpack[LoadOptions],
    ) -> Self:
        """Load a model.

        Args:
            model: the name of a built-in model, or the folder of a checkpoint.
            draft: a smaller model with the same tokens, whose guesses this one checks.
            prefix_cache: a folder in which the beginnings of prompts are kept for the next time.
            options: see `LoadOptions`: name, revision, device, precision, threads, policy.

        Raises:
            CheckpointMissingError: no such model.
            ConfigError, CheckpointError, TokenizerError: its files.
            DraftMismatchError: the draft model has other tokens.
            DeviceError: a device or precision that is not available.
            OptionError: fewer than one thread.
            MemoryLimitError: the weights do not fit.
        """
        parts = load_parts(model, open_decoder, options)
        loaded = cls(
            parts.engine,
            parts.tokenizer,
            name=parts.name,
            revision=parts.revision,
            start_id=parts.tokenizer.start_id(parts.config),
            load_seconds=parts.seconds,
        )
        loaded.infill_order = InfillOrder.of(parts.config)
        loaded.typing_order = InfillOrder.of(parts.config, unsaid=InfillOrder.SPM)
        loaded.end_ids = end_token_ids(parts.tokenizer, parts.config, parts.folder)
        if prefix_cache is not None:
            loaded._prefix_folders = Path(prefix_cache), parts.folder
        if draft is not None:
            loaded._use_draft(draft)
        return loaded

    @property
    def reused_tokens(self) -> int:
        """How many tokens of the last prompt came from the prefix cache."""
        return self._used_prefix.reused_tokens if self._used_prefix is not None else 0

    def open_prefix(self, ids: Sequence[int]) -> "PrefixDecoder | None":
        """The decoder with the prefix cache, if a prompt is long enough to have a block there."""
        self._used_prefix, decoder = None, self.decoder
        if self._prefix_folders is None or not isinstance(decoder, BlockDecoder):
            return None
        if len(ids) > decoder.block_tokens:
            if self._prefix_decoder is None:
                from gpt_bigcode.generation.prefix_cache import PrefixDecoder

                self._prefix_decoder = PrefixDecoder.open(decoder, *self._prefix_folders)
            self._used_prefix = self._prefix_decoder
        return self._used_prefix

    def _use_draft(self, draft: "TextModel") -> None:
        ours, theirs = self.tokenizer, draft.tokenizer
        if ours.spellings != theirs.spellings or ours.special_ids != theirs.special_ids:
            raise DraftMismatchError(
                f"draft model {draft.name}: its tokenizer is not that of {self.name}",
                hint="a draft must have the model's tokens, as tiny_starcoder_py has StarCoder's",
            )
        if isinstance(draft.decoder, StepDecoder):
            self.draft = draft.decoder

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
            suffix: the text after it.
            options: see `InfillOptions`.

        Raises:
            InfillUnsupportedError: the model has no sentinels for infilling.
            ContextError, InputError, NonFiniteError: as for `complete`.
        """
        return self._prepare_infill(prefix, suffix, options or InfillOptions()).finish()

    def stream_infill(
        self, prefix: str, suffix: str, options: InfillOptions | None = None
    ) -> "CompletionStream":
        """The same piece by piece; see `stream`."""
        return CompletionStream(self._prepare_infill(prefix, suffix, options or InfillOptions()))

    def _prepare(self, prompt: str, options: CompletionOptions) -> "CompletionRun":
        built = build_prompt(self.tokenizer, prompt, options, self._space)
        return CompletionRun(self, built, options)

    def _prepare_infill(self, prefix: str, suffix: str, options: InfillOptions) -> "CompletionRun":
        from gpt_bigcode.completion.fim import Gap, build_infill_prompt

        gap = Gap(prefix=prefix, suffix=suffix)
        if options.until is None:
            options = replace(options, until=gap.scope)
        order = InfillOrder(options.order or self.infill_order)
        try:
            prompt = build_infill_prompt(self.tokenizer, gap, options, self._space, order=order)
        except InfillUnsupportedError as error:
            raise InfillUnsupportedError(f"{self.name}: {error}", hint=error.hint) from None
        return CompletionRun(self, prompt, options)

    @property
    def _space(self) -> ModelSpace:
        return ModelSpace(self.decoder.context_length, self.start_id)


class CompletionStream:
    """An iterator over the text; `completion` is there when it has ended."""

    def __init__(self, run: "CompletionRun") -> None:
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


class CompletionRun:
    """One request; iterate over `pieces`, then ask for the `completion`."""

    def __init__(self, model: TextModel, prompt: Prompt, options: CompletionOptions) -> None:
        self.model, self.prompt, self.options = model, prompt, options
        sampler = self._sampler()
        self._prefix = model.open_prefix(prompt.ids)
        decoder: Decoder = self._prefix or model.decoder
        self._ahead = None
        if options.speculate and options.samples == 1:
            self._ahead = look_ahead(decoder, sampler, options.max_tokens, draft=model.draft)
        self._generation = Generation(
            self._ahead or decoder,
            [prompt.ids] * options.samples,
            sampler=sampler,
            limits=options.limits,
            end_ids=model.end_ids,
            seed=options.seed,
        )
        gap = None
        if isinstance(options, InfillOptions) and options.trim:
            from gpt_bigcode.stopping.suffix import GapSides

            gap = GapSides.of(prompt.text, prompt.suffix)
        self._rows = [SampleText(prompt, options, gap) for _ in range(options.samples)]

    def finish(self) -> Completion:
        """The whole answer."""
        for _ in self.pieces():
            pass
        return self.completion()

    def _sampler(self) -> Sampler:
        prompt, sampler = self.prompt, self.options.sampler
        spellings = self.model.tokenizer.spellings
        rules: list[Rule] = [Utf8Rule(spellings, self.model.utf8_tokens, prompt.before)]
        rules.append(LoopRule(spellings))
        if not prompt.text and not prompt.suffix:
            rules.append(FirstToken(self.model.end_ids))
        if prompt.healed:
            rules.append(Healing(prompt.healed, spellings))
        return replace(sampler, rules=(*rules, *sampler.rules))

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
        if self._prefix is not None:
            self._prefix.save()  # now that all has been shown

    def completion(self) -> Completion:
        """What the rows hold."""
        generation = self._generation
        choices = tuple(self._choice(index, row) for index, row in enumerate(self._rows))
        return Completion(
            model=self.model.name,
            revision=self.model.revision,
            **self.prompt.counts,
            choices=choices,
            timings=Timings(
                load_seconds=self.model.load_seconds,
                prefill_seconds=generation.prefill_seconds,
                decode_seconds=generation.decode_seconds,
                **(self._ahead.counts if self._ahead else {}),
            ),
        )

    def _choice(self, index: int, row: "SampleText") -> Choice:
        choice = Choice(
            index=index,
            text="".join(row.shown),
            finish_reason=row.reason or self._generation.reasons[index] or FinishReason.TIME,
            completion_tokens=row.tokens,
            logprob=row.logprob,
        )
        floor = self.options.min_confidence
        return choice if floor is None or choice.confidence >= floor else replace(choice, text="")


class SampleText:
    """The text of one sample."""

    def __init__(self, prompt: Prompt, options: CompletionOptions, gap: "GapSides | None") -> None:
        stops: Sequence[str] = options.stop
        if prompt.crlf:
            stops = [to_lf(text) for text in stops]
        until = Scope(options.until or Scope.FILE)
        scope = overlap = None
        if until is not Scope.FILE:
            from gpt_bigcode.stopping.scope import ScopeRule

            scope = ScopeRule(until, prompt.text)
        if gap is not None:
            from gpt_bigcode.stopping.suffix import SuffixOverlap

            overlap = SuffixOverlap(gap)
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
