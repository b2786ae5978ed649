"""Labels are chosen together: no allowed sequence is likelier, and spans hold whole words."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from gpt_bigcode.errors import ConfigError
from gpt_bigcode.labeling.bio_labels import LabelScheme
from gpt_bigcode.labeling.text_tagger import TextTagger
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from rule_taggers import BIO, by_letter, by_script, make, shown
from scripted_models import write_checkpoint

PREFIXES = ("O", "B-UPPER", "I-UPPER", "E-UPPER", "S-UPPER", "NAME")
ALLOWED: dict[str, tuple[tuple[str, ...], Callable[[int, int], bool]]] = {
    "BIO": (BIO, lambda a, b: b not in (2, 4) or a in (b, b - 1)),
    "BIES and a plain one": (PREFIXES, lambda a, b: b not in (2, 3) or a in (1, 2)),
}


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> CodeTokenizer:
    """One token for each byte."""
    folder = write_checkpoint(tmp_path_factory.mktemp("model") / "bytes", script=[])
    return CodeTokenizer.from_file(folder / "tokenizer.json")


def best_path(script: str, tokenizer: CodeTokenizer, context: int = 64) -> TextTagger:
    tagging = {"spans": "best_path"}
    return make(by_script(script), tokenizer, labels=BIO, context=context, tagging=tagging)


@pytest.mark.parametrize("name", ALLOWED)
def test_no_allowed_sequence_is_likelier(name: str) -> None:
    labels, allowed = ALLOWED[name]
    draw = np.random.default_rng(4)
    for _ in range(30):
        shares = draw.dirichlet(np.full(len(labels), 0.4), size=5)
        chosen = LabelScheme(list(labels)).path().choose(shares).tolist()

        def worth(path: tuple[int, ...], shares: np.ndarray = shares) -> float:
            steps = itertools.pairwise((0, *path))
            if not all(allowed(a, b) for a, b in steps):
                return -np.inf
            return float(sum(np.log(row[label]) for row, label in zip(shares, path, strict=True)))

        sequences = itertools.product(range(len(labels)), repeat=5)
        assert worth(tuple(chosen)) == pytest.approx(max(map(worth, sequences)))


def plain_viterbi(shares: np.ndarray, follows: np.ndarray) -> float:
    """What the best path from outside (label 0) is worth, by the whole recursion."""
    cost = np.where(follows, 0.0, -np.inf)
    score = cost[0] + np.log(shares[0])
    for row in shares[1:]:
        score = (score[:, None] + cost).max(axis=0) + np.log(row)
    return float(score.max())


@pytest.mark.parametrize("sharpness", [0.5, 2.0, 6.0])
def test_no_path_through_a_long_text_is_likelier(sharpness: float) -> None:
    """Where labels are sure they are taken as they are; nothing is lost by it."""
    labels = ["O", *(f"{prefix}-{kind}" for kind in "ABCDEF" for prefix in "BI")]
    follows = np.array(
        [[b % 2 == 1 or b == 0 or a in (b, b - 1) for b in range(13)] for a in range(13)]
    )
    draw, mended = np.random.default_rng(8), 0
    for length in (1, 2, 30, 200, 400):
        logits = sharpness * draw.normal(size=(length, 13))
        logits[draw.random(length) < 0.5, 0] += 2 * sharpness
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        path = LabelScheme(labels).path()
        chosen = path.choose(shares)
        before = np.concatenate([[0], chosen[:-1]])
        assert follows[before, chosen].all()
        worth = float(np.log(shares[np.arange(length), chosen]).sum())
        assert worth == pytest.approx(plain_viterbi(shares, follows), rel=1e-12)
        mended += int((chosen != shares.argmax(axis=1)).sum())
    assert mended > 0


def test_a_path_goes_on_in_the_next_window() -> None:
    path = LabelScheme(list(BIO)).path()
    begin = np.log([[0.1, 0.6, 0.1, 0.1, 0.1]])
    unsure = np.log([[0.1, 0.1, 0.3, 0.1, 0.4]])
    assert path.choose(np.exp(begin)).tolist() == [1]
    assert path.choose(np.exp(unsure)).tolist() == [2]
    assert LabelScheme(list(BIO)).path().choose(np.exp(unsure)).tolist() != [4]


WORDS = {
    "a late beginning": ("x = 'abcdef'", "000000012220", [("UPPER", "abcdef")]),
    "an early end": ("key abcdef, b", "0000122000000", [("UPPER", "abcdef")]),
    "a hyphen is no part of a word": ("ab-cd", "00012", [("UPPER", "cd")]),
    "a word of two kinds is one": ("abcdef", "122344", [("UPPER", "abcdef")]),
    "a missed piece tears apart what is no word": (
        "ab.c",
        "1201",
        [("UPPER", "ab"), ("UPPER", "c")],
    ),
    "two words": ("abc def", "0120012", [("UPPER", "abc"), ("UPPER", "def")]),
    "a word goes on behind its end": ("abc.de", "012220", [("UPPER", "abc.de")]),
    "no word before a mark": ("ab(c", "0001", [("UPPER", "c")]),
    "letters that two bytes make": ("éab é", "0012000", [("UPPER", "éab")]),
    "at the end of the text": ("a bcd", "00010", [("UPPER", "bcd")]),
}


@pytest.mark.parametrize("name", WORDS)
def test_spans_hold_whole_words(letters: CodeTokenizer, name: str) -> None:
    text, script, expected = WORDS[name]
    tagging = best_path(script, letters).tag(text)
    assert shown(tagging) == expected
    for span in tagging.spans:
        assert text.encode()[span.start : span.end].decode() == span.text
        before = text.encode()[: span.start].decode()
        assert (span.start_line, span.start_column) == (1, len(before) + 1)
        assert span.score == pytest.approx(0.9925, abs=1e-6)  # both labels of its kind


def in_capitals(tokenizer: CodeTokenizer, context: int) -> TextTagger:
    """Capital letters are keys."""
    return make(by_letter(tokenizer), tokenizer, context=context, tagging={"spans": "best_path"})


def test_a_word_is_whole_over_the_border_of_windows(letters: CodeTokenizer) -> None:
    model = in_capitals(letters, 16)
    for start in range(40):
        text = "." * start + " abCDef " + "." * (50 - start)
        assert shown(model.tag(text)) == [("UPPER", "abCDef")]


def test_nothing_that_a_later_span_needs_is_given_away(letters: CodeTokenizer) -> None:
    """`offset` stays before a word that a later label may widen a span to."""
    text = "." * 30 + "abcdefghijklmnopqR" + "." * 30
    offset, found = 0, []
    for advance in in_capitals(letters, 8).stream([text]):
        assert all(span.start >= offset for span in advance.spans)
        found += [span.text for span in advance.spans]
        offset = advance.offset
    assert found == ["abcdefghijklmnopqR"]
    assert offset == len(text)


def test_a_long_run_of_letters_is_no_word(letters: CodeTokenizer) -> None:
    text = "a" * 300
    (span,) = best_path("0" * 200 + "1" + "0" * 99, letters, 300).tag(text).spans
    assert (span.start, span.end) == (200 - 64, 300)


def test_an_unknown_way_of_making_spans_is_refused(letters: CodeTokenizer) -> None:
    with pytest.raises(ConfigError, match="tagging: spans: 'crf' is not independent or best_path"):
        make(by_script("0"), letters, tagging={"spans": "crf"})
    assert make(by_script("0"), letters, tagging={"spans": "independent"})
