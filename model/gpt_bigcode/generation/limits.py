"""The ranges of what may be asked of a generation; imports nothing heavy."""

from dataclasses import dataclass
from math import isfinite

from gpt_bigcode.errors import OptionError

_HIGHEST_TEMPERATURE = 100.0
_HIGHEST_PENALTY = 100.0


@dataclass(frozen=True)
class Limits:
    """When to stop at the latest.

    Attributes:
        max_tokens: new tokens a row, at least 1.
        time_budget_seconds: wall-clock time from the start of the prefill. It is looked at between
            two steps, so the prompt is always read and the first token always written.

    Raises:
        OptionError: out of range.
    """

    max_tokens: int = 128
    time_budget_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise OptionError(f"max-tokens: {self.max_tokens} is not 1 or more")
        budget = self.time_budget_seconds
        if budget is not None and not (isfinite(budget) and budget > 0):
            raise OptionError(f"time-budget: {budget} is not a number of seconds above 0")


def check_sampling(
    *, temperature: float, top_k: int, top_p: float, min_p: float, repetition_penalty: float
) -> None:
    """Check the arguments of `Sampler.build`.

    Raises:
        OptionError: a value outside its range; it is named.
    """
    _check("temperature", temperature, 0 <= temperature <= _HIGHEST_TEMPERATURE, "0 to 100")
    _check("top-k", top_k, top_k >= 0, "0 or more")
    _check("top-p", top_p, 0 < top_p <= 1, "above 0, at most 1")
    _check("min-p", min_p, 0 <= min_p <= 1, "0 to 1")
    low_enough = 0 < repetition_penalty <= _HIGHEST_PENALTY
    _check("repetition-penalty", repetition_penalty, low_enough, "above 0, at most 100")


def _check(name: str, value: float, fits: bool, allowed: str) -> None:  # noqa: FBT001
    if not (isfinite(value) and fits):
        raise OptionError(f"{name}: {value} is not {allowed}")
