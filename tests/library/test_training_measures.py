"""What the built-in model is measured with: the baselines, and the cases."""

import ast
import itertools
import random
from collections import Counter
from pathlib import Path

import pytest

from gpt_bigcode.tokenizer import CodeTokenizer
from training.baselines import LineCopier
from training.held_out import gaps, lines_of_functions, prompts_at_borders
from training.intervals import interval
from training.ngrams import BackOffModel

FOLDER = Path(__file__).resolve().parents[2] / "model" / "pocket_coder"
VOCABULARY = 8


def counted(ids: list[int], context: list[int], word: int, length: int) -> float:
    """Witten-Bell by the book: count everything anew for one probability."""
    if length < 0:
        return 1 / VOCABULARY
    shorter = counted(ids, context, word, length - 1)
    tail = context[len(context) - length :]
    after = Counter(
        ids[place] for place in range(length, len(ids)) if ids[place - length : place] == tail
    )
    if not after:
        return shorter
    return (after[word] + len(after) * shorter) / (after.total() + len(after))


def test_ngram_probabilities_are_those_of_the_definition() -> None:
    generator = random.Random(4)
    ids = [generator.choice([1, 2, 3, 3, 3]) for _ in range(400)]
    model = BackOffModel(ids, VOCABULARY, 3)
    row = [1, 2, 5, 3, 3, 1, 1, 2, 7]
    wanted = [counted(ids, row[:place], row[place], min(place, 2)) for place in range(1, len(row))]
    assert model.probabilities(row) == pytest.approx(wanted, rel=1e-12)
    every = [model.probabilities([3, 1, word])[-1] for word in range(VOCABULARY)]
    assert sum(every) == pytest.approx(1)


def test_ngrams_continue_with_what_followed_most_often() -> None:
    model = BackOffModel([1, 2, 3, 4, 1, 2, 3, 5, 6, 2, 3, 5, 6], VOCABULARY, 4)
    assert model.likeliest([7, 2, 3]) == 5
    assert model.likeliest([7, 2, 3], lambda token: token != 5) == 4
    assert model.likeliest([4]) == 1
    # Nothing but 1 was seen after 4, 2 was seen most often of all.
    assert model.likeliest([4], lambda token: token > 1) == 2
    assert model.likeliest([4], lambda token: token > 6) is None


@pytest.mark.parametrize(
    ("prefix", "copied"),
    [
        ("a = 1\nb = 2\na", " = 1\nb = 2\n"),
        ("def f():\n    x = 1\n        y\n    ", "x = 1\n        y\n"),
        ("one\n", "one\n"),
        ("one\n  two", ""),
    ],
)
def test_the_copier_takes_the_most_recent_line_that_begins_alike(prefix: str, copied: str) -> None:
    copier = LineCopier(CodeTokenizer.from_file(FOLDER / "tokenizer.json"))
    assert copier.write(prefix, 50) == copied


def test_gaps_are_lines_that_say_something_inside_functions() -> None:
    text = Path(__file__).read_text("utf-8")
    lines = text.split("\n")
    for place in lines_of_functions(text):
        assert lines[place].startswith("    ")
        assert len(lines[place].strip()) >= 8
        assert not lines[place].strip().startswith(("#", '"', "@"))
    found = gaps([{"package": "p", "path": "q", "text": text}], 5, 1)
    assert len(found) == 5
    for gap in found:
        assert gap.prefix + gap.line + gap.suffix == text
        assert gap.suffix.startswith("\n")


def test_prompts_end_at_statements() -> None:
    text = Path(__file__).read_text("utf-8")
    starts = {node.lineno for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)}
    found = prompts_at_borders([{"package": "p", "path": "q", "text": text}], len, 3, 1)
    for prompt in itertools.chain(found):
        assert text.startswith(prompt)
        assert prompt.count("\n") + 1 in starts


def test_the_interval_is_wilsons() -> None:
    # Brown, Cai and DasGupta (2001) give the formula; 8 of 10 by hand.
    assert interval(8, 10) == [0.4902, 0.9433]
    assert interval(0, 0) == [0.0, 1.0]
