"""The recipe of the language classifier: what may be asked for, and what rows are made of."""

import random

import pytest

from training.languages import snippets as recipe
from training.languages import telling
from training.languages.cases import files, snippets
from training.languages.labels import LABELS
from training.languages.snippets import NOISE_SHARE, SPECIALS, RowMaker, asked_starts, draw_snippet
from training.train_tokenizer import train as train_tokenizer

PYTHON = '''"""Long words of a docstring.

More words of it, which say nothing of the language.
"""
# A comment of many words that are not code.
def total(prices, rate):
    # another comment in the middle
    amount = sum(price * rate for price in prices)
    return round(amount, digits)
'''
MARKDOWN = """# A heading

```python
def total(prices):
    return sum(prices)
```

- a [link](target) among words
"""


@pytest.mark.parametrize(
    ("label", "text", "kept", "gone"),
    [
        ("Python", PYTHON, ["def total(", "sum("], ["docstring", "comment"]),
        ("Markdown", MARKDOWN, ["# A heading", "[link]"], ["def total", "sum("]),
        ("C", 'int n; // word\n/* two\nlines */ f("text");\n', ["int n", "f("], ["two", "text"]),
        ("JavaScript", "fetch('http://host/'); // word\n", ["fetch("], ["host", "word"]),
        ("PHP", "<p>words</p>\n<?php $a = run(); # no\n?>\n<b>x</b>", ["run()"], ["words", "no"]),
        ("PHP", "<?php\n$a = run();\n", ["run()"], []),
        ("HTML", "<p>hi</p><script>var x = 1;</script>", ["<p>hi"], ["var x"]),
        ("Lua", "local a = 1 --[[ many\nwords ]] b()\n", ["local a", "b()"], ["many", "words"]),
        ("Perl", "=head1 NAME\n\nwords\n\n=cut\n\nmy $x = 1;\n", ["my $x"], ["words", "NAME"]),
        ("SQL", "select a -- why\nfrom t;\n", ["select a", "from t"], ["why"]),
        ("OCaml", "(* why *) let x = y\n", ["let x"], ["why"]),
        ("reStructuredText", "Say::\n\n    x = code\n\nMore.\n", ["Say", "More"], ["code"]),
    ],
)
def test_what_is_silent_is_blank_and_lines_stay(
    label: str, text: str, kept: list[str], gone: list[str]
) -> None:
    rest = telling.masked(label, text)
    assert len(rest) == len(text)
    assert rest.count("\n") == text.count("\n")
    assert all(part in rest for part in kept)
    assert not any(part in rest for part in gone)


@pytest.mark.parametrize(
    ("label", "text", "tells"),
    [
        ("C", "/* Only a notice of the licence, with very many words in it. */\n", False),
        ("C", "int first(void);\nint second(int count);\nchar *third(const char *);\n", True),
        (
            "JSON",
            '{"name": "packages with words", "files": ["first", "second", "third"]}',
            True,
        ),
        ("Markdown", "Only plain words here, without a single mark of the format.\n", False),
        ("Markdown", "# A heading\n\nand words below it, as many as one can wish for\n", True),
        ("HTML", "words without any tag at all, although the name says that it is\n", False),
        ("Python", '"""A docstring alone, as long as it may be, says little."""\n', False),
    ],
)
def test_files_that_say_their_language(label: str, text: str, *, tells: bool) -> None:
    assert telling.file_tells(label, text) is tells


def test_snippets_are_never_comments_alone() -> None:
    drawn = {draw_snippet("Python", PYTHON, random.Random(seed)) for seed in range(40)}
    assert drawn == {
        "".join(line + "\n" for line in PYTHON.split("\n")[start : start + 3]) for start in (5, 6)
    }


def test_snippets_of_markdown_are_not_those_of_another_language() -> None:
    for seed in range(20):
        drawn = draw_snippet("Markdown", MARKDOWN, random.Random(seed))
        assert drawn is None or "heading" in drawn or "[link]" in drawn


def test_no_snippet_where_nothing_can_be_asked_for() -> None:
    numbers = "".join(f"    {n}, {n + 1}, {n + 2}, {n + 3}, {n + 4}, {n + 5},\n" for n in range(30))
    assert draw_snippet("C", numbers, random.Random(1)) is None
    assert draw_snippet("C", "// " + "words " * 20 + "\n", random.Random(1)) is None


def test_rows_begin_where_snippets_do() -> None:
    starts = asked_starts("Python", PYTHON)
    assert [PYTHON[start:].partition("\n")[0] for start in starts] == [
        "def total(prices, rate):",
        "    # another comment in the middle",
    ]


def test_cases_are_a_function_of_the_seed() -> None:
    records = [
        {"label": "Python", "package": f"p{n}", "path": f"{n}.py", "text": f"{PYTHON}x{n} = {n}\n"}
        for n in range(6)
    ]
    first = snippets(records, 4, 3, lines=3)
    assert first == snippets(records[::-1], 4, 3, lines=3)
    assert len(first) == 4
    assert len({case.text for case in first}) == 4
    assert {case.package for case in files(records, 3, 3)} < {
        record["package"] for record in records
    }


def test_noise_changes_some_ids_of_some_rows() -> None:
    tokenizer = train_tokenizer([PYTHON, MARKDOWN], vocabulary=290)
    maker = RowMaker([], tokenizer)
    ids = [SPECIALS] * 400
    rows = [maker.noisy(ids, random.Random(seed)) for seed in range(40)]
    changed = [sum(number != SPECIALS for number in row) / len(row) for row in rows]
    untouched = changed.count(0)
    assert 8 <= untouched <= 32
    noise = [share for share in changed if share]
    assert max(noise) < NOISE_SHARE
    assert 0.3 * NOISE_SHARE < sum(noise) / len(noise) < 0.7 * NOISE_SHARE
    assert min(min(row) for row in rows) >= SPECIALS


def test_rows_may_lose_their_blank_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "NOISY_ROWS", 0.0)
    monkeypatch.setattr(recipe, "DENSE_SHARE", 1.0)
    tokenizer = train_tokenizer([PYTHON, MARKDOWN], vocabulary=290)
    record = {"label": "Markdown", "package": "p", "path": "p.md", "text": MARKDOWN * 5}
    maker = RowMaker([record], tokenizer)
    language = LABELS.index("Markdown")
    pieces = [maker.piece(language, 60, random.Random(seed))[0] for seed in range(20)]
    assert all("\n\n" not in tokenizer.decode(piece) for piece in pieces)
