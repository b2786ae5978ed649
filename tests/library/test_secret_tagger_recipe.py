"""Laws of the tagger's recipe: values are what their labels say, and no place of one is lost."""

import ipaddress
import itertools
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from gpt_bigcode.modeling.heads import GPTBigCodeForTokenClassification
from training.secret_tagger import decoys, keys, tokens, values
from training.secret_tagger.card import verdict
from training.secret_tagger.initial import begin, keep_positions, look_further, turned_back, waves
from training.secret_tagger.passages import Passages
from training.secret_tagger.planting import (
    FINDINGS,
    LABELS,
    Draw,
    Finding,
    Planted,
    assignment,
    cut,
    document,
    fill,
    joined,
    line,
    plant,
    templates,
)
from training.secret_tagger.reading import Reading, ReadMode
from training.secret_tagger.scoring import (
    Tally,
    f1_interval,
    ignorable,
    lines_of,
    rate_interval,
    unseen_shapes,
)
from training.secret_tagger.shape import Shape, configuration
from training.secret_tagger.sources import RealFile, doubtful_lines, split_of
from training.secret_tagger.spotting import token_logits, window_starts
from training.secret_tagger.swapping import swapped
from training.secret_tagger.vocabulary import (
    CLOSED,
    TEST,
    VALIDATION,
    Vocabulary,
    held_out,
    invented,
    open_vocabulary,
)

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "model" / "training" / "secret_tagger"
DRAWS = 300
_CODE = "import os\n\n\ndef f(x):\n    return x\n" * 20


def draws(seed: int = 1, vocabulary: Vocabulary = CLOSED) -> Draw:
    return Draw(random.Random(seed), vocabulary)


def texts_of(planted: Planted) -> list[tuple[str, str]]:
    return [(f.label, planted.text[f.start : f.end]) for f in planted.findings]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    draw = draws()
    samples = [line(form, draw).text for form in ("python", "yaml", "env") for _ in range(200)]
    trained = tokens.train([*samples, *(document(draw).text for _ in range(60))], 600)
    trained.encode_special_tokens = True
    return trained


# Values


def test_addresses_are_global_and_their_stand_ins_are_not() -> None:
    generator = random.Random(2)
    for _ in range(DRAWS):
        assert ipaddress.ip_address(values.ip_address(generator)).is_global
        stand_in = ipaddress.ip_address(decoys.reserved_ip(generator))
        assert not stand_in.is_global or stand_in.is_multicast


def test_example_addresses_are_in_reserved_domains() -> None:
    generator = random.Random(2)
    reserved = re.compile(
        r"@(.*\.)?(example(\.\w+)*|localhost|invalid|local|test)$|^git@|@host|@b$|<"
    )
    for _ in range(DRAWS):
        assert reserved.search(decoys.example_email(generator, CLOSED))
        assert not reserved.search(values.email(generator))


def test_what_is_held_out_is_not_trained_on() -> None:
    assert not keys.TRAINED.keys() & keys.HELD_OUT.keys()
    for one, other in itertools.combinations((CLOSED, VALIDATION, TEST), 2):
        assert not {*one.given} & {*other.given}
        assert not {*one.family} & {*other.family}
        assert not {*one.words} & {*other.words}
    generator, pattern = random.Random(3), unseen_shapes()
    for _ in range(DRAWS):
        assert pattern.fullmatch(keys.provider_key(generator, held_out=True))
        assert not pattern.fullmatch(keys.provider_key(generator))
    assert split_of("mkdocs", "train") == split_of("rich", "test") == "test"
    assert split_of("numpy", "train") == "train"


@pytest.fixture(scope="module")
def open_words() -> Vocabulary:
    names = (
        [*CLOSED.given, "Gareth", "Jo Niamh"],
        [*CLOSED.family, "Vogel", "van Vogel", "Garethson"],
    )
    return open_vocabulary(["import beacon, lighthouse\nsolar_wind = 1"] * 2, names)


def test_an_open_vocabulary_holds_nothing_that_is_held_out(open_words: Vocabulary) -> None:
    assert {"solar", "wind", "lighthouse"} <= {*open_words.words}
    assert "Garethson" in open_words.family
    for entries in (open_words.given, open_words.family, open_words.words):
        parts = {part for entry in entries for part in re.split("[ '-]", entry.lower())}
        assert not parts & held_out()
    assert {"beacon", "vogel", "niamh", "wetherby"} <= held_out()
    made = {*open_words.given} - {*CLOSED.given}
    assert len(made) > len(CLOSED.given) / 4


def test_invented_names_follow_the_letters_of_real_ones() -> None:
    made = invented(["Anna", "Anton", "Nora"], random.Random(1), 200)
    assert {"Anna", "Nora"} < {*made}
    for entry in made:
        assert all(entry[at : at + 3] in "Anna Anton Nora" for at in range(len(entry) - 2))


def test_values_of_an_open_vocabulary_fit_where_they_stand(open_words: Vocabulary) -> None:
    generator = random.Random(5)
    for _ in range(DRAWS):
        assert re.fullmatch(
            r"[\w.+-]+@([a-z0-9-]+\.)+[a-z]{2,}", values.email(generator, open_words)
        )
        assert re.fullmatch(r"[\w.-]{2,}", values.username(generator, open_words))
        secret = values.password(generator, open_words, in_url=True)
        assert re.fullmatch(r"[\w!*.-]{5,}", secret)
        assert values.full_name(generator, open_words)[0].isupper()


def test_a_private_key_ends_as_it_begins() -> None:
    lines = keys.private_key(random.Random(1)).split("\n")
    assert lines[0].replace("BEGIN", "END") == lines[-1]
    assert {len(row) for row in lines[1:-2]} == {64}


def test_no_key_is_written_in_the_recipe() -> None:
    shapes = [shape for group in keys.TRAINED.values() for shape in group if "{" not in shape[:3]]
    heads = [keys.fill(shape, random.Random(1))[:8] for shape in shapes]
    assert len(heads) > 20
    for path in RECIPE.iterdir():
        text = path.read_text("utf-8") if path.is_file() else ""
        assert not unseen_shapes().search(text)
        assert not re.search(
            r"AKIA[A-WYZ0-9]{16}|gh[pos]_[0-9A-Za-wyz]{36}|-BEGIN [A-Z]* ?PRIV", text
        )


# Templates and planting


def all_templates() -> list[str]:
    found = []
    for section, groups in templates().items():
        if section != "assignments":
            found += [template for group in groups.values() for template in group]
    return found


def test_every_template_fills_and_its_findings_are_its_values() -> None:
    for template in all_templates():
        filled = fill(template, draws(vocabulary=TEST))
        assert not re.search(r"<<\w+\??>>", filled.text)
        ends = [0, *(finding.end for finding in filled.findings)]
        assert all(f.start >= end for f, end in zip(filled.findings, ends, strict=False))
        assert all(f.end <= len(filled.text) and f.start < f.end for f in filled.findings)


def test_a_stand_in_is_no_finding() -> None:
    labelled = [bool(fill("<<PASSWORD?>>", draws(seed)).findings) for seed in range(DRAWS)]
    assert 0.5 < sum(labelled) / DRAWS < 0.8
    filled = fill('x = "<<hash>>" # <<KEY>>', draws())
    assert [label for label, _ in texts_of(filled)] == ["KEY"]
    assert {label for label, _ in FINDINGS.values()} == {*LABELS}


def test_planting_keeps_every_place() -> None:
    host = Planted("def f():\n    pass\n", (Finding(4, 5, "NAME"),), ((9, 18),))
    grown = plant(host, Planted("k = 'v'", (Finding(5, 6, "KEY"),)), 9)
    assert grown.text == "def f():\n    k = 'v'\n    pass\n"
    assert texts_of(grown) == [("NAME", "f"), ("KEY", "v")]
    assert [grown.text[low:high] for low, high in grown.doubtful] == ["    pass\n"]
    assert joined(cut(grown, 0, 12), cut(grown, 12, len(grown.text))).text == grown.text


def test_values_of_real_code_are_swapped() -> None:
    code = "a = 1\npassword='secret', host='127.0.0.1'\n# <EMAIL> of user@example.com\n"
    code += "__author__ = 'A B C D'\n"
    host = Planted(code, (), ((6, 42),))
    new = swapped(host, draws(), 1.0)
    assert [label for label, _ in texts_of(new)] == [
        *("PASSWORD", "IP_ADDRESS", "EMAIL", "EMAIL", "NAME"),
    ]
    assert new.text.startswith("a = 1\npassword='")
    low, high = new.doubtful[0]
    assert new.text[low:high].startswith("password=")
    assert new.text[low:high].endswith("'\n")
    kept = swapped(host, draws(), 0.0)
    assert [label for label, _ in texts_of(kept)] == ["EMAIL"]


def test_doubtful_lines_may_hold_findings() -> None:
    doubtful = [
        "# Author: Jane A. Roe",
        "x = '/home/somebody/data'",
        "# TODO(somebody): later",
        "mail = 'who@somewhere.org'",
        "dns = '9.9.9.9'",
        "password = 'a1b2c3d4'",
    ]
    plain = [
        "author = models.CharField()",
        "mail = 'who@example.com'",
        "host = '127.0.0.1'",
        "password = None",
        "THE COPYRIGHT HOLDERS AND CONTRIBUTORS",
        "version = '1.2.3'",
    ]
    text = "\n".join([*doubtful, *plain])
    found = [text[low:high].rstrip("\n") for low, high in doubtful_lines(text)]
    assert found == doubtful


def test_passages_follow_from_their_seed() -> None:
    files = [RealFile("p", "a.py", "python", _CODE), RealFile("p", "a.yaml", "yaml", _CODE)]
    first, second = Passages(files, "s"), Passages(files, "s")
    drawn = [first.next() for _ in range(40)]
    assert drawn == [second.next() for _ in range(40)]
    assert sum(len(one.findings) for one in drawn) > 20


# Tokens and labels


def test_every_finding_begins_and_ends_at_a_token(tokenizer: Tokenizer) -> None:
    draw = draws(4, TEST)
    samples = [fill(template, draw) for template in all_templates()]
    samples += [assignment(form, draw) for form in templates()["assignments"] for _ in range(20)]
    for planted in samples:
        ids, tags = tokens.labelled(planted, tokenizer)
        offsets = tokenizer.encode(planted.text).offsets
        assert len(ids) == len(tags) == len(offsets)
        assert tokens.findings(planted.text, offsets, tags.tolist()) == planted.findings


def test_neighbours_stay_two_spans(tokenizer: Tokenizer) -> None:
    text = "9.9.9.9 8.8.8.8"
    planted = Planted(text, (Finding(0, 7, "IP_ADDRESS"), Finding(8, 15, "IP_ADDRESS")))
    _, tags = tokens.labelled(planted, tokenizer)
    offsets = tokenizer.encode(text).offsets
    assert tokens.findings(text, offsets, tags.tolist()) == planted.findings


def test_doubtful_tokens_teach_nothing_but_findings_in_them_do(tokenizer: Tokenizer) -> None:
    planted = Planted("x = 1\ny = 'k'\n", (Finding(11, 12, "KEY"),), ((6, 14),))
    _, tags = tokens.labelled(planted, tokenizer)
    offsets = tokenizer.encode(planted.text).offsets
    seen = {planted.text[start:end]: tag for (start, end), tag in zip(offsets, tags, strict=True)}
    assert seen["x"] == 0
    assert seen["y"] == tokens.IGNORED
    assert seen["k"] == tokens.TAGS.index("B-KEY")


# Reading


def test_labels_are_read_late() -> None:
    ids, tags = np.arange(6)[None], np.arange(6, dtype=np.uint8)[None]
    rows, wanted = Reading(ReadMode.ONCE, 2).arrange(ids, tags)
    assert rows.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert wanted.tolist() == [[255, 255, 0, 1, 2, 3]]
    rows, wanted = Reading(ReadMode.TWICE, 0).arrange(ids[:, :3], tags[:, :3])
    assert rows.tolist() == [[0, 1, 2, 0, 0, 1, 2]]
    assert wanted.tolist() == [[255, 255, 255, 255, 0, 1, 2]]


@pytest.mark.parametrize("reading", [Reading(ReadMode.ONCE, 8), Reading(ReadMode.TWICE, 0)])
def test_windows_cover_a_text_once(reading: Reading) -> None:
    torch.manual_seed(1)
    model = GPTBigCodeForTokenClassification(configuration(Shape(16, 1, 2))).eval()
    ids = torch.randint(0, 4096, (1200,)).tolist()
    logits = token_logits(model, reading, ids)
    assert (np.abs(logits).sum(axis=1) > 0).all()
    size = reading.window(512)
    row = torch.tensor([reading.row(ids[:size])])
    with torch.no_grad():
        alone = model(row).logits[0][reading.places(size)].numpy()
    kept = size - reading.delay
    assert np.allclose(logits[:kept], alone[:kept], atol=1e-5)
    assert window_starts(100, 512) == [0]


def test_waves_turned_back_point_to_an_earlier_place() -> None:
    places = waves(512, 32)
    for distance in (1, 7, 8, 9):
        agreement = (places @ turned_back(32, distance).T) @ places.T
        assert agreement[distance:].argmax(dim=1).tolist() == list(range(512 - distance))


def test_heads_that_look_further_are_those_of_a_longer_delay(tokenizer: Tokenizer) -> None:
    models = []
    shape = replace(configuration(Shape(128, 1, 4)), vocab_size=tokenizer.get_vocab_size())
    for delay in (3, 9):
        torch.manual_seed(1)
        models.append(GPTBigCodeForTokenClassification(shape))
        begin(models[-1], tokenizer, [_CODE], delay=delay, seed=1)
    look_further(models[0], 6)
    near, far = (one.transformer.h[0].get_parameter("attn.c_attn.weight") for one in models)
    assert torch.allclose(near, far, atol=1e-5)
    assert not torch.equal(far[:32], far[32:64])


def test_no_step_blurs_the_positions() -> None:
    torch.manual_seed(1)
    model = GPTBigCodeForTokenClassification(configuration(Shape(16, 1, 2)))
    torch.autograd.backward(model(torch.arange(9)[None]).logits.square().sum())
    keep_positions(model)
    assert model.transformer.wpe.weight.grad is None
    slope = model.transformer.wte.weight.grad
    assert slope is not None
    assert not slope[:, :8].any()
    assert slope[:, 8:].any()


# Measures


def test_the_tally_counts_exact_and_overlapping_spans() -> None:
    planted = Planted(
        "0123456789" * 3, (Finding(0, 5, "KEY"), Finding(10, 15, "NAME")), ((20, 30),)
    )
    given = [Finding(0, 5, "KEY"), Finding(11, 15, "NAME"), Finding(17, 19, "KEY")]
    tally = Tally()
    tally.add(planted, [*given, Finding(22, 25, "EMAIL")])
    report = tally.report()
    assert report["KEY"]["exact"] == {"precision": 0.5, "recall": 1.0, "f1": 0.6667}
    assert report["NAME"]["exact"]["f1"] == 0.0
    assert report["NAME"]["overlap"]["f1"] == 1.0
    assert report["all"]["given"] == 3
    assert ignorable(Finding(22, 25, "EMAIL"), planted)
    assert lines_of(Finding(2, 4, "KEY"), "a\nb\nc") == {2, 3}


def test_intervals_hold_what_was_measured_and_grow_with_doubt() -> None:
    planted = Planted("0123456789", (Finding(0, 5, "KEY"),))
    tallies = [Tally() for _ in range(40)]
    for number, tally in enumerate(tallies):
        tally.add(planted, [Finding(0, 5 if number % 2 else 4, "KEY")])
    low, high = f1_interval(tallies, "exact", LABELS)
    assert 0.3 < low < 0.5 < high < 0.7
    assert f1_interval(tallies, "overlap", LABELS) == [1.0, 1.0]
    wide = f1_interval(tallies[:8], "exact", LABELS)
    assert wide[1] - wide[0] > high - low


def test_rates_of_few_spans_have_their_known_bounds() -> None:
    """Garwood's bounds for 0 and 3 events, from tables."""
    assert rate_interval(0, 1000) == pytest.approx([0, 3.689], abs=2e-3)
    assert rate_interval(3, 1000) == pytest.approx([0.619, 8.767], abs=2e-3)


def test_the_card_says_which_goals_are_missed() -> None:
    report: dict[str, Any] = {
        "planted": {"all": {"exact": {"f1": 0.871}}},
        "clean_python": {"outside_per_1000_lines": 0.29},
        "clean_other": {"outside_per_1000_lines": 1.83},
    }
    said = verdict(report)
    assert "span F1 of 0.90 is missed by 0.029: 0.871." in said
    assert "met for Python (0.29), missed for other formats (1.83)." in said
    report["planted"]["all"]["exact"]["f1"] = 0.9
    assert "span F1 of 0.90 is met: 0.900." in verdict(report)
