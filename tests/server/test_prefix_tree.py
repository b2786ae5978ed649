"""What is kept of prompts: the longest beginning is found, within a bound of bytes."""

import json
import random
import urllib.request
from collections.abc import Sequence
from typing import Any

import pytest

from bigcode_cli.server.engine.prefix_tree import PrefixTree
from served import Server

PAGE = 4


def _pages(tokens: Sequence[int], start: int = 0) -> list[bytes]:
    """Each token as a byte stands for its keys and values."""
    return [bytes(tokens[at : at + PAGE]) for at in range(start, len(tokens), PAGE)]


def test_the_longest_beginning_is_found() -> None:
    random.seed(7)
    tree = PrefixTree(1 << 20, PAGE)
    known: list[list[int]] = []
    for _ in range(300):
        text = [random.randrange(3) for _ in range(random.randrange(1, 30))]
        best = max((_common(text, other) for other in known), default=0)
        match = tree.find(text, exact=False)
        assert match.tokens == best
        assert b"".join(match.pages)[:best] == bytes(text[:best])
        first = match.tokens // PAGE
        tree.add(text, _pages(text, first * PAGE), first=first, exact=False)
        known.append(text)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    pairs = zip(first, second, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def test_exact_means_whole_pages_that_were_computed_so() -> None:
    tree = PrefixTree(1 << 20, PAGE)
    text = list(range(10))
    tree.add(text, _pages(text), exact=False)
    assert tree.find(text, exact=True).tokens == 0
    tree.add(text[:8], _pages(text[:8]), exact=True)
    assert tree.find(text, exact=True).tokens == 8
    assert tree.find([*text[:6], 99], exact=True).tokens == 4
    assert tree.find([*text[:6], 99], exact=False).tokens == 6


def test_what_was_not_used_for_longest_goes_first() -> None:
    tree = PrefixTree(6 * PAGE, PAGE)
    for start in range(0, 60, 20):
        text = list(range(start, start + 2 * PAGE))
        tree.add(text, _pages(text), exact=True)
    assert tree.bytes == 6 * PAGE
    assert tree.find(list(range(8)), exact=True).tokens == 8  # used again
    text = list(range(100, 100 + 2 * PAGE))
    tree.add(text, _pages(text), exact=True)
    assert tree.bytes <= 6 * PAGE
    assert tree.find(list(range(8)), exact=True).tokens == 8
    assert tree.find(list(range(20, 28)), exact=True).tokens < 8


def test_pages_that_were_dropped_meanwhile_are_no_beginning() -> None:
    tree = PrefixTree(1 << 20, PAGE)
    text = list(range(8))
    tree.add(text, _pages(text)[1:], first=1, exact=True)
    assert tree.find(text, exact=True).tokens == 0


@pytest.mark.parametrize("order", ["psm", "spm"])
def test_a_keystroke_costs_only_what_is_new(server: Server, order: str) -> None:
    """In SPM order what is typed is at the end of the prompt; in PSM the suffix is read again."""
    prefix = "".join(f"value_{number} = compute({number})\n" for number in range(60))
    suffix = "".join(f"print(value_{number})\n" for number in range(10))

    def ask(typed: str) -> tuple[int, str]:
        sides = (prefix + typed, suffix)
        prompt = (
            f"<fim_prefix>{sides[0]}<fim_suffix>{sides[1]}<fim_middle>"
            if order == "psm"
            else f"<fim_prefix><fim_suffix>{sides[1]}<fim_middle>{sides[0]}"
        )
        body = {"prompt": prompt, "n_predict": 4, "temperature": 0}
        request = urllib.request.Request(
            f"{server.url}/completion",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            reply: Any = json.load(response)
        return reply["timings"]["prompt_n"], reply["content"]

    first, _ = ask("")
    again, text = ask("")
    assert again <= 2
    typed, _ = ask("def f(x):\n    ret")
    assert typed < (30 if order == "spm" else first // 2)
    assert ask("") == (again, text)


def test_the_text_is_that_of_a_prompt_that_nobody_has_read(server: Server) -> None:
    """Greedy texts with what is kept are those of a whole prefill, on the built-in model."""
    base = "".join(f"def f{number}(x):\n    return x + {number}\n\n\n" for number in range(30))
    for end in range(200, len(base), 331):
        prompt = base[:end]
        body = {"prompt": prompt, "max_tokens": 6, "temperature": 0}
        kept = server.ask("POST", "/v1/completions", body)[1]["choices"][0]["text"]
        alone = {"prompt": prompt, "max_tokens": 6, "cache": False}
        wanted = server.ask("POST", "/bigcode/v1/complete", alone)[1]["choices"][0]["text"]
        assert kept == wanted
