"""The recipe's comparisons: variants on the same rows, other languages, the rate."""

import json
import math
import random
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt_bigcode.config import GPTBigCodeConfig
from training import ablate, documents, evaluate, mixture, rate, train
from training.ablate import Ablation, Adam, Variant, compared
from training.batches import BatchSource, default_maker
from training.documents import RowMaker
from training.mixture import LANGUAGES, Mixture
from training.muon import Settings
from training.network import Network
from training.schedule import Stage
from training.train_tokenizer import train as train_tokenizer

VOCABULARY, WIDTH, POSITIONS = 300, 16, 512
TEXTS = [
    "".join(f"def area_{n}_{m}(width, height):\n    return width * {n}\n\n\n" for m in range(40))
    for n in range(24)
]
OTHERS = {
    language: [f"{language} {{ let {language.lower()}_{n} = {n}; }}\n" * 60 for n in range(4)]
    for language in LANGUAGES
}
VARIANTS = (
    Variant("base"),
    Variant("a third in other languages", other_share=0.3),
    Variant("four layers in half of the steps", layers=4, steps_share=0.5),
)


def small_configuration() -> GPTBigCodeConfig:
    return GPTBigCodeConfig(
        vocab_size=VOCABULARY, n_positions=POSITIONS, n_embd=WIDTH, n_layer=7, n_head=2
    )


def write_lines(path: Path, records: list[dict[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both corpora and a tokenizer, all small."""
    python = [{"package": "p", "path": "q", "text": text} for text in TEXTS]
    others = [
        {"label": label, "package": "p", "path": "q", "text": text}
        for label, texts in [*OTHERS.items(), ("Perl", ["never drawn"])]
        for text in texts
    ]
    for split in ("train", "validation"):
        write_lines(tmp_path / "corpus" / f"{split}.jsonl", python)
        write_lines(tmp_path / "languages" / f"{split}.jsonl", others)
    train_tokenizer(TEXTS, vocabulary=VOCABULARY).save(str(tmp_path / "tokenizer.json"))
    monkeypatch.setenv("BIGCODE_TRAINING_HOME", str(tmp_path))
    for module in (ablate, documents, evaluate, mixture, train):
        monkeypatch.setattr(module, "WORK", tmp_path)
    for module in (ablate, train):
        monkeypatch.setattr(module, "WIDTH", WIDTH)
    monkeypatch.setattr(train, "POSITIONS", POSITIONS)
    monkeypatch.setattr(train, "configuration", small_configuration)
    monkeypatch.setattr(ablate, "VARIANTS", VARIANTS)
    monkeypatch.setattr(ablate, "ROWS", 4)
    monkeypatch.setattr(ablate, "ROW_TOKENS", 64)
    monkeypatch.setattr(ablate, "HELD_OUT_FILES", 5)
    monkeypatch.setattr(ablate, "HELD_OUT_FILES_PER_LANGUAGE", 2)
    return tmp_path


def run_main(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    ablate.main()
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


# Variants


def test_a_killed_ablation_goes_on_with_the_variant_it_was_in(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ablate", "--steps", "6", "--seed", "2"])
    trained: list[str] = []
    really = Ablation.trained

    def killed(self: Ablation, variant: Variant) -> Any:
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(variant.name)
        return really(self, variant)

    monkeypatch.setattr(Ablation, "trained", killed)
    with pytest.raises(KeyboardInterrupt):
        ablate.main()
    journal = home / "ablations" / "6-2-files.jsonl"
    assert len(journal.read_text().splitlines()) == 1
    trained.insert(0, "the process before")
    report = run_main(capsys)
    assert trained == ["the process before", *(variant.name for variant in VARIANTS)]
    assert not journal.exists()
    assert json.loads((home / "ablations" / "6-2.json").read_text()) == report

    monkeypatch.setattr(Ablation, "trained", really)
    at_once = run_main(capsys)
    assert at_once["variants"] == report["variants"]


def test_the_report_compares_with_the_recipe_file_by_file(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert home.exists()
    monkeypatch.setattr(sys, "argv", ["ablate", "--steps", "16", "--seed", "2"])
    report = run_main(capsys)
    rows = report["variants"]
    assert report["files"] == {"python": 5, "other_languages": 2 * len(LANGUAGES)}
    assert [row["tokens"] for row in rows.values()] == [4096, 4096, 2048]
    assert set(report["seconds"]) == set(rows)
    base = rows["base"]
    assert base["python"]["difference_interval_95"] == [0.0, 0.0]
    mixed = rows["a third in other languages"]
    for kind in ("python", "other_languages"):
        more = mixed[kind]["bits_per_byte"] - base[kind]["bits_per_byte"]
        low, high = mixed[kind]["difference_interval_95"]
        assert low - 1e-4 <= mixed[kind]["difference"] <= high + 1e-4
        assert mixed[kind]["difference"] == pytest.approx(more, abs=2e-4)
    # A model that has seen the other languages reads them better, beyond chance.
    assert mixed["other_languages"]["difference_interval_95"][1] < -0.1
    assert base["python"]["bits_per_byte"] < base["other_languages"]["bits_per_byte"]


def test_a_comparison_by_hand() -> None:
    found = compared([30.0, 12.0], [20.0, 10.0], [10, 2])
    assert found["bits_per_byte"] == 3.5
    assert found["difference"] == 1.0
    assert found["difference_interval_95"] == [1.0, 1.0]


def test_variants_begin_with_the_same_weights_and_only_chance_changes_with_the_seed(
    home: Path,
) -> None:
    assert home.exists()
    ablation = Ablation(steps=2, seed=5)
    first, again = (ablation.model(Variant(name)).state_dict() for name in ("a", "b"))
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = ablation.model(Variant("c", later_seed=1)).state_dict()
    name = "transformer.h.0.mlp.c_fc.weight"
    assert not torch.equal(first[name], other[name])
    plain = ablation.model(Variant("d", counted_tokens=False, position_waves=False)).state_dict()
    changed = {name for name in first if not torch.equal(first[name], plain[name])}
    assert changed == {"transformer.wte.weight", "transformer.wpe.weight", "lm_head.weight"} & set(
        first
    )


def test_adam_moves_every_matrix_by_the_rate(home: Path) -> None:
    assert home.exists()
    model = Ablation(steps=1, seed=5).model(Variant("a", muon=False))
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    rows = torch.randint(19, VOCABULARY, (2, 33), generator=torch.Generator().manual_seed(1))
    torch.autograd.backward(Network(model, compiled=False).loss(rows, torch.arange(32)[None]))
    Adam(Settings()).step(model.named_parameters(), matrix_rate=1e9, rate=1e-3)
    for name, value in model.named_parameters():
        # Adam's first step is the rate in every direction that has a gradient.
        moved = (value.detach() - before[name]).abs().max()
        assert float(moved) == pytest.approx(1e-3, rel=0.05)


# Other languages


def languages_of(batch: Any, home: Path) -> list[str]:
    """What each row is written in, told by its text."""
    tokenizer = documents.load_tokenizer(str(home / "tokenizer.json"))
    texts = [tokenizer.decode(row.tolist()) for row in batch]
    return [next((name for name in LANGUAGES if f"{name} {{" in text), "Python") for text in texts]


def test_a_share_of_the_rows_is_in_other_languages_and_the_rest_stays(home: Path) -> None:
    python = default_maker()
    assert isinstance(python, RowMaker)
    plain, mixed = Mixture(python, [], 0.0), default_maker(0.3)
    shape = (400, 33)
    rows, without = mixed.batch(7, 3, shape), plain.batch(7, 3, shape)
    assert (rows == mixed.batch(7, 3, shape)).all()
    found = languages_of(rows, home)
    assert set(found) == {"Python", *LANGUAGES}
    assert 0.22 < 1 - found.count("Python") / 400 < 0.38
    counts = [found.count(name) for name in LANGUAGES]
    assert max(counts) < 3 * min(counts)
    for row, same, language in zip(rows, without, found, strict=True):
        assert (language == "Python") == bool((row == same).all())


def test_workers_make_the_same_mixed_batches(home: Path) -> None:
    assert home.exists()
    maker = default_maker(0.5)
    here, there = (BatchSource(maker, seed=4, workers=workers) for workers in (0, 1))
    for step in range(2):
        shape_of = partial(lambda shape, _: shape, (6, 33))
        assert (here.get(step, shape_of) == there.get(step, shape_of)).all()
    there.close()


def test_without_a_share_the_rows_are_those_of_the_first_run(home: Path) -> None:
    (home / "languages" / "train.jsonl").unlink()
    maker = default_maker()
    assert isinstance(maker, RowMaker)
    generator = random.Random("7/3")
    wanted = [maker.row(33, generator) for _ in range(4)]
    assert maker.batch(7, 3, (4, 33)).tolist() == wanted


@pytest.mark.parametrize("share", [-0.1, 1.0, 15.0, math.nan])
def test_a_share_that_is_none_is_refused(home: Path, share: float) -> None:
    assert home.exists()
    with pytest.raises(SystemExit, match=r"mixture: a share of .* is not in \[0, 1\)"):
        default_maker(share)


def test_a_corpus_that_is_not_there_is_named_with_its_command(home: Path) -> None:
    (home / "languages" / "train.jsonl").unlink()
    with pytest.raises(SystemExit, match=r"mixture: .*train.jsonl is not there: run `python -m"):
        default_maker(0.1)
    write_lines(home / "languages" / "train.jsonl", [{"label": "C", "text": "int a;\n"}])
    with pytest.raises(SystemExit, match="has no text in Go, Java, JavaScript, Rust, Shell"):
        default_maker(0.1)


def test_texts_that_name_a_benchmark_are_left_out(home: Path) -> None:
    kept = "// Not one: multiple elements.\n"
    records = [{"label": name, "text": kept} for name in LANGUAGES]
    records.append({"label": "Rust", "text": "// from HumanEval\nfn a() {}\n"})
    records.append({"label": "Go", "text": "func HasCloseElements(a []float64) bool {}\n"})
    write_lines(home / "languages" / "train.jsonl", records)
    assert mixture.other_texts("train") == {name: [kept] for name in LANGUAGES}


# The rate


@pytest.mark.parametrize("products", [torch.float32, torch.bfloat16])
def test_the_rate_counts_tokens_and_operations(
    home: Path, products: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home.exists()
    monkeypatch.setattr(rate, "VOCABULARY", VOCABULARY)
    stage = Stage(1.0, 2, 32, 64)
    found = rate.measured(stage, 2, products, 2)
    assert found["batch_tokens"] == 64
    assert found["tokens_a_second"] == pytest.approx(64 / found["seconds_a_step"], rel=0.6)
    assert 0 < found["optimizer_share"] < 1
    # A block: 16 x (16 + 2 x 8) for query, key and value, 16 x 16, and two of 16 x 64.
    blocks = 2 * (16 * 32 + 16 * 16 + 2 * 16 * 64)
    attention = 2 * 2 * 16 * 32 / 2
    wanted = 6 * (blocks + VOCABULARY * 16 + attention)
    assert rate.operations_per_token(stage) == wanted
