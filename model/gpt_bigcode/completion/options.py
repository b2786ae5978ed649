"""What callers may ask of a completion: one frozen dataclass that the whole library reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Self, TypedDict

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import ConfigError, OptionError
from gpt_bigcode.generation.limits import Limits, check_sampling
from gpt_bigcode.stopping.scope import Scope

if TYPE_CHECKING:
    from gpt_bigcode.generation.sampling import Sampler

MAX_STOPS = 16
MAX_STOP_BYTES = 256
MAX_SAMPLES = 128
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
    def parse(cls, name: str) -> Self:
        """The order of that name.

        Raises:
            OptionError: there is none.
        """
        try:
            return cls(name)
        except ValueError:
            raise OptionError(f"order: {name!r} is not one of {', '.join(cls)}") from None

    @classmethod
    def of(cls, config: GPTBigCodeConfig) -> Self:
        """The order that a checkpoint fills best in, by its config.json; PSM if it says none.

        Raises:
            ConfigError: it says something else.
        """
        field: object = config.extra.get(FIELD, {})
        name = field.get("order", cls.PSM) if isinstance(field, Mapping) else None
        if name not in tuple(cls):
            raise ConfigError(f'config.json: {FIELD}: not {{"order": "psm"}} or "spm"')
        return cls(name)


class _Sampling(TypedDict):
    """The arguments of `Sampler.build`."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float


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
        heal: let the model write the prompt's last token again (see `token_healing`).
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
        _ = self.limits
        check_sampling(**self._sampling)
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

    @property
    def sampler(self) -> "Sampler":
        """How tokens are chosen."""
        from gpt_bigcode.generation.sampling import Sampler  # NumPy is needed for no option

        return Sampler.build(**self._sampling)

    @property
    def _sampling(self) -> "_Sampling":
        return {
            "temperature": self.temperature,
            "top_k": self.top_k,
            "top_p": self.top_p,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
        }

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
            object.__setattr__(self, "order", InfillOrder.parse(self.order))
