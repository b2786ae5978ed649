"""`--until`: where a line, block or function ends, however the text is cut into pieces."""

import random
import time
from typing import Literal

import pytest

from gpt_bigcode.completion.options import CompletionOptions
from gpt_bigcode.errors import OptionError
from gpt_bigcode.stopping.brackets import BracketReader, Syntax, guess_syntax
from gpt_bigcode.stopping.scope import ScopeRule
from gpt_bigcode.stopping.text_stop import Scope, TextStop

# Scope, prompt, what the model writes. "§" is where the scope ends; without it all of it is inside.
CASES = [
    ("line", "x = ", "1§\ny = 2\n"),
    ("line", "def f(x):", "\n    return x§\n\nprint()"),
    ("line", "def f(x):\n", "\n\n    return x§\n    y"),
    ("line", "x = ", "1"),
    ("block", "def f(x):\n    ", "y = x\n    return y§\n\n\ndef g():\n    pass\n"),
    ("block", "def f(x):\n", "    y = x\n    return y§\n\n\ndef g():\n    pass\n"),
    ("block", "def f(x):", "\n    y = x\n\n    return y§\nprint(f(1))\n"),
    ("block", "def f(x):\n    if x:\n        ", "return 1§\n    else:\n        return 2\n"),
    (
        "block",
        "def f(x):\n    if x:\n        return 1\n    ",
        "else:\n        return 2\n    return 3§\n\nprint(1)\n",
    ),
    ("block", "import os\n", "import sys§\n\nimport re\n"),
    ("block", "import os\n", "\n\ndef f(x):\n    a\n\n    return x§\n\n\ndef g(): pass"),
    ("block", "", "if x:\n    a\nelse:\n    b§\nc = 1\n"),
    ("block", "def f(", "x,\n      y):\n    return x§\n\nz = 1"),
    ("block", "def f():\n    x = foo(", "\n        a,\n  b,\n    )\n    return x§\n\ndef g"),
    ("block", "def f():\n    s = '''", "\nunindented\n'''\n    return s§\nx"),
    ("block", "x = [\n", "    1,\n    2,\n]§\ny = 1\n"),
    ("block", "int f(int x) {\n    ", "return x;\n}§\n\nint g() {\n"),
    (
        "block",
        "int f(int x) {\n    if (x) {\n        ",
        "g();\n    }§ else {\n        h();\n    }\n",
    ),
    ("block", "describe('x', () => {\n  ", "it('y', () => {\n    z();\n  });\n});§\n\ndescribe(\n"),
    ("block", "#include <stdio.h>\n\n", "int main(void) {\n    return 0;\n}§\n\nint x;\n"),
    ("block", "switch (x) {\n", "case 1:\n    a();\n    break;\ndefault:\n    b();\n}§\nreturn 0;"),
    ("block", "for f in *; do\n    ", "echo $f\ndone§\necho end\n"),
    ("block", "#!/bin/sh\nif true; then\n", "    a\nfi§\nb\n"),
    ("block", "#!/bin/sh\nf() {\n", "  case $1 in\n    a) x ;;\n  esac\n}§\nf\n"),
    (
        "function",
        "def f(x):\n    if x:\n        ",
        "return 1\n    else:\n        return 2\n    # c\n\n    return 3§\n\nprint(1)\n",
    ),
    (
        "function",
        "",
        "import os\n\nx = 1\n\n\n@dec\ndef f(x):\n    a\n\n    return x§\n\n\ndef g(): pass",
    ),
    ("function", "class A:\n    def f(self):\n        ", "a\n\n        b§\n\n    def g(self):\n"),
    (
        "function",
        "class A:\n    def f(self):\n        return 1\n\n",
        "    def g(self):\n        return 2§\n\n    def h(self):\n",
    ),
    ("function", "def f(\n    a,", "\n    b,\n):\n    return a§\n\nx = 1\n"),
    (
        "function",
        "static int f(int x)\n{\n    if (x) {\n        ",
        "g();\n    }\n    return 1;\n}§\n\nint g()\n{\n",
    ),
    (
        "function",
        "#include <x.h>\n",
        "\nstatic int f(int x)\n{\n    if (x) {\n        g();\n    }\n    h();\n}§\n\nint g()\n{\n",
    ),
    (
        "function",
        "class A {\n  run() {\n    ",
        "for (const x of y) {\n      if (x) { z(); }\n    }\n  }§\n\n  stop() {\n  }\n}\n",
    ),
    (
        "function",
        "fn f<'a>(x: &'a str) -> &'a str {\n    ",
        "let c = '{';\n    x\n}§\n\nfn g() {}\n",
    ),
    ("function", "#!/bin/bash\n", "set -e\n\nf() {\n    if x; then\n        y\n    fi\n}§\n\nf\n"),
    ("function", "def area(w, h)\n  if w\n", "    x\n  end\n  w * h\nend§\n\ndef b\n"),
    (
        "function",
        "func (s *S) Get(k string) (int, error) {\n\t",
        "v, ok := s.m[k]\n\tif !ok {\n\t\treturn 0, nil\n\t}\n\treturn v, nil\n}§\n\nfunc x",
    ),
    ("block", "// it's a comment with an apostrophe {\nint f() {\n", "    return '{';\n}§\nint g;"),
    ("block", "def f():\n    # it's (\n    ", "return 1§\nx\n"),
    ("block", "def f():\n    return ", "a // b(1)\n    # x§\ndef"),
    ("file", "def f():\n    ", "x\n\n\ndef g():\n    y\n"),
    (
        "block",
        "public class A {\n    public int f() {\n        ",
        "return 1;\n    }§\n\n    public int g() {\n",
    ),
    (
        "function",
        "public class A {\n    public int f() {\n        ",
        "return 1;\n    }§\n\n    public int g() {\n",
    ),
    (
        "function",
        "public class A {\n",
        "    private int x;\n\n    int f(int y) throws E {\n        return 1;\n    }§\n\n    int g",
    ),
    ("block", "def f(x):\n    try:\n        ", "a()§\n    except E:\n        b()\n"),
    ("block", "    x = 1\n", "    y = 2§\nz\n"),
    ("block", "def f(x):\n", "§z = 1\n"),
    ("block", "local function f(x)\n  ", "return x\nend§\n\nprint(f(1))"),
    (
        "block",
        "const f = async (x) => {\n  ",
        "return await x.map((y) => {\n    return `a ${y} {`;\n  });\n};§\nf();\n",
    ),
    ("block", "def f(\n    a,\n    b):", "\n    return a§\nx = 1\n"),
    ("block", "def f():\n    return [\n", "        1,\n        2,\n    ]§\n\nx = 1"),
    ("block", "def f():\n    x = {  # why:\n", "        1: 2,\n    }§\n    return x\n"),
    ("block", "if a; then\n    b\n    ", "c§\nelse\n    d\nfi\n"),
    (
        "function",
        "class A:\n    x = 1\n",
        "\n    @p\n    def g(self):\n        return 2§\n\n    y = 1\n",
    ),
    ("function", "def f():\n    ", "return 1§\n@x\ndef g"),
    ("line", "", "\n\n  \n  x§\n\n"),
    ("line", "x", "\r\n y§\nz"),
    ("block", "x = 1  # it's\n", "y = (\n1)§\n\nz"),
    ("block", "try:\n    a\nexcept E:\n    ", "pass§\nfinally:\n    b\n"),
    ("block", "", "x"),
    ("function", "", "x = 1\n"),
    ("block", "def f():\n", "\n\n    return 1§\n\n\n#"),
    ("block", "def f():\n", "\treturn 1\n\n\treturn 2§\nx"),
    ("block", "if (a) {\n  b();\n} else {\n  ", "c();\n}§\nd();\n"),
    ("block", "impl A {\n    ", "fn f(&self) -> u8 {\n        1\n    }\n}§\nfn g"),
]


def show(scope: str, prompt: str, pieces: list[str]) -> tuple[str, bool]:
    """What is shown of a text that comes in pieces, and whether it was ended."""
    stop = TextStop(scope=ScopeRule(Scope(scope), prompt))
    shown = []
    for piece in pieces:
        shown.append(stop.feed(piece.encode()))
        if stop.reason is not None:
            break
    return "".join([*shown, stop.close()]), stop.reason is not None


@pytest.mark.parametrize(("scope", "prompt", "text"), CASES)
def test_a_scope_ends_where_it_should(scope: str, prompt: str, text: str) -> None:
    inside, mark, outside = text.partition("§")
    assert show(scope, prompt, [inside + outside]) == (inside, bool(mark))


@pytest.mark.parametrize(("scope", "prompt", "text"), CASES)
def test_it_does_not_matter_how_the_text_is_cut(scope: str, prompt: str, text: str) -> None:
    inside, mark, outside = text.partition("§")
    whole = inside + outside
    expected = (inside, bool(mark))
    for place in range(len(whole) + 1):
        assert show(scope, prompt, [whole[:place], whole[place:]]) == expected
    assert show(scope, prompt, list(whole)) == expected
    chance = random.Random(whole)
    for _ in range(5):
        cuts = sorted(chance.sample(range(len(whole) + 1), min(4, len(whole))))
        pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        assert show(scope, prompt, pieces) == expected


def test_lines_of_a_block_are_shown_as_they_come() -> None:
    rule = ScopeRule(Scope.BLOCK, "def f():\n")
    stop = TextStop(scope=rule)
    shown = [stop.feed(piece.encode()) for piece in ["    a", " = 1\n", "\n    ", "b", "(", ")"]]
    assert shown == ["", "    a = 1", "", "", "\n\n    b(", ")"]


def test_what_was_held_back_is_shown_at_the_end() -> None:
    assert show("block", "def f():\n", ["    a\n\n    "]) == ("    a\n\n    ", False)
    assert show("block", "def f():\n", ["    a\n    retur"]) == ("    a\n    retur", False)
    assert show("block", "def f():\n", ["    a\nprin"]) == ("    a", True)


@pytest.mark.timing
def test_the_prompt_alone_can_be_long() -> None:
    prompt = "\n".join(f"def f{n}(x):\n    return x + {n}\n" for n in range(20_000))
    started = time.perf_counter()
    got = show("function", prompt + "def g(x):\n", ["    return x\n", "\n\ndef h(x):\n"])
    assert got == ("    return x", True)
    assert time.perf_counter() - started < 1.0


def test_a_window_that_begins_inside_a_docstring_is_not_turned_around() -> None:
    prompt = 'x = """\n' + "a line of prose\n" * 2000 + '"""\n\ndef f():\n    """Do."""\n'
    assert show("block", prompt, ["    return 1\n\nx = 1"]) == ("    return 1", True)


@pytest.mark.parametrize(
    ("text", "syntax"),
    [
        ("", Syntax.INDENT),
        ("def f(x):\n    return x\n", Syntax.INDENT),
        ("import os\nx = {\n    1: 2,\n}\n", Syntax.INDENT),
        ("int f(int x) {\n", Syntax.BRACES),
        ("#include <stdio.h>\n", Syntax.BRACES),
        ("import a.b.C;\n\nclass D {\n}\n", Syntax.BRACES),
        ("package main\n\nfunc main() {\n\tfmt.Println()\n}\n", Syntax.BRACES),
        ("#!/bin/sh\nset -e\n", Syntax.WORDS),
        ("for i in a b; do\n  echo $i;\ndone\n", Syntax.WORDS),
        ("class A\n  def f\n    1\n  end\nend\n", Syntax.WORDS),
    ],
)
def test_the_kind_of_language_is_guessed(text: str, syntax: Syntax) -> None:
    assert guess_syntax(text) is syntax


@pytest.mark.parametrize(
    ("syntax", "text", "depth"),
    [
        (Syntax.INDENT, "f(a, [b, {", 3),
        (Syntax.INDENT, "f('(', \"[\", ", 1),
        (Syntax.INDENT, "x = '\\'(' + f(", 1),
        (Syntax.INDENT, '"""(\n[\n"""(', 1),
        (Syntax.INDENT, '"" + f("" "(', 1),
        (Syntax.INDENT, "# (\nf(", 1),
        (Syntax.INDENT, "a // f(", 1),
        (Syntax.INDENT, "it's (\nf(", 1),
        (Syntax.BRACES, "// {\n{", 1),
        (Syntax.BRACES, "/* { ' \n { */ {", 1),
        (Syntax.BRACES, "`{\n{` {", 1),
        (Syntax.BRACES, "fn f<'a>(x: &'a str) {", 1),
        (Syntax.BRACES, "{ ( }", 0),
        (Syntax.BRACES, "( { )", 2),
        (Syntax.BRACES, "#define X(", 1),
        (Syntax.WORDS, "case x in\n a) b;;\n { (", 2),
        (Syntax.WORDS, "${#x} {", 1),
        (Syntax.INDENT, ")]}", 0),
    ],
)
def test_open_brackets_are_counted(syntax: Syntax, text: str, depth: int) -> None:
    reader = BracketReader(syntax)
    for char in text:
        reader.feed(char)
    assert reader.depth == depth


def test_names_of_scopes() -> None:
    names: list[Literal["line", "block", "function", "file"]] = [
        "line",
        "block",
        "function",
        "file",
    ]
    assert [CompletionOptions(until=name).until for name in names] == names == list(Scope)
    with pytest.raises(OptionError, match=r"paragraph.*line, block, function, file"):
        CompletionOptions(until="paragraph")
