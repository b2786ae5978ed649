"""What a completion gives back: reasons, choices, counts and times; imports nothing heavy.

A client can read these types without loading NumPy.
"""

from dataclasses import asdict, dataclass
from math import exp
from typing import Any

from gpt_bigcode.stopping.finish_reason import FinishReason


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
        """The geometric mean of the tokens' probabilities; 1 if there are none."""
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
