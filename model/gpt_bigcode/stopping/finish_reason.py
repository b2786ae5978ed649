"""Why a completion ended."""

from enum import StrEnum


class FinishReason(StrEnum):
    """Why a completion ended."""

    STOP = "stop"  # an end token, a stop text, or the end of the scope
    LENGTH = "length"  # max_tokens, or no position is left
    TIME = "time"  # the time budget is spent
    SUFFIX = "suffix"  # what already follows the cursor began
    REPETITION = "repetition"  # a loop was cut
