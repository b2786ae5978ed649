"""What is written is well-formed UTF-8, whatever the model wants, and ends between characters."""

import codecs
import itertools
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gpt_bigcode.generation.loop import Sampler
from gpt_bigcode.generation.token_masks import (
    STATES,
    State,
    Utf8Rule,
    Utf8Tokens,
    advance,
    state_after,
)
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

# One of these finishes any beginning of a character.
ENDINGS = [
    b"",
    *(bytes([first]) + b"\x80" * more for first in (0x80, 0x90, 0xA0) for more in range(3)),
]


def _well_formed(data: bytes) -> bool:
    """Whether some text begins with these bytes."""
    try:  # soon refuses most of what no text begins with, but not the first bytes of a surrogate
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return any(_decodes(data + ending) for ending in ENDINGS)


def _decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _accepts(state: State | None, data: bytes) -> bool:
    try:
        advance(state, data)
    except ValueError:
        return False
    return True


def test_the_automaton_is_that_of_python_s_decoder() -> None:
    pairs = itertools.product(range(256), repeat=2)
    tails = ((0x80,), (0x80, 0x80), (0xBF, 0xBF), (0xC3, 0xA9), (0x41,))
    for pair in pairs:
        for tail in ((), *tails):
            data = bytes((*pair, *tail))
            assert _accepts(None, data) == _well_formed(data), data


def test_the_state_is_told_by_the_last_bytes() -> None:
    for text in ("a", "é", "中", "😀", "aé中😀"):
        data = text.encode()
        for size in range(len(data) + 1):
            assert state_after(data[:size]) == advance(None, data[:size])
            assert state_after(data[:size][-3:]) == advance(None, data[:size])


BYTES = [bytes([byte]) for byte in range(256)]
PIECES = [
    b"",
    b"a",
    b"\xc3\xa9",
    b"\xe4\xb8",
    b"\xad\xe6",
    b"\x97",
    b"\xa5\xa9",
    "日".encode(),
    b"\xff",
]


@pytest.mark.parametrize("spellings", [BYTES, [*BYTES, *PIECES], PIECES])
def test_random_choices_are_always_whole_text(spellings: list[bytes]) -> None:
    """Draws from every token that is left, a thousand times, ended at every place."""
    tokens, drawn = Utf8Tokens.of(spellings), random.Random(4)
    for before in ("", "é", "日本", "😀"):
        for cut in range(min(len(before.encode()), 4)):
            start = before.encode()[: len(before.encode()) - cut]
            rule = Utf8Rule(spellings, tokens, start[-3:])
            if cut and not (tokens.allowed[state_after(start) or STATES[0]]):
                continue
            _write(rule, spellings, start, drawn)


def _write(rule: Utf8Rule, spellings: Sequence[bytes], start: bytes, drawn: random.Random) -> None:
    written: list[int] = []
    text = start
    for _ in range(300):
        left = np.flatnonzero(rule(np.zeros(len(spellings), np.float32), written) > -np.inf)
        # Prefer what is no ASCII: it is what can go wrong.
        odd = [token for token in left.tolist() if not spellings[token].isascii()]
        token = drawn.choice(odd if odd and drawn.random() < 0.8 else left.tolist())
        if not spellings[token]:
            assert state_after(text) is None  # only a whole character may end the text
            continue
        written.append(token)
        text += spellings[token]
        assert _well_formed(text[-8:].lstrip(bytes(range(0x80, 0xC0))))
    text.decode(errors="strict" if state_after(text) is None else "ignore")


def test_no_token_leads_where_no_token_leads_out() -> None:
    """Without 0x80 .. 0xBF of its own a vocabulary cannot finish what it begins."""
    spellings = [b"a", b"\xc3", b"\xe4", b"\xe4\xb8\xad", b"\xf0\x9f"]
    assert Utf8Tokens.of(spellings).refused == (1, 2, 4)
    # A last byte for some of them: two-byte characters can be finished, and three with two of it.
    assert Utf8Tokens.of([*spellings, b"\xa9a"]).refused == (2, 4, 5)
    assert Utf8Tokens.of([*spellings, b"\xa9"]).refused == (5,)


def test_what_is_ascii_changes_no_logits() -> None:
    spellings = [b"a", b"b", "é".encode()]
    logits = np.asarray([1.0, 2.0, 3.0], np.float32)
    rule = Utf8Rule(spellings, Utf8Tokens.of(spellings))
    assert rule(logits, [0]) is logits


def test_real_vocabularies_can_always_go_on(tiny_checkpoint: Path) -> None:
    tokenizer = CodeTokenizer.from_file(tiny_checkpoint / "tokenizer.json")
    rule = Utf8Rule(tokenizer.spellings, Utf8Tokens.of(tokenizer.spellings))
    sampler = Sampler(rules=(rule,), greedy=False)
    generator = np.random.default_rng(3)
    for _ in range(20):
        written: list[int] = []
        for _ in range(100):
            logits = np.zeros(tokenizer.vocabulary_size, np.float32)
            written.append(sampler.choose(logits, written, generator))
        data = tokenizer.decode_bytes(written)
        while state_after(data) is not None:
            data = data[:-1]
        data.decode()
