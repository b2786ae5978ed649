"""What callers may ask of scoring; imports nothing heavy."""

from dataclasses import dataclass

from gpt_bigcode.windowing.score_windows import WindowMode


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """How to score; everything has a default.

    Attributes:
        mode: how a text that is longer than the context is cut.
        stride: tokens that a window scores; None: half of the context.
        lines: give the values of lines too.
        tokens: give the values of tokens too.
    """

    mode: WindowMode = WindowMode.STRIDED
    stride: int | None = None
    lines: bool = False
    tokens: bool = False
