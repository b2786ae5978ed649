"""The training loop: its plans at a small size, stopped and resumed as on a rented device."""

import json
import math
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gpt_bigcode.config import GPTBigCodeConfig
from training import documents, train
from training.guidance import Guide
from training.muon import NEWTON_SCHULZ, orthogonalize
from training.schedule import PLANS, Stage
from training.train_tokenizer import train as train_tokenizer

VOCABULARY, WIDTH, POSITIONS = 300, 16, 512
TEXTS = [
    "".join(f"def area_{n}_{m}(width, height):\n    return width * {n}\n\n\n" for m in range(40))
    for n in range(24)
]


def small_configuration() -> GPTBigCodeConfig:
    return GPTBigCodeConfig(
        vocab_size=VOCABULARY, n_positions=POSITIONS, n_embd=WIDTH, n_layer=7, n_head=2
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus, a tokenizer and the gpu plan, all small."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for split in ("train", "validation"):
        lines = (json.dumps({"package": "p", "path": "q", "text": text}) for text in TEXTS)
        (corpus / f"{split}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    train_tokenizer(TEXTS, vocabulary=VOCABULARY).save(str(tmp_path / "tokenizer.json"))
    for module in (train, documents):
        monkeypatch.setattr(module, "WORK", tmp_path)
    monkeypatch.setattr(train, "configuration", small_configuration)
    monkeypatch.setattr(train, "POSITIONS", POSITIONS)
    monkeypatch.setattr(train, "WIDTH", WIDTH)
    plan = PLANS["gpu"]
    stages = tuple(
        replace(stage, row_tokens=stage.row_tokens // 16, batch_tokens=stage.batch_tokens // 512)
        for stage in plan.stages
    )
    monkeypatch.setitem(PLANS, "gpu", replace(plan, stages=stages))
    # A fifth of a second a step, however busy the machine is.
    ticks = count(0.0, 0.2)
    monkeypatch.setattr(train, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    return tmp_path


def options(**changes: Any) -> train.Options:
    chosen = train.Options(
        minutes=0.05,
        plan="gpu",
        seed=3,
        device="cpu",
        bfloat16=True,
        compiled=False,
        checkpoint_minutes=1.0,
        validation_minutes=1.0,
        position_waves=True,
        counted_tokens=True,
        workers=0,
        run="small",
        start_from="",
        other_languages=0.0,
        stop_after_minutes=1e9,
    )
    return replace(chosen, **changes)


def test_the_gpu_plan_stops_in_the_middle_and_goes_on(home: Path) -> None:
    first = train.Run(options(stop_after_minutes=0.025))
    first.loop()
    assert 0.45 < first.share < 0.9
    assert first.checkpoint.exists()
    second = train.Run(options())
    assert (second.step, second.tokens) == (first.step, first.tokens)
    assert second.clock.elapsed_seconds == first.clock.elapsed_seconds
    for name, parameter in second.model.named_parameters():
        assert torch.equal(parameter, first.model.state_dict()[name])
    assert second.optimizer.state.keys() == first.optimizer.state.keys()
    second.loop()
    assert second.share >= 1
    assert second.plan.factor(second.share) == 0
    assert second.average.keys() == dict(second.model.named_parameters()).keys()
    assert second.model.config.n_layer == 7
    start, end = first.history[0]["bits_per_byte"], second.history[-1]["bits_per_byte"]
    assert end < start < math.log2(VOCABULARY)


def test_a_finished_run_goes_on_with_guided_heads(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guides = (Guide(layer=0, head=0, back=1), Guide(layer=2, head=1, back=0))
    stages = (Stage(1.0, 7, 64, 256),)
    further = replace(PLANS["cpu-further"], stages=stages, guides=guides, long_rows_from=0.6)
    monkeypatch.setitem(PLANS, "cpu-further", further)
    finished = train.Run(options(bfloat16=False))
    finished.loop()
    changes = {"plan": "cpu-further", "run": "further", "start_from": "small", "bfloat16": False}
    run = train.Run(options(minutes=0.1, **changes))
    assert run.step == finished.step
    assert run.clock.elapsed_seconds == 0.0
    run.loop()
    assert run.guided
    assert not finished.guided
    assert run.plan.guidance(run.share) == 0.0
    assert run.history[-1]["bits_per_byte"] < finished.history[-1]["bits_per_byte"]


def test_what_a_checkpoint_holds_goes_to_the_device() -> None:
    """A run on a GPU reads its checkpoint on the processor, and steps where the model is."""
    saved: dict[str, Any] = {"a": {"step": 3, "mean": torch.ones(2)}, "b": torch.ones(3)}
    moved = train.on_device(saved, "meta")
    assert moved["a"]["step"] == 3
    assert {moved["a"]["mean"].device.type, moved["b"].device.type} == {"meta"}
    assert saved["b"].device.type == "cpu"


def test_long_matrices_are_orthogonalized_as_the_others_are() -> None:
    """By the products of their rows: the same polynomial, also where some rows nearly depend."""
    generator = torch.Generator().manual_seed(2)
    for rank in (8, 3):
        parts = (
            torch.randn(2, 8, rank, generator=generator),
            torch.randn(2, rank, 32, generator=generator),
        )
        matrices = parts[0] @ parts[1] + 1e-3 * torch.randn(2, 8, 32, generator=generator)
        wanted = matrices.double() / matrices.double().norm(dim=(-2, -1), keepdim=True)
        a, b, c = NEWTON_SCHULZ
        for _ in range(5):
            gram = wanted @ wanted.mT
            wanted = a * wanted + (b * gram + c * gram @ gram) @ wanted
        for found in (orthogonalize(matrices), orthogonalize(matrices.mT).mT):
            assert float((found - wanted).norm() / wanted.norm()) < 2e-3
