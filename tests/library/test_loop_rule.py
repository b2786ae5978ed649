"""A line that goes round in a loop finds its end; what may repeat goes on."""

import numpy as np
import pytest

from gpt_bigcode.generation.token_masks import LoopRule

PIECES = [b"None", b", ", b"0", b"\n", b"x = 1", b"-", b"a very long name of a thing", b"]", b"yy"]
RULE = LoopRule(PIECES)


def _refused(written: list[int]) -> list[int]:
    logits = np.arange(len(PIECES), dtype=np.float32)
    return np.flatnonzero(np.isneginf(RULE(logits, written))).tolist()


@pytest.mark.parametrize(
    ("written", "refused"),
    [
        ([0, 1] * 14, [0]),  # 84 bytes: None, None, ...
        ([7, *[0, 1] * 14], [0]),  # whatever came before
        ([0, 1] * 14 + [0], [1]),
        ([0, 1] * 12, []),  # 72 bytes
        ([2, 1] * 60, []),  # numbers
        ([5] * 150, []),  # a ruler
        ([8] * 150, []),  # a ruler of letters
        ([4, 3] * 40, []),  # lines: the guard ends them
        ([6, 1] * 4, [6]),
        ([6, 1] * 3, []),
        ([6, 1] * 4 + [7], []),  # out of it
        ([], []),
    ],
)
def test_what_would_go_on_with_a_loop_is_refused(written: list[int], refused: list[int]) -> None:
    assert _refused(written) == refused


def test_nothing_is_refused_where_nothing_else_is_left() -> None:
    logits = np.full(len(PIECES), -np.inf, np.float32)
    logits[0] = 1.0
    assert RULE(logits, [0, 1] * 14) is logits
