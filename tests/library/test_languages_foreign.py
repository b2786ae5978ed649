"""Texts in languages without a label: which are trained on, which are only asked for."""

import re

import numpy as np
import pytest

from training.corpus import Document
from training.languages.cases import Case
from training.languages.corpus import relabelled, split_of
from training.languages.evaluate import refusals
from training.languages.fences import MOST, blocks_of
from training.languages.labels import (
    LABELS,
    UNSEEN,
    group_of,
    known_label,
    label_of,
    of_name,
)
from training.languages.snippets import evened


def test_other_languages_are_unknown_and_some_are_never_trained_on() -> None:
    query = "for x in xs\n  print x\n" * 9
    documents = [
        Document("p", split, f"old:a{suffix}", query, None)
        for split in ("train", "validation", "test")
        for suffix in (".coffee", ".elm")
    ]
    told = [(document.split, document.path) for document in relabelled(documents)]
    assert told == [
        ("test", "unknown/CoffeeScript:a.coffee"),
        ("train", "unknown/Elm:a.elm"),
        ("validation", "unknown/CoffeeScript:a.coffee"),
        ("test", "unknown/CoffeeScript:a.coffee"),
    ]
    assert known_label("unknown/Elm") == LABELS[-1]
    assert known_label("Go") == "Go"


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("lexers/testdata/csharp/csharp_var.actual", "C#"),
        ("lexers/testdata/dylan.actual", "unknown/dylan"),
        ("ruby-rouge/demos/fsharp", "unknown/F# or Forth"),
        ("samples/coffee.sample", "unknown/CoffeeScript"),
        ("syntax-tests/source/Robot Framework/a.robot", "unknown/Robot Framework"),
        # A session is two languages, a licence none.
        ("ruby-rouge/demos/irb", None),
        ("syntax-tests/source/Batch/LICENSE.md", None),
        ("project/.gitignore", "unknown/Ignore list"),
        ("project/requirements.txt", "unknown/Pins"),
    ],
)
def test_samples_of_highlighters_and_lists_of_names(path: str, label: str | None) -> None:
    assert label_of(path, "first = 1;\nsecond = 2;\n") == label
    assert group_of(path) is not None


def test_a_sample_in_no_known_language_is_trained_on_wherever_it_is_from() -> None:
    """But for the languages that are only asked for, whose samples never are."""
    paths = ("unknown/dylan:rouge/demos/dylan", "unknown/Pug:rouge/demos/pug", "Go:rouge/demos/go")
    told = {
        (path.partition(":")[0], split): split_of(
            path.partition(":")[0], Document("p", split, path, "text", None)
        )
        for path in paths
        for split in ("train", "validation", "test")
    }
    assert {told["unknown/dylan", split] for split in ("train", "validation", "test")} == {"train"}
    assert [told["unknown/Pug", split] for split in ("train", "validation", "test")] == [
        "test",
        "validation",
        "test",
    ]
    assert all(told["Go", split] == split for split in ("train", "validation", "test"))


def test_no_language_that_is_asked_for_as_foreign_is_trained_on() -> None:
    spellings = {re.sub(r"[\W_]", "", name.lower()): name for name in UNSEEN}
    for plain, name in spellings.items():
        assert of_name(plain) == f"unknown/{name}"
    assert of_name("coffee") == "unknown/CoffeeScript"
    assert of_name("nothing") is None


def test_named_blocks_of_markdown_are_texts_of_their_language() -> None:
    go = "func size(path string) int64 {\n\tinfo, err := os.Stat(path)\n\treturn info.Size()\n}\n"
    readme = (
        f"# Title\n\n```go\n{go}```\n\n```console\n{go}```\n\n```text\n{go}```\n\n"
        f"1. first\n   ```js\n   const size = (path) => fs.statSync(path);\n"
        "   const name = path.basename(file);\n   console.log(size, name);\n   ```\n"
        "```sh\n$ go build ./...\n$ go test ./...\n$ go vet ./...\n$ ls -l /usr/local/bin\n```\n"
        '```json\n{"not": json, at all, because of comments and so on and so forth}\n```\n'
    )
    documents = [
        Document("p", split, "Markdown:README.md", readme, None) for split in ("train", "test")
    ]
    found = blocks_of(documents)
    assert [(one.split, one.path) for one in found] == [
        ("train", "Go:README.md#0"),
        ("train", "JavaScript:README.md#1"),
    ]
    assert found[0].text == go
    assert found[1].text.startswith("const size")


def test_of_a_package_only_so_many_blocks_of_a_language_are_taken() -> None:
    go = "func size(path string) int64 {\n\tinfo, err := os.Stat(path)\n\treturn info.Size()\n}\n"
    readme = f"```go\n{go}```\n" * (2 * MOST // len(go))
    found = blocks_of([Document("p", "train", "Markdown:README.md", readme, None)])
    assert MOST <= sum(len(one.text) for one in found) < MOST + len(go)


def test_foreign_languages_count_more_alike_than_their_texts() -> None:
    labels = ["unknown/A"] * 2 + ["unknown/B"]
    sums = evened(labels, ["x" * 80_000, "x" * 80_000, "x" * 10_000])
    shares = np.diff(sums, prepend=0)
    assert shares[0] == shares[1]
    assert (shares[0] + shares[1]) / shares[2] == pytest.approx(2)


def test_foreign_texts_are_counted_by_language_too() -> None:
    asked = [Case(f"unknown/{name}", "p", name) for name in ("Pug", "Pug", "Pug", "Haxe")]
    told = refusals(asked, ["unknown", "unknown", "YAML", "Java"])
    assert (told["cases"], told["share"], told["mean_of_languages"]) == (4, 0.5, 0.3333)
    assert told["languages"]["Pug"]["share"] == 0.6667
    assert {"is": "Haxe", "said": "Java", "cases": 1} in told["confusions"]
