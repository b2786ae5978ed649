"""Every token is scored once, with the context that its mode promises; peers cut as they do."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from gpt_bigcode.errors import ContextError, InputError, OptionError
from gpt_bigcode.windowing.document_stream import Window
from gpt_bigcode.windowing.score_windows import ScoreWindows, WindowMode
from windows_of import grown, windows_of

M = WindowMode
CONTEXT = 8


def _plan(mode: WindowMode, stride: int | None = None, context: int = CONTEXT) -> ScoreWindows:
    return ScoreWindows(context_length=context, mode=mode, stride=stride)


def _lm_eval(tokens: list[int], context: int, prefix: int) -> Iterator[tuple[list[int], list[int]]]:
    """(context, scored) pairs of a rolling log-likelihood with one token of context.

    Written from the rule: full windows follow each other, each begins with the last token of the
    one before; the last one reaches back until its input is full.
    """
    first = tokens[:context]
    yield [prefix, *first[:-1]][: len(first)], first
    done = len(first)
    while done < len(tokens):
        count = min(context, len(tokens) - done)
        end = done + count
        yield tokens[end - context - 1 : end - 1], tokens[done:end]
        done = end


def _huggingface(length: int, context: int, stride: int) -> Iterator[Window]:
    """Begin, end and labels of the documented loop."""
    previous = 0
    for begin in range(0, length, stride):
        end = min(begin + context, length)
        labels = range(max(begin + 1, previous), end)
        if labels:
            yield Window(begin, end, labels[0], end)
        previous = end
        if end == length:
            break


@pytest.mark.parametrize("mode", [M.STRIDED, M.DISJOINT])
@pytest.mark.parametrize("stride", [None, 1, 3, 7, 8])
def test_f3_every_token_is_scored_once_around_every_edge(
    mode: WindowMode, stride: int | None
) -> None:
    stride = stride if mode is M.STRIDED else None
    plan = _plan(mode, stride)
    least = CONTEXT - plan.step + 1
    for length in range(1, 5 * CONTEXT):
        windows = windows_of(plan, length)
        scored = [place for w in windows for place in range(w.first, w.stop)]
        assert scored == list(range(1, length))
        for window in windows:
            assert 1 <= window.stop - 1 - window.start <= CONTEXT
            assert 0 <= window.start < window.first
            assert window.first - window.start >= min(least, window.first)


@pytest.mark.parametrize("context", [1, 2, 5, 8])
def test_disjoint_windows_are_those_of_lm_eval(context: int) -> None:
    for length in range(1, 30):
        tokens = list(range(100, 100 + length))
        sequence = [-1, *tokens]
        windows = windows_of(_plan(M.DISJOINT, context=context), len(sequence))
        ours = [(sequence[w.start : w.stop - 1], sequence[w.first : w.stop]) for w in windows]
        assert ours == list(_lm_eval(tokens, context, -1))


@pytest.mark.parametrize("stride", [1, 3, 4, 8])
def test_huggingface_windows_are_those_of_its_loop(stride: int) -> None:
    for length in range(30):
        windows = windows_of(_plan(M.HUGGINGFACE, stride), length)
        assert windows == list(_huggingface(length, CONTEXT, stride))


def test_llama_windows_score_second_halves_and_drop_the_tail() -> None:
    for length in range(2 * CONTEXT, 4 * CONTEXT):
        windows = windows_of(_plan(M.LLAMA), length)
        assert len(windows) == length // CONTEXT
        for chunk, window in enumerate(windows):
            assert window.start == chunk * CONTEXT
            assert window.stop == (chunk + 1) * CONTEXT
            assert window.stop - window.first == CONTEXT - CONTEXT // 2 - 1
    with pytest.raises(InputError, match="15 tokens; two windows have 16"):
        windows_of(_plan(M.LLAMA), 2 * CONTEXT - 1)


def test_full_is_one_window_or_an_error() -> None:
    assert windows_of(_plan(M.FULL), 1) == []
    assert windows_of(_plan(M.FULL), CONTEXT + 1) == [Window(0, CONTEXT + 1, 1, CONTEXT + 1)]
    with pytest.raises(ContextError, match="the text has 9 tokens, the model reads 8"):
        windows_of(_plan(M.FULL), CONTEXT + 2)


def test_one_window_is_the_same_in_all_modes_that_read_everything() -> None:
    for length in range(1, CONTEXT + 2):
        cuts = {tuple(windows_of(_plan(mode), length)) for mode in (M.STRIDED, M.DISJOINT, M.FULL)}
        assert len(cuts) == 1


@pytest.mark.parametrize("mode", list(M))
@pytest.mark.parametrize("portion", [1, 2, 7, 50])
def test_a_sequence_that_grows_is_cut_like_a_whole_one(mode: WindowMode, portion: int) -> None:
    plan = _plan(mode)
    for length in range(2 * CONTEXT, 40) if mode is M.LLAMA else range(CONTEXT + 2):
        assert grown(plan, length, portion) == windows_of(plan, length)


def test_the_default_stride_is_half_of_the_context() -> None:
    windows = windows_of(_plan(M.STRIDED), 30)
    assert [after.stop - before.stop for before, after in pairwise(windows)] == [4, 4, 4, 4, 4, 1]


@pytest.mark.parametrize("stride", [0, -1, 9])
def test_a_stride_out_of_range_is_refused(stride: int) -> None:
    with pytest.raises(OptionError, match=f"stride: {stride} is not 1 to 8"):
        _plan(M.STRIDED, stride)


@pytest.mark.parametrize("mode", [M.DISJOINT, M.FULL, M.LLAMA])
def test_a_stride_means_nothing_to_other_modes(mode: WindowMode) -> None:
    with pytest.raises(OptionError, match=f"windows that are {mode} have none"):
        _plan(mode, 4)
