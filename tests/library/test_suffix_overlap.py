"""Where a text that fills a gap runs into its suffix: a table, and streamed = whole."""

import argparse
import inspect
import random
import textwrap
from collections.abc import Iterator
from types import ModuleType

import pytest

from gpt_bigcode.stopping.scope import ScopeRule
from gpt_bigcode.stopping.suffix import GapSides, SuffixOverlap
from gpt_bigcode.stopping.text_stop import FinishReason, Scope, TextStop

# name: the text with | at the gap, what the model writes, what stays of it.
TRIMMED = {
    "call": ("foo(|)\n", "a, b)", "a, b"),
    "call-goes-on": ("foo(|)\n", "a, b)\nbar(c)\n", "a, b"),
    "call-with-semicolon": ("foo(|);\n", "a, b);\nbar(c);\n", "a, b"),
    "nested-call": ("print(|)\n", "f(a))", "f(a)"),
    "call-in-expression": ("x = f(|) + 1\n", "a) + 1\ny = 2\n", "a"),
    "spaced-call": ("foo( | )\n", "a )\n", "a"),
    "list": ("x = [|]\n", "1, 2]", "1, 2"),
    "list-over-lines": ("x = [\n    1,\n    |\n]\n", "2,\n]\n", "2,"),
    "brace-on-its-line": ("f() {\n    |\n}\n", "x = 1;\n}\n\ng() {\n", "x = 1;"),
    "brace-other-indentation": ("f() {\n    |\n    }\n", "x = 1;\n}\n", "x = 1;"),
    "brace-at-line-start": ("f() {\n|}\n", "    x = 1;\n}\n", "    x = 1;\n"),
    "brace-right-behind": ("f() {|}\n", " x = 1; }", " x = 1; "),
    "brace-with-two-parts": ("if (a) {\n    |\n} else {\n    c();\n}\n", "b();\n} else {", "b();"),
    "closers-in-a-row": ("a(b(c(|)));\n", "1)));\n", "1"),
    "brace-then-parenthesis": ("on(function () {\n    |\n});\n", "go();\n});\n", "go();"),
    "next-line": (
        "def f(x):\n    |\n    return total(x)\n",
        "y = 1\n    return total(x)\n",
        "y = 1",
    ),
    "next-line-and-more": (
        "def f(x):\n    |\n    return total(x)\n",
        "y = 1\n    return total(x)\n\n\ndef g():\n    pass\n",
        "y = 1",
    ),
    "next-line-with-blanks": ("if x\n    a\n|\n    b = value  \nend\n", "    b = value", ""),
    "next-line-after-blank-line": ("a = 1\n|\n\nprint(a, b)\n", "b = 2\nprint(a, b)\n", "b = 2"),
    "next-line-at-line-start": ("a = 1\n|print(a, b)\n", "b = 2\nprint(a, b)\n", "b = 2\n"),
    "end": ("if x\n  |\nend   \n", "go\nend", "go"),
    "end-and-more": ("def a\n  |\nend\nz\n", "go\nend\n\ndef b\n  1\nend\n", "go"),
    "done": ("for i in a; do\n    |\ndone\n", "echo $i\ndone\necho\n", "echo $i"),
    "weak-line-at-the-end": ("for a in b:\n    |\n    break\nx\n", "c()\n    break", "c()"),
    "weak-line-twice": ("    |\n    x\n    y\n", "a\n    x\n    y\n    z", "a"),
    "weak-line-cut-off": ("    |\n    x\n    yes = 1\n", "a\n    x\n    yes", "a"),
    "rest-of-a-word": ("an o|ther\n", "ther", ""),
    "rest-of-the-line": ("import numpy| as np\n", " as np\nimport os\n", ""),
    "rest-is-a-comment": ("x = |  # how many there are\n", "1  # how many there are\n", "1"),
    "rest-with-brackets": ('print("a", |"b")\n', '"x", "b")\nprint(c)\n', '"x", '),
    "rest-behind-a-closed-bracket": (
        "for x in range(to|, stop(value)):\n",
        "p)\nif any(x, stop(value)):\n",
        "p)\nif any(x",
    ),
    "rest-of-a-line-that-the-text-begins": (
        "a = 1\n|.append_to(names)\n",
        "b = a\nlist_of_all.append_to(names)\nz",
        "b = a\nlist_of_all",
    ),
    "semicolon": ("x = |;\ny();\n", "1;", "1"),
    "semicolon-and-next-line": ("x = |;\ny();\nz\n", "1;\ny();\nz", "1"),
    "comma": ("[a, |, b]\n", "c,", "c"),
    "quote": ('x = "|"\n', 'abc"', "abc"),
    "quote-and-bracket": ('f("|")\n', 'abc")\n', "abc"),
    "everything-is-there": ("    |return x\n", "return", ""),
    "everything-is-there-with-indentation": ("a\n|    return x\n", "    return x\n", ""),
    "everything-is-there-below": ("a\n|\nfinish(a)\n", "\nfinish(a)\n", ""),
    "rest-goes-on-behind-brackets": ("if (|) and (y):\n", "x) and (y):\n", "x"),
    "rest-inside-a-word": ("x = re|ad_numbers(a)\n", "load_numbers(a)", "lo"),
    "tabs-for-spaces": ("f:\n\t|\n        go_on(x)\n", "a\n\tgo_on(x)\n", "a"),
    "chinese": ("f(|)  # 中文\n", "中, '😀')  # 中文\n", "中, '😀'"),
}
# The same, where what follows is rightly written once more.
KEPT = {
    "twice-bracket-of-the-prefix": ("foo(bar(|)\nx = 1\n", "x)", "x)"),
    "twice-brackets-within": ("print(|)\n", "f(a)", "f(a)"),
    "twice-index": ("y = [|]\n", "a[0], b[1]", "a[0], b[1]"),
    "twice-call-goes-on": ("foo(|)\n", "a)(b", "a)(b"),
    "twice-else": (
        "if (a) {\n    |\n}\n",
        "b();\n} else {\n    c();",
        "b();\n} else {\n    c();",
    ),
    "twice-brace-of-the-prefix": (
        "f() {\n    if (a) {\n        |\n}\n",
        "b();\n    }\n",
        "b();\n    }\n",
    ),
    "twice-deeper": (
        "def f(x):\n    |\n    return x\n",
        "if not x:\n        return x\n",
        "if not x:\n        return x\n",
    ),
    "twice-break": (
        "case 1:\n    |\n    break;\ncase 3:\n",
        "a();\n    break;\ncase 2:\n    b();",
        "a();\n    break;\ncase 2:\n    b();",
    ),
    "twice-known-line": (
        "    log.flush()\n    |\n    log.flush()\n    end()\n",
        "a()\n    log.flush()\n    b()\n",
        "a()\n    log.flush()\n    b()\n",
    ),
    "twice-semicolon": ("a = |;\nb();\n", "1;\nc = 2", "1;\nc = 2"),
    "twice-bracket-in-a-string": ("f(|)\n", '":)"', '":)"'),
    "twice-escaped-quote": ('x = "|"\n', 'a\\"', 'a\\"'),
    "twice-string": ('print("a", |"b")\n', '"x" ', '"x" '),
    "twice-statement-behind-a-condition": (
        "def f(x):\n    |return total(x)\n",
        "if x: return total(x)\n",
        "if x: return total(x)\n",
    ),
    "letter": ("x = |a\n", "a", "a"),
    "letter-at-the-end": ("x = |b\n", "a + b", "a + b"),
    "digit": ("x = |1\n", "1", "1"),
    "part-of-a-word": ("x = |other\n", "the", "the"),
    "word-in-a-word": ("x = |read\n", "thread", "thread"),
    "nothing-follows": ("x = |", "1\n}\n", "1\n}\n"),
    "only-blanks-follow": ("x = |\n  \n", "1\n", "1\n"),
    "blanks": ("f(\n|\n)\n", "  \n\n", "  \n\n"),
    "empty": ("f(|)\n", "", ""),
    "twice-fi": ("if a; then\n  if b; then\n    c\n  |\nfi\n", "fi", "fi"),
    "twice-brace-of-what-is-to-open": (
        "void f() {\n    |\n    }\n}\n",
        "if (a) {\n        b();\n    }\n    if (c) {\n        d();",
        "if (a) {\n        b();\n    }\n    if (c) {\n        d();",
    ),
    "brace-before-another-is-opened": ("a {\n|\n}\n}\n", "b;\n}\nc {\n", "b;\n}\nc {\n"),
    "first-line-goes-on": ("re|\nturn x\n", "turn x", "turn x"),
    "first-bracket-is-not-the-next": ("f([|\n]\n", "1, 2", "1, 2"),
}
TABLE = TRIMMED | KEPT


def _stop(text: str) -> TextStop:
    prefix, _, suffix = text.partition("|")
    return TextStop(overlap=SuffixOverlap(GapSides.of(prefix, suffix)))


def _run(stop: TextStop, *pieces: bytes) -> str:
    return "".join([*map(stop.feed, pieces), stop.close()])


@pytest.mark.parametrize("name", TABLE)
def test_c3_the_suffix_is_never_repeated(name: str) -> None:
    text, written, expected = TABLE[name]
    stop = _stop(text)
    assert _run(stop, written.encode()) == expected
    assert stop.reason is (FinishReason.SUFFIX if name in TRIMMED else None)


def test_the_table_is_large() -> None:
    assert len(TABLE) >= 30
    assert sum(name.startswith("twice") for name in KEPT) >= 5


@pytest.mark.parametrize("name", TABLE)
def test_streamed_is_whole_for_all_cuts(name: str) -> None:
    text, written, expected = TABLE[name]
    data = written.encode()
    assert _run(_stop(text), *(data[at : at + 1] for at in range(len(data)))) == expected
    for cut in range(len(data) + 1):
        assert _run(_stop(text), data[:cut], data[cut:]) == expected
        for other in range(cut, len(data) + 1, 3):
            assert _run(_stop(text), data[:cut], data[cut:other], data[other:]) == expected


@pytest.mark.parametrize("scope", [None, *Scope])
@pytest.mark.parametrize("stops", [(), (", b", "z"), ("\n",), (")",)])
def test_streamed_is_whole_with_other_ends(scope: Scope | None, stops: tuple[str, ...]) -> None:
    for text, written, _ in TABLE.values():
        prefix, _, suffix = text.partition("|")

        def make(prefix: str = prefix, suffix: str = suffix) -> TextStop:
            rule = None if scope is None else ScopeRule(scope, prefix)
            return TextStop(stops, rule, SuffixOverlap(GapSides.of(prefix, suffix)))

        data = written.encode()
        stop = make()
        whole = _run(stop, data)
        streamed = make()
        assert _run(streamed, *(data[at : at + 1] for at in range(len(data)))) == whole
        assert streamed.reason is stop.reason
        assert written.startswith(whole)


@pytest.mark.parametrize(
    ("stops", "written", "expected"),
    [
        pytest.param((";",), "a, b);\n", "a, b", id="stop-after-the-bracket"),
        pytest.param(("\n\n",), "a, b)\n\nx", "a, b", id="blank-line"),
    ],
)
def test_what_something_else_ends_is_trimmed_too(
    stops: tuple[str, ...], written: str, expected: str
) -> None:
    assert (
        _run(TextStop(stops, None, SuffixOverlap(GapSides.of("foo(", ")\n"))), written.encode())
        == expected
    )


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_loop_that_is_cut_leaves_no_blank_line_before_the_suffix(end: str) -> None:
    """Its line ends with the break that follows the gap."""
    for suffix, last in ((f"{end}main()", ""), (f"  {end}", ""), ("main()", end)):
        gap = GapSides.of("def f():\n    ", suffix)
        written = ("go(1)" + end) * 20
        shown = f"go(1){end}go(1){last}"
        for pieces in ([written.encode()], [bytes([byte]) for byte in written.encode()]):
            stop = TextStop(overlap=SuffixOverlap(gap))
            assert (_run(stop, *pieces), stop.reason) == (shown, FinishReason.REPETITION)


def _gaps(text: str, count: int) -> Iterator[tuple[str, str, str]]:
    """Gaps as people leave them: the end of a line, or a few whole lines."""
    draw = random.Random(1)
    lines = text.split("\n")
    while count:
        first = draw.randrange(len(lines))
        last = first + draw.choice([0, 0, 1, 2, 5])
        indent = len(lines[first]) - len(lines[first].lstrip())
        cut = indent if last > first else draw.randrange(indent, len(lines[first]) + 1)
        before = "\n".join([*lines[:first], lines[first][:cut]])
        after = "\n".join(["", *lines[last + 1 :]])
        middle = text[len(before) : len(text) - len(after)]
        if middle.strip() and len(after) > 1:
            count -= 1
            yield before, middle, after


@pytest.mark.parametrize("module", [argparse, inspect, textwrap], ids=lambda m: m.__name__)
def test_real_gaps_are_filled_and_not_overfilled(module: ModuleType) -> None:
    """What really stood there stays; written on into the suffix, it ends where it ended."""
    kept = cut = 0
    for before, middle, after in _gaps(inspect.getsource(module)[-30_000:], 60):
        gap = GapSides.of(before, after)
        kept += _run(TextStop(overlap=SuffixOverlap(gap)), middle.encode()) == middle
        written = (middle + after[:300]).encode()
        shown = _run(TextStop(overlap=SuffixOverlap(gap)), written)
        cut += shown.rstrip() == middle.rstrip()
    assert kept >= 57
    assert cut >= 54


def test_it_stops_as_soon_as_the_line_is_whole() -> None:
    stop = _stop("def f(x):\n    |\n    return total(x)\n")
    assert stop.feed(b"y = 1\n    return total(x)") == "y = 1"
    assert stop.reason is None
    assert stop.feed(b"\n") == ""
    assert stop.reason is FinishReason.SUFFIX


def test_what_cannot_be_the_suffix_is_shown_at_once() -> None:
    stop = _stop("f(|)\n")
    shown = [stop.feed(char.encode()) for char in "a + g(b) - c"]
    assert shown == ["a", "", " +", "", " g", "(", "b", ")", "", " -", "", " c"]


def test_a_huge_suffix_is_not_read_to_its_end() -> None:
    suffix = ")\n" + "x = f(1)\n" * 10**6
    assert (
        _run(TextStop(overlap=SuffixOverlap(GapSides.of("class A {\nfoo(bar(", suffix))), b"x)")
        == "x)"
    )
    assert (
        _run(TextStop(overlap=SuffixOverlap(GapSides.of("class A {\nfoo(", suffix))), b"x)") == "x"
    )
    long_line = "x" * 10**7
    assert _run(TextStop(overlap=SuffixOverlap(GapSides.of("a = ", long_line))), b"xx\n") == "xx\n"
