"""One request on its way: token rows on one side, the text of each sample on the other."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from math import exp
from typing import Protocol

from gpt_bigcode.backends.interfaces import Decoder, StepDecoder
from gpt_bigcode.completion.options import CompletionOptions, InfillOptions
from gpt_bigcode.completion.prompt import Prompt
from gpt_bigcode.completion.results import Choice, Completion, Timings
from gpt_bigcode.generation.first_token import FirstToken
from gpt_bigcode.generation.loop import GeneratedToken, Generation
from gpt_bigcode.generation.loop_rule import LoopRule
from gpt_bigcode.generation.prefix_cache import PrefixDecoder
from gpt_bigcode.generation.sampling import Rule, Sampler
from gpt_bigcode.generation.speculative import look_ahead
from gpt_bigcode.generation.token_healing import Healing
from gpt_bigcode.generation.utf8_rule import Utf8Rule
from gpt_bigcode.line_ends import NewlineRestorer, to_lf
from gpt_bigcode.stopping.finish_reason import FinishReason
from gpt_bigcode.stopping.scope import Scope, ScopeRule
from gpt_bigcode.stopping.suffix import GapSides, SuffixOverlap
from gpt_bigcode.stopping.watcher import TextStop
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer


class Completing(Protocol):
    """The parts of a `TextModel` that a request needs."""

    decoder: Decoder
    draft: StepDecoder | None
    tokenizer: CodeTokenizer
    name: str
    revision: str | None
    end_ids: Collection[int]
    load_seconds: float


class CompletionRun:
    """One request; iterate over `pieces`, then ask for the `completion`."""

    def __init__(self, model: Completing, prompt: Prompt, options: CompletionOptions) -> None:
        self.model, self.prompt, self.options = model, prompt, options
        sampler = self._sampler()
        ahead = options.speculate and options.samples == 1
        self._ahead = look_ahead(model, sampler, options.max_tokens) if ahead else None
        self._generation = Generation(
            self._ahead or model.decoder,
            [prompt.ids] * options.samples,
            sampler=sampler,
            limits=options.limits,
            end_ids=model.end_ids,
            seed=options.seed,
        )
        trim = isinstance(options, InfillOptions) and options.trim
        gap = GapSides.of(prompt.text, prompt.suffix) if trim else None
        self._rows = [SampleText(prompt, options, gap) for _ in range(options.samples)]

    def finish(self) -> Completion:
        """The whole answer."""
        for _ in self.pieces():
            pass
        return self.completion()

    def _sampler(self) -> Sampler:
        tokenizer, prompt, sampler = self.model.tokenizer, self.prompt, self.options.sampler
        rules: list[Rule] = [Utf8Rule(tokenizer.spellings, tokenizer.utf8, prompt.before)]
        rules.append(LoopRule(tokenizer.spellings))
        if not prompt.text and not prompt.suffix:
            rules.append(FirstToken(self.model.end_ids))
        if prompt.healed:
            rules.append(Healing(prompt.healed, tokenizer.spellings))
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
        if isinstance(self.model.decoder, PrefixDecoder):
            self.model.decoder.save()  # now that all has been shown

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

    def _choice(self, index: int, row: "SampleText") -> Choice:
        floor = self.options.min_confidence
        unsure = floor is not None and row.tokens > 0 and exp(row.logprob / row.tokens) < floor
        return Choice(
            index=index,
            text="" if unsure else "".join(row.shown),
            finish_reason=row.reason or self._generation.reasons[index] or FinishReason.TIME,
            completion_tokens=row.tokens,
            logprob=row.logprob,
        )


class SampleText:
    """The text of one sample."""

    def __init__(self, prompt: Prompt, options: CompletionOptions, gap: GapSides | None) -> None:
        stops: Sequence[str] = options.stop
        if prompt.crlf:
            stops = [to_lf(text) for text in stops]
        until = Scope.parse(options.until or Scope.FILE)
        scope = None if until is Scope.FILE else ScopeRule(until, prompt.text)
        self._text = TextStop(stops, scope, SuffixOverlap(gap) if gap else None)
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
