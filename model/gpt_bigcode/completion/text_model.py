"""TextModel: a checkpoint and its tokenizer, text in, completions out."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Self, Unpack

from gpt_bigcode.backends.interfaces import BlockDecoder, Decoder, StepDecoder
from gpt_bigcode.backends.select import open_decoder
from gpt_bigcode.completion.fim import Gap, build_infill_prompt
from gpt_bigcode.completion.options import CompletionOptions, InfillOptions, InfillOrder
from gpt_bigcode.completion.prompt import ModelSpace, Prompt, build_prompt
from gpt_bigcode.completion.results import Completion
from gpt_bigcode.completion.run import CompletionRun
from gpt_bigcode.errors import DraftMismatchError, InfillUnsupportedError, OptionError
from gpt_bigcode.generation.prefix_cache import PrefixDecoder
from gpt_bigcode.loading import LoadOptions, load_parts
from gpt_bigcode.tokenization.end_tokens import end_token_ids
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer


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
        self.end_ids: Collection[int] = tokenizer.control_ids  # any of them ends a text
        self.draft: StepDecoder | None = None  # a smaller model with the same tokenizer
        self.infill_order = InfillOrder.PSM  # what `InfillOptions` without an order mean

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
        decoder: Decoder = parts.engine
        if prefix_cache is not None and isinstance(decoder, BlockDecoder):
            decoder = PrefixDecoder.open(decoder, Path(prefix_cache), parts.folder)
        loaded = cls(
            decoder,
            parts.tokenizer,
            name=parts.name,
            revision=parts.revision,
            start_id=parts.tokenizer.start_id(parts.config),
            load_seconds=parts.seconds,
        )
        loaded.infill_order = InfillOrder.of(parts.config)
        loaded.end_ids = end_token_ids(parts.tokenizer, parts.config, parts.folder)
        if draft is not None:
            loaded._use_draft(draft)
        return loaded

    @property
    def reused_tokens(self) -> int:
        """How many tokens of the last prompt came from the prefix cache."""
        return self.decoder.reused_tokens if isinstance(self.decoder, PrefixDecoder) else 0

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
        gap = Gap(prefix=prefix, suffix=suffix)
        return self._prepare_infill(gap, options or InfillOptions()).finish()

    def stream_infill(
        self, prefix: str, suffix: str, options: InfillOptions | None = None
    ) -> "CompletionStream":
        """The same piece by piece; see `stream`."""
        gap = Gap(prefix=prefix, suffix=suffix)
        return CompletionStream(self._prepare_infill(gap, options or InfillOptions()))

    def _prepare(self, prompt: str, options: CompletionOptions) -> CompletionRun:
        built = build_prompt(self.tokenizer, prompt, options, self._space)
        return CompletionRun(self, built, options)

    def _prepare_infill(self, gap: Gap, options: InfillOptions) -> CompletionRun:
        if self.tokenizer.infill is None:
            raise InfillUnsupportedError(
                f"{self.name}: cannot infill: its tokenizer has no sentinel tokens",
                hint="use a model that was trained to infill, such as SantaCoder or StarCoder",
            )
        if options.until is None:
            options = replace(options, until=gap.scope)
        order = InfillOrder.parse(options.order or self.infill_order)
        prompt = build_infill_prompt(self.tokenizer, gap, options, self._space, order=order)
        return CompletionRun(self, prompt, options)

    @property
    def _space(self) -> ModelSpace:
        return ModelSpace(self.decoder.context_length, self.start_id)


class CompletionStream:
    """An iterator over the text; `completion` is there when it has ended."""

    def __init__(self, run: CompletionRun) -> None:
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
