"""What the built-in model is measured with: the baselines, and the cases."""

import ast
import itertools
import random
import statistics
from collections import Counter
from pathlib import Path

import pytest

from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from training import answers, evaluate
from training.baselines import LineCopier, NgramWriter
from training.held_out import (
    PREFIX_CHARACTERS,
    SUFFIX_CHARACTERS,
    Gap,
    at_a_token,
    gaps,
    lines_of_functions,
    near,
    prompts_at_borders,
)
from training.intervals import interval, ratio_interval
from training.journal import Journal
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
        assert gap.prefix + gap.line + gap.suffix in text
        assert gap.suffix.startswith("\n")


def test_rests_of_lines_begin_after_a_token_that_is_not_the_last() -> None:
    text = Path(__file__).read_text("utf-8")
    tokenizer = CodeTokenizer.from_file(FOLDER / "tokenizer.json")
    ends = evaluate.token_ends(tokenizer)
    assert ends("return x\n")[-1] == len("return x\n")
    assert ends("name = 'ä'") == []
    cut = at_a_token(ends)
    assert cut("x", random.Random(1)) == 0
    found = gaps([{"package": "p", "path": "q", "text": text}], 40, 1, cut=cut)
    for gap in found:
        assert gap.prefix + gap.line + gap.suffix in text
        assert len(gap.prefix) <= PREFIX_CHARACTERS
        assert len(gap.suffix) <= SUFFIX_CHARACTERS
        assert text.startswith(gap.prefix) or "\n" + gap.prefix in text
        begun = gap.prefix.rpartition("\n")[2].lstrip()
        assert len(begun) in ends(begun + gap.line)[:-1]
    assert len({len(gap.line) for gap in found}) > 5
    assert near("a" * 9_000) == "a" * 9_000


def test_answers_are_judged_case_by_case() -> None:
    cases = [Gap("p", "", line, "") for line in ("return total", "x = area(2)", "print(name)")]
    psm, spm = ["total = 1", "", "print(name)"], ["return None ", "  x = area(2)", ""]
    first, second = answers.judge(cases, psm), answers.judge(cases, spm)
    assert (first["share"], second["share"]) == (0.3333, 0.3333)
    assert (first["first_word"]["share"], second["first_word"]["share"]) == (0.3333, 0.6667)
    assert (first["empty"], second["empty"]) == (1, 1)
    low, high = first["edit_similarity"]["interval_95"]
    assert low < first["edit_similarity"]["mean"] < high
    assert first["examples"][1] == {"line": "x = area(2)", "written": ""}
    more = answers.difference(cases, psm, spm)
    assert (more["mean"], more["first_better"], more["second_better"]) == (0.0, 1, 1)


def test_words_and_edits() -> None:
    assert answers.first_word("  return(x)") == "return"
    assert answers.first_word("(a, b)") == "("
    assert answers.first_word("") == ""
    assert answers.similarity("abcd", "bcde") == 0.75
    assert answers.similarity("", "a") == 0.0


def test_completions_that_a_guard_cut_are_counted_apart(tmp_path: Path) -> None:
    made = {"a = 1\n": ("b = = 2\n", "length"), "c = 1\n": ("d = 2\n", "repetition")}
    made["e = 1\n"] = ("f = 2\n", "stop")
    found = evaluate.completions(Journal(tmp_path / "j"), "c", list(made), made.__getitem__)
    assert found["share"] == 0.6667
    assert found["cut_by_the_loop_guard"]["share"] == 0.3333
    assert found["of_those_that_ran_to_their_end"]["share"] == 0.5
    assert found["of_those_that_ran_to_their_end"]["cases"] == 2


def test_lines_are_asked_for_by_the_tools_own_path(tmp_path: Path, tiny_checkpoint: Path) -> None:
    measurer = evaluate.Measurer(
        tiny_checkpoint, evaluate.Cases(texts=[], long_texts=[], prompts=[], gaps=[], rests=[])
    )
    case = Gap("p", "def f(a):\n    ", "return a", "\n\nf(1)\n")
    fillers = measurer.fillers()
    found = evaluate.lines(Journal(tmp_path / "j"), "whole", [case, case], fillers)
    assert set(found) == {"complete", "psm", "spm", "spm_minus_psm"}
    for way, fill in fillers.items():
        assert "\n" not in fill(case).strip()
        assert found[way]["cases"] == 2


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


def test_the_interval_of_a_ratio_holds_the_ratio_and_shrinks_with_more_files() -> None:
    generator = random.Random(2)
    sizes = [generator.uniform(1, 9) for _ in range(400)]
    parts = [size * generator.gauss(2, 0.5) for size in sizes]
    low, high = ratio_interval(parts, sizes)
    assert low < sum(parts) / sum(sizes) < high
    # Of a mean: 1.96 standard errors to each side.
    ones = [1.0] * len(parts)
    values = [part / size for part, size in zip(parts, sizes, strict=True)]
    low, high = ratio_interval(values, ones)
    error = statistics.stdev(values) / len(values) ** 0.5
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.05)
    few = ratio_interval(values[:25], ones[:25])
    assert few[1] - few[0] > 2 * (high - low)
    assert ratio_interval([3.0], [2.0]) == [1.5, 1.5]


def test_a_killed_evaluation_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal.jsonl"
    made: list[str] = []

    def make(case: str) -> list[str]:
        if case == "third" and len(made) == 2:
            raise KeyboardInterrupt
        made.append(case)
        return [case.upper()]

    cases = ["first", "second", "third"]
    with pytest.raises(KeyboardInterrupt):
        Journal(path).each("a", cases, make)
    with path.open("ab") as torn:
        torn.write(b'["a", 2, "the rest was never wri')
    made.append("killed")
    journal = Journal(path)
    assert journal.each("a", cases, make) == [["FIRST"], ["SECOND"], ["THIRD"]]
    assert made == ["first", "second", "killed", "third"]
    # Another measure has cases of its own; a smaller run takes the first ones.
    assert journal.each("b", cases[:1], make) == [["FIRST"]]
    assert Journal(path).each("a", cases[:2], make) == [["FIRST"], ["SECOND"]]
    assert made[4:] == ["first"]
    assert set(journal.seconds) == {"a", "b"}
    journal.finish()
    assert not path.exists()


def test_other_weights_have_a_journal_of_their_own_and_the_baselines_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "WORK", tmp_path)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "test.jsonl").write_text("{}\n")
    measured = {}
    for weights in ("first", "second"):
        (tmp_path / weights).mkdir()
        (tmp_path / weights / "model.safetensors").write_text(weights)
        (tmp_path / weights / "tokenizer.json").write_text("the same")
        measured[weights] = evaluate.measured_files(tmp_path / weights, "test")
    paths = [evaluate.journal_of("", files, [4]).path for files in measured.values()]
    assert len(set(paths)) == 2
    known = {evaluate.journal_of("b-", files[1:], [4]).path for files in measured.values()}
    assert len(known) == 1
    assert evaluate.journal_of("b-", measured["first"][1:], [5]).path not in known


def test_the_ngrams_begin_behind_a_token_that_is_spelled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prefix that ends with indentation ends with a token that no training text has there."""
    text = "def f():\n    return 1\n\n\ndef g():\n    return 2\n"
    monkeypatch.setattr("training.baselines.WORK", tmp_path)
    monkeypatch.setattr("training.baselines.read_texts", lambda _split: [text] * 3)
    tokenizer = CodeTokenizer.from_file(FOLDER / "tokenizer.json")
    writer = NgramWriter(tokenizer)
    assert writer.write("def g():\n    ", 6).startswith("return ")
    assert writer.write("def g():\n    ret", 6).startswith("urn ")
    assert writer.write("", 2) == "def f"
    again = NgramWriter(tokenizer)
    assert again.nats(text) == pytest.approx(writer.nats(text))
    assert again.nats(text) < again.nats(text[::-1]) / 4
