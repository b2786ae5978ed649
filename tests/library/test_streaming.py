"""Bytes to text that may be shown: characters, stop texts, loops; however the bytes are cut."""

import random
import sys
import time
from subprocess import run

import pytest

from gpt_bigcode.stopping.scope import ScopeRule
from gpt_bigcode.stopping.text_stop import FinishReason, Scope, StopMatcher, TextStop, Utf8Stream


def play(stop: TextStop, pieces: list[bytes]) -> tuple[str, FinishReason | None]:
    """Everything that is shown of the pieces, and the reason of the end."""
    shown = []
    for piece in pieces:
        shown.append(stop.feed(piece))
        if stop.reason is not None:
            break
    return "".join([*shown, stop.close()]), stop.reason


def splits(data: bytes, count: int = 20, *, every: int = 1) -> list[list[bytes]]:
    """The whole, byte by byte, cut once at every place or fewer, and `count` random ways."""
    ways = [[data], [bytes([byte]) for byte in data]]
    ways += [[data[:place], data[place:]] for place in range(1, len(data), every)]
    chance = random.Random(data)
    for _ in range(count):
        cuts = sorted(chance.sample(range(len(data) + 1), min(6, len(data))))
        ways.append([data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)])
    return ways


def test_only_whole_characters_are_shown() -> None:
    text = "é中😀👨‍👩‍👧e\u0301"
    stream = Utf8Stream()
    shown = [stream.feed(bytes([byte])) for byte in text.encode()]
    assert "".join(shown) == text
    assert [piece for piece in shown if piece] == list(text)


@pytest.mark.parametrize("text", ["é", "中", "😀"])
def test_a_character_cut_by_the_limit_is_dropped(text: str) -> None:
    data = text.encode()
    for size in range(1, len(data)):
        assert play(TextStop(), [b"a" + data[:size]]) == ("a", None)


def test_invalid_bytes_come_out_the_same_for_every_cut() -> None:
    chance = random.Random(5)
    parts = [*("aé中😀".encode()), 0xFF, 0xC0, 0xED, 0xA0, 0x80, 0xF4, 0x90, 0x0A]
    for _ in range(300):
        data = bytes(chance.choice(parts) for _ in range(chance.randrange(1, 20)))
        whole = play(TextStop(), [data])
        assert all(play(TextStop(), pieces) == whole for pieces in splits(data, 5)), data
        assert whole[0].startswith(data.decode("utf-8", "replace").rstrip("\ufffd"))


STOPS = [
    (["\n\n"], "a\n\nb", "a", FinishReason.STOP),
    (["\n\n"], "a\nb\n", "a\nb\n", None),
    (["DEFGHIJ"], "abcDEFGHIJklm", "abc", FinishReason.STOP),
    (["DEFGHIJ"], "abcDEFGHI", "abcDEFGHI", None),
    (["DEFGHIJ"], "DEFGDEFGHIJ", "DEFG", FinishReason.STOP),
    (["</s>"], "<<</s></s>", "<<", FinishReason.STOP),
    (["aab"], "aaaab", "aa", FinishReason.STOP),
    (["é😀"], "xéé😀y", "xé", FinishReason.STOP),
    (["😀"], "a😀", "a", FinishReason.STOP),
    (["def ", "class "], "x\nclass def ", "x\n", FinishReason.STOP),
    (["abcd", "bc"], "abcd", "a", FinishReason.STOP),  # the first to be complete
    (["c", "abc"], "abcd", "", FinishReason.STOP),  # complete together: the longest
    (["x"], "x", "", FinishReason.STOP),
    (["x"], "", "", None),
    (["<fim_middle>"], "a<fim_middle>b", "a", FinishReason.STOP),
]


@pytest.mark.parametrize(("stops", "text", "shown", "reason"), STOPS)
def test_stop_texts_over_every_border(
    stops: list[str], text: str, shown: str, reason: FinishReason | None
) -> None:
    expected = (shown, reason)
    for pieces in splits(text.encode()):
        assert play(TextStop(stops), pieces) == expected


def test_only_a_possible_beginning_of_a_stop_is_held_back() -> None:
    stop = TextStop(["DEFG"])
    fed = [stop.feed(piece) for piece in [b"abcD", b"E", b"x", b"DEF", b"DE"]]
    assert fed == ["abc", "", "DEx", "", "DEF"]
    assert stop.close() == "DE"


@pytest.mark.timing
def test_many_and_long_stop_texts_stay_quick() -> None:
    stops = [f"{n:03}" + "ab" * 126 for n in range(16)]
    matcher = StopMatcher(stops)
    started = time.perf_counter()
    for _ in range(2000):
        assert matcher.feed("abab") is None
    assert time.perf_counter() - started < 2.0


def test_stop_text_and_scope_end_at_what_is_known_first() -> None:
    for text, shown in [("    a\nSTOP\nb", "    a\n"), ("    a\nb STOP", "    a")]:
        for pieces in splits(text.encode()):
            stop = TextStop(["STOP"], ScopeRule(Scope.BLOCK, "def f():\n"))
            assert play(stop, pieces) == (shown, FinishReason.STOP)


STATEMENT = "print(total)\n"
BLOCK = "for x in y:\n    total += x\n    print(x)\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (STATEMENT * 40, STATEMENT * 2),
        ("start\n" + BLOCK * 30, "start\n" + BLOCK * 2),
        ("x = 1\n\n" * 40, None),
        ("go()\n\n\n" * 40, None),
        ("    self.name = name\n" * 40, "    self.name = name\n" * 2),
        ("# " + "very " * 300, "#" + " very" * 7),
        ("# a file, except a file" + ", except a file" * 30, "#" + " a file, except" * 3),
        ("x = [" + "compute(argument, another) + " * 30, None),
        ("s = '" + "ab_" * 400, None),
        ("from x import (I, Rational" + ", oo" * 100, None),
        ("\n" * 400, None),
        ("    0,\n" * 300, None),
        ("=" * 3000, None),
    ],
)
def test_a_loop_is_cut(text: str, shown: str | None) -> None:
    whole = play(TextStop(), [text.encode()])
    assert whole[1] is FinishReason.REPETITION
    assert len(whole[0]) < len(text)
    assert shown is None or whole[0] == shown
    assert text.startswith(whole[0])
    for size in (1, 2, 7, 64, 100):
        data = text.encode()
        pieces = [data[i : i + size] for i in range(0, len(data), size)]
        assert play(TextStop(), pieces) == whole


def test_a_loop_is_cut_well_before_the_usual_limit() -> None:
    stop = TextStop()
    lines = 0
    while stop.reason is None:
        stop.feed(BLOCK.splitlines(keepends=True)[lines % 3].encode())
        lines += 1
    assert lines == 15  # five copies of three lines


TABLE = "".join(f"    [{', '.join(['0'] * 16)}],\n" for _ in range(60))
LEGITIMATE = [
    "TABLE = [\n" + TABLE + "]\n",
    "none = [\n" + "    None,\n" * 80 + "]\n",
    "data = bytes([" + "0x00, " * 100 + "])\n",
    "\n".join(f"    case {n}: return {n};" for n in range(200)),
    "".join(f"x{n} = x{n - 1} + 1\n" for n in range(200)),
    "#" * 79 + "\n" + "# Title\n" + "#" * 79 + "\n",
    "-" * 500,
    " " * 1000 + "x",
    "        }\n" * 30,
    "    nop\n" * 9,
    "pass\n" * 9,
    ("self.assertTrue(next(it))\n" * 4 + "self.assertFalse(next(it))\n") * 4,
    "assert f(1)\n\n\n" * 3,
    "a b c d e f " * 15,
    "row = [" + "None, " * 15 + "None]\n",
    "pattern = r'" + r"<loc_(\d+)>" * 8 + "'\n",
    "shape = (" + "(128, 128, 3, False), " * 4 + ")\n",
    "icon = 'iVBORw0KGgo" + "A" * 300 + "'\n",
    "    b'" + "MV" * 40 + "'\n",
    "static const unsigned char blank[] = {" + "0xff, " * 32 + "};\n",
    "static const unsigned char mask[] = {" + "0xFF,0x0f," * 20 + "};\n",
    "# " + "_" * 200 + "\n",
    "[" + "1.0e-05, " * 20 + "]\n",
    "(" + "abcdefgh" * 11 + ")\n" + "(" + "abcdefgh" * 11 + ")\n",
]


@pytest.mark.parametrize("text", LEGITIMATE)
def test_repetitive_code_is_left_alone(text: str) -> None:
    for size in (len(text), 1, 3):
        pieces = [text[i : i + size].encode() for i in range(0, len(text), size)]
        assert play(TextStop(), pieces) == (text, None)


def test_the_standard_library_is_no_loop() -> None:
    import argparse
    import calendar
    import html.entities
    import opcode
    import symtable
    import token as token_table
    from pathlib import Path

    for module in (argparse, calendar, html.entities, opcode, symtable, token_table):
        text = Path(str(module.__file__)).read_text("utf-8")
        assert play(TextStop(), [text.encode()]) == (text, None), module.__name__


def test_the_third_copy_waits_until_the_row_breaks() -> None:
    stop = TextStop()
    shown = [stop.feed(piece) for piece in [b"go(x)\n", b"go(x)\n", b"go(x)\n", b"go", b"(y)\n"]]
    assert shown == ["go(x)\n", "go(x)\n", "", "", "go(x)\ngo(y)\n"]


def test_copies_inside_a_line_wait_until_the_row_breaks() -> None:
    stop = TextStop()
    shown = [stop.feed(piece.encode()) for piece in ["# " + "very " * 7, "very ", "ver", "bose\n"]]
    assert shown == ["#" + " very" * 7, "", "", " very verbose\n"]


def test_a_loop_inside_repeated_lines_shows_nothing_that_was_held_back() -> None:
    line = "x = " + "very " * 12 + "\n"
    text = line * 3 + "# " + "very " * 40  # the third line waits until the fourth is complete
    for pieces in splits(text.encode(), 5, every=7):
        assert play(TextStop(), pieces) == (line * 2, FinishReason.REPETITION)
    text = line + "# " + "very " * 40
    for pieces in splits(text.encode(), 5, every=7):
        assert play(TextStop(), pieces) == (line + "#" + " very" * 7, FinishReason.REPETITION)


@pytest.mark.timing
def test_watching_a_long_text_takes_linear_time() -> None:
    def seconds(lines: int) -> float:
        stop = TextStop(["\n\n\n\n"], ScopeRule(Scope.FUNCTION, "def f():\n"))
        pieces = [f"    value_{n} = compute({n})\n".encode() for n in range(lines)]
        started = time.perf_counter()
        for piece in pieces:
            stop.feed(piece)
        return time.perf_counter() - started

    assert min(seconds(2000) for _ in range(3)) < 3 * min(seconds(1000) for _ in range(3)) + 0.05


@pytest.mark.parametrize(
    ("text", "stops", "until", "expected"),
    [
        ("x = 1\r\ny = 2\r\n", (), Scope.LINE, "x = 1"),
        ("    x = 1\r\n    y = 2\r\nz = 3\r\n", (), Scope.BLOCK, "    x = 1\r\n    y = 2"),
        ("x = 1\r\ny = 2", ("\n",), None, "x = 1"),
        ("x = 1\r\ny = 2", ("y",), None, "x = 1\r\n"),
        ("a\rb", ("b",), None, "a\r"),
        ("a\r", (), None, "a"),
        ("a\r\r\nb", (), Scope.LINE, "a\r"),
    ],
)
def test_no_text_ends_between_cr_and_lf(
    text: str, stops: tuple[str, ...], until: Scope | None, expected: str
) -> None:
    """Whatever ends it; also where the line ends of the prompt are LF."""
    prompt = "def f():\r\n" if until is Scope.BLOCK else "\n"
    for pieces in splits(text.encode()):
        stop = TextStop(stops, ScopeRule(until, prompt) if until else None)
        shown = [stop.feed(piece) for piece in pieces]
        assert "".join([*shown, stop.close()]) == expected


def test_light_modules_import_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "huggingface_hub", "rich")
    for module, more in [
        ("stopping.text_stop", ("numpy", "tokenizers", "safetensors")),
        ("completion.options", ("numpy", "tokenizers", "safetensors")),
        ("tokenization.tokenizer", ("numpy", "safetensors")),
        ("generation.sampling", ("tokenizers", "safetensors")),
        ("generation.loop", ("tokenizers", "safetensors")),
        ("completion.text_model", ()),
    ]:
        code = (
            f"import sys, gpt_bigcode.{module}\n"
            f"print([name for name in {(*heavy, *more)!r} if name in sys.modules])"
        )
        done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n", module
