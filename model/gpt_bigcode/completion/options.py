"""What callers ask of a completion (`CompletionOptions`) and what they get back (`Completion`).

The ranges of all options are checked here, once. Imports nothing heavy: a client of a server reads
these types without loading NumPy.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import exp, inf
from typing import TYPE_CHECKING, Any, Self, TypeVar

from gpt_bigcode.errors import ConfigError, OptionError
from gpt_bigcode.stopping.text_stop import FinishReason, Scope

if TYPE_CHECKING:
    from gpt_bigcode.config import GPTBigCodeConfig
    from gpt_bigcode.generation.loop import Limits, Sampler

Names = TypeVar("Names", bound=StrEnum)

MAX_STOPS = 16
MAX_STOP_BYTES = 256
MAX_SAMPLES = 128
MAX_TEMPERATURE = MAX_PENALTY = 100.0
FIELD = "infilling"
"""The object in config.json."""


class InfillOrder(StrEnum):
    """In which order the model reads what surrounds the gap.

    PSM: `<fim_prefix>` P `<fim_suffix>` S `<fim_middle>`.
    SPM: `<fim_prefix>` `<fim_suffix>` S `<fim_middle>` P, the second variant of the training.
    """

    PSM = "psm"
    SPM = "spm"

    @classmethod
    def of(cls, config: "GPTBigCodeConfig", *, unsaid: "InfillOrder | None" = None) -> Self:
        """The order that a checkpoint fills best in, by its config.json.

        Args:
            config: of the checkpoint.
            unsaid: the order if it says none; None: PSM.

        Raises:
            ConfigError: it says something else.
        """
        field: object = config.extra.get(FIELD, {})
        name = field.get("order", unsaid or cls.PSM) if isinstance(field, Mapping) else None
        if name not in tuple(cls):
            raise ConfigError(f'config.json: {FIELD}: not {{"order": "psm"}} or "spm"')
        return cls(name)


def _parse(kind: type[Names], name: str, *, option: str) -> Names:
    """The member of an enum by its name.

    Raises:
        OptionError: no such name; the message lists the option and all names.
    """
    try:
        return kind(name)
    except ValueError:
        raise OptionError(f"{option}: {name!r} is not one of {', '.join(kind)}") from None


@dataclass(frozen=True)
class ContextFile:
    """Another file of the repository: its path relative to it, and its text."""

    path: str
    text: str


@dataclass(frozen=True, kw_only=True)
class CompletionOptions:
    """How to complete; everything has a default.

    Attributes:
        max_tokens: new tokens, at least 1; also clamped to the room in the context.
        temperature: 0 takes the best token, whatever the filters say; at most 100.
        top_k: draw from the k likeliest tokens; 0: from all.
        top_p: draw from the fewest tokens that hold this share, above 0 to 1.
        min_p: leave out tokens below this share of the likeliest one's probability, 0 to 1.
        repetition_penalty: above 0 to 100; 1 changes nothing.
        seed: makes sampling repeatable; sample i is the same for any number of samples.
        stop: up to 16 texts of 1 to 256 bytes; the first to be complete ends the text before it.
        until: end with the scope at the cursor; None: with the text, or, for a gap, with what it
            lies in (see `InfillOptions`).
        time_budget_seconds: return what there is when the time is spent.
        samples: completions to write, 1 to 128, decoded as one batch.
        min_confidence: 0 to 1; a completion whose tokens' geometric mean probability
            (exp(logprob / tokens)) is below it comes back with an empty text.
        truncate: keep the text nearest the cursor when the prompt is too long; False: ContextError.
        heal: let the model write the prompt's last token again (see `token_masks.Healing`).
        context_files: other files of the repository, put before the prompt; the last one is nearest
            to it.
        path: where the prompt's own text comes from, relative to the repository; read only together
            with `context_files`.
        speculate: check several guessed tokens at once; the text is the same (see `speculative`).

    Raises:
        OptionError: a value out of range; it is named.
    """

    max_tokens: int = 128
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    until: Scope | str | None = None
    time_budget_seconds: float | None = None
    samples: int = 1
    min_confidence: float | None = None
    truncate: bool = True
    heal: bool = True
    context_files: tuple[ContextFile, ...] = ()
    path: str | None = None
    speculate: bool = True

    def __post_init__(self) -> None:
        self._check_ranges()
        if self.until is not None:
            object.__setattr__(self, "until", _parse(Scope, self.until, option="until"))
        if len(self.stop) > MAX_STOPS:
            raise OptionError(f"stop: {len(self.stop)} texts, at most {MAX_STOPS} are allowed")
        for text in self.stop:
            size = len(text.encode("utf-8", "surrogatepass"))
            if not 1 <= size <= MAX_STOP_BYTES:
                raise OptionError(f"stop: a text of {size} bytes is not 1 to {MAX_STOP_BYTES}")

    def _check_ranges(self) -> None:
        budget, seed, floor = self.time_budget_seconds, self.seed, self.min_confidence
        penalty, seconds = self.repetition_penalty, "a number of seconds above 0"
        allowed = {
            "max-tokens": (self.max_tokens, self.max_tokens >= 1, "1 or more"),
            "time-budget": (budget, budget is None or 0 < budget < inf, seconds),
            "temperature": (self.temperature, 0 <= self.temperature <= MAX_TEMPERATURE, "0 to 100"),
            "top-k": (self.top_k, self.top_k >= 0, "0 or more"),
            "top-p": (self.top_p, 0 < self.top_p <= 1, "above 0, at most 1"),
            "min-p": (self.min_p, 0 <= self.min_p <= 1, "0 to 1"),
            "repetition-penalty": (penalty, 0 < penalty <= MAX_PENALTY, "above 0, at most 100"),
            "samples": (self.samples, 1 <= self.samples <= MAX_SAMPLES, f"1 to {MAX_SAMPLES}"),
            "seed": (seed, seed is None or seed >= 0, "0 or more"),
            "min-confidence": (floor, floor is None or 0 <= floor <= 1, "0 to 1"),
        }
        for name, (value, fits, values) in allowed.items():
            if not fits:
                raise OptionError(f"{name}: {value} is not {values}")

    @property
    def limits(self) -> "Limits":
        """The limits that `Generation` keeps."""
        from gpt_bigcode.generation.loop import Limits  # NumPy is needed for no option

        return Limits(self.max_tokens, self.time_budget_seconds)

    @property
    def sampler(self) -> "Sampler":
        """How tokens are chosen."""
        from gpt_bigcode.generation.loop import Sampler

        if self.temperature == 0 and self.repetition_penalty == 1:
            return Sampler()
        from gpt_bigcode.generation.sampling import build_sampler

        return build_sampler(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
        )

    @property
    def samples_are_alike(self) -> bool:
        """Whether several samples were asked for that must all be the same text."""
        return self.samples > 1 and self.temperature == 0

    @property
    def unused_sampling(self) -> tuple[str, ...]:
        """Names of options that were set and change nothing, because nothing is drawn."""
        if self.temperature > 0:
            return ()
        values = {
            "top-k": self.top_k != 0,
            "top-p": self.top_p != 1,
            "min-p": self.min_p != 0,
            "seed": self.seed is not None,
        }
        return tuple(name for name, is_set in values.items() if is_set)


@dataclass(frozen=True, kw_only=True)
class InfillOptions(CompletionOptions):
    """How to fill a gap: all that `CompletionOptions` has, and two choices more.

    Without `until`, a gap inside a line ends with the line, and one on a line of its own with the
    block; `Scope.FILE` lets the model decide.

    Attributes:
        order: in which order the model reads prefix and suffix; None: the one that its config.json
            names, else PSM. `heal` matters for SPM alone.
        trim: end the text where the suffix begins (see `suffix.SuffixOverlap`).
    """

    order: InfillOrder | str | None = None
    trim: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order is not None:
            object.__setattr__(self, "order", _parse(InfillOrder, self.order, option="order"))


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One completion.

    Attributes:
        index: which sample.
        text: the text, without stop texts and end tokens; empty is a valid answer.
        finish_reason: why it ended.
        completion_tokens: what the model wrote, cut text included, the end token not.
        logprob: natural log of the probability of these tokens under the model's own distribution
            (temperature and filters left aside).
    """

    index: int
    text: str
    finish_reason: FinishReason
    completion_tokens: int
    logprob: float

    @property
    def confidence(self) -> float:
        """The geometric mean of the tokens' probabilities; 1 for an empty text."""
        return exp(self.logprob / self.completion_tokens) if self.completion_tokens else 1.0


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Wall-clock times, in seconds, and how many guesses were checked and right.

    Loading counts once per model. Guesses save time and change no text (see `speculative`).
    """

    load_seconds: float
    prefill_seconds: float
    decode_seconds: float
    drafted_tokens: int = 0
    accepted_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Completion:
    """The answer to one prompt; `to_dict` has the form of the tool's JSON.

    Attributes:
        model: the model's name.
        revision: its revision, if it has one.
        prompt_tokens: tokens that the model read, control tokens and context files included.
        dropped_prefix_tokens: tokens of the prompt that did not fit. Counted exactly for prompts of
            up to 256 Ki characters, beyond that estimated from the part that was tokenized.
        dropped_suffix_tokens: the same for the text after the cursor.
        dropped_context_tokens: the same for context files.
        choices: one for every sample, in order.
        timings: see `Timings`.
    """

    model: str
    revision: str | None = None
    prompt_tokens: int
    dropped_prefix_tokens: int = 0
    dropped_suffix_tokens: int = 0
    dropped_context_tokens: int = 0
    choices: tuple[Choice, ...]
    timings: Timings

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and text, in the order of the fields."""
        values = asdict(self)
        values["choices"] = [
            choice | {"finish_reason": str(choice["finish_reason"])} for choice in values["choices"]
        ]
        return values
