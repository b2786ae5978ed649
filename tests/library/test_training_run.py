"""The training loop: its plans at a small size, stopped and resumed as on a rented device."""

import json
import math
import random
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gpt_bigcode.checkpoint.loading import load_model, save_model
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM
from training import documents, export, gpu, train, trainer
from training.guidance import Guide
from training.muon import NEWTON_SCHULZ, orthogonalize
from training.network import Network
from training.parts import PartedGradients
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
    for name, rows, batch in (("gpu", 16, 512), ("trunk", 8, 64), ("decay", 8, 64)):
        plan = PLANS[name]
        stages = tuple(
            replace(
                stage,
                row_tokens=stage.row_tokens // rows,
                batch_tokens=stage.batch_tokens // batch,
            )
            for stage in plan.stages
        )
        monkeypatch.setitem(PLANS, name, replace(plan, stages=stages))
    # A fifth of a second a step, however busy the machine is.
    ticks = count(0.0, 0.2)
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: next(ticks), sleep=None))
    return tmp_path


def options(**changes: Any) -> train.Options:
    chosen = train.parse(["--minutes", "0.05", "--plan", "gpu", "--run", "small", "--seed", "3"])
    return replace(chosen, precision="bfloat16", threads=2, **changes)


def test_the_gpu_plan_stops_in_the_middle_and_goes_on(home: Path) -> None:
    first = train.trainer(options(stop_after_minutes=0.025))
    first.loop()
    assert 0.45 < first.now.share < 0.9
    assert first.checkpoint.exists()
    second = train.trainer(options())
    assert (second.step, second.tokens) == (first.step, first.tokens)
    assert second.clock.elapsed_seconds == first.clock.elapsed_seconds
    for name, parameter in second.recipe.model.named_parameters():
        assert torch.equal(parameter, first.recipe.model.state_dict()[name])
    assert second.recipe.optimizer.state.keys() == first.recipe.optimizer.state.keys()
    second.loop()
    assert second.now.share >= 1
    assert second.recipe.rates(second.now) == (0.0, 0.0)
    assert second.average.keys() == dict(second.recipe.model.named_parameters()).keys()
    assert layers_of(second) == 7
    start, end = first.history[0]["bits_per_byte"], second.history[-1]["bits_per_byte"]
    assert end < start < math.log2(VOCABULARY)
    [machine] = second.machines.values()
    assert machine["tokens"] == second.tokens


def test_a_finished_run_goes_on_with_guided_heads(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guides = (Guide(layer=0, head=0, back=1), Guide(layer=2, head=1, back=0))
    stages = (Stage(1.0, 7, 64, 256),)
    further = replace(PLANS["cpu-further"], stages=stages, guides=guides, long_rows_from=0.6)
    monkeypatch.setitem(PLANS, "cpu-further", further)
    finished = train.trainer(options())
    finished.loop()
    run = train.trainer(options(minutes=0.1, plan="cpu-further", run="on", start_from="small"))
    assert run.step == finished.step
    assert run.clock.elapsed_seconds == 0.0
    run.loop()
    assert recipe(run).guided
    assert not recipe(finished).guided
    assert recipe(run).plan.guidance(run.now.share) == 0.0
    assert run.history[-1]["bits_per_byte"] < finished.history[-1]["bits_per_byte"]


def test_a_trunk_goes_on_at_constant_rates_and_a_tenth_of_its_tokens_decays_it(home: Path) -> None:
    trunk = train.trainer(options(plan="trunk", minutes=math.inf, stop_after_minutes=0.05))
    trunk.loop()
    warm, full = PLANS["trunk"].warm_up_steps, PLANS["trunk"].matrix_rate
    assert trunk.step < warm
    assert trunk.recipe.rates(trunk.now)[0] == pytest.approx(full * (trunk.step + 1) / warm)
    longer = options(plan="trunk", minutes=math.inf, stop_after_minutes=0.12)
    trunk = train.trainer(longer)
    trunk.loop()
    assert trunk.now.share == 0.0
    assert trunk.recipe.rates(trunk.now)[0] == full
    assert trunk.average.keys() == dict(trunk.recipe.model.named_parameters()).keys()

    decay = options(plan="decay", minutes=math.inf, run="decayed", start_from="small")
    run = train.trainer(decay)
    assert (run.step, run.tokens, run.average) == (trunk.step, trunk.tokens, {})
    assert run.recipe.rates(run.now)[0] == full
    run.loop()
    spent = run.tokens - trunk.tokens
    assert trunk.tokens / 10 <= spent < trunk.tokens / 10 + 4096
    assert run.recipe.rates(run.now) == (0.0, 0.0)
    again = train.trainer(decay)
    assert (again.tokens, again.now.share) == (run.tokens, run.now.share)


def test_a_run_may_begin_with_released_weights(home: Path, tmp_path: Path) -> None:
    finished = train.trainer(options())
    finished.loop()
    save_model(recipe(finished).model, tmp_path / "released")
    run = train.trainer(
        options(run="on", weights=tmp_path / "released", weights_tokens=5_000, plan="trunk")
    )
    assert (run.step, run.tokens) == (0, 5_000)
    wanted = recipe(finished).model.state_dict()
    for name, parameter in run.recipe.model.named_parameters():
        assert torch.equal(parameter, wanted[name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plan", "cpu"], "--plan cpu needs a budget"),
        (["--plan", "decay", "--tokens", "5"], "--plan decay needs --start-from"),
    ],
)
def test_a_run_that_cannot_end_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train.parse(arguments)
    assert message in capsys.readouterr().err


def test_no_step_is_made_while_the_pause_file_exists(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / "pause"
    file.touch()
    run = train.trainer(options(pause_file=file, stop_after_minutes=0.01))
    waited: list[int] = []

    def sleep(_seconds: float) -> None:
        assert run.checkpoint.exists()
        waited.append(run.step)
        if len(waited) == 3:
            file.unlink()

    ticks = count(0.0, 0.2)
    clock = SimpleNamespace(monotonic=lambda: next(ticks), sleep=sleep)
    monkeypatch.setattr(trainer, "time", clock)
    run.loop()
    assert waited == [0, 0, 0]
    assert run.step > 0


@pytest.mark.parametrize(
    ("precision", "flags", "wanted"),
    [
        ("auto", {"avx512f", "amx_bf16"}, True),
        ("auto", {"avx512_bf16"}, True),
        ("auto", {"avx2"}, False),
        ("float32", {"amx_bf16"}, False),
        ("bfloat16", {"avx2"}, True),
    ],
)
def test_the_processor_decides_about_bfloat16(
    precision: str, flags: set[str], wanted: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "cpu_flags", lambda: frozenset(flags))
    assert replace(options(), precision=precision).bfloat16 is wanted


@pytest.mark.parametrize(("threads", "part_tokens"), [(1, 32), (2, 48), (3, 0), (2, 1)])
def test_parts_give_the_gradient_of_the_batch(threads: int, part_tokens: int) -> None:
    model = GPTBigCodeForCausalLM(small_configuration())
    network = Network(model, compiled=False)
    rows = torch.randint(19, VOCABULARY, (5, 17), generator=torch.Generator().manual_seed(1))
    positions = torch.arange(16).expand(5, 16)
    parameters = list(model.parameters())
    loss = network.loss(rows, positions)
    wanted = torch.autograd.grad(loss, parameters)
    parts = PartedGradients(network.loss, threads=threads, part_tokens=part_tokens)
    found = parts.compute(parameters, rows, positions)
    parts.close()
    assert found == pytest.approx(float(loss.detach()), rel=1e-5)
    for parameter, gradient in zip(parameters, wanted, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def recipe(run: trainer.Trainer) -> train.CodeRecipe:
    assert isinstance(run.recipe, train.CodeRecipe)
    return run.recipe


def layers_of(run: trainer.Trainer) -> int:
    return recipe(run).model.config.n_layer


def test_what_a_checkpoint_holds_goes_to_the_device() -> None:
    """A run on a GPU reads its checkpoint on the processor, and steps where the model is."""
    saved: dict[str, Any] = {"a": {"step": 3, "mean": torch.ones(2)}, "b": torch.ones(3)}
    moved = trainer.on_device(saved, torch.device("meta"))
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


@pytest.mark.parametrize("shape", [(8, 8), (8, 32), (32, 8)])
def test_bfloat16_products_orthogonalize_as_float32_ones_and_stay_finite(
    shape: tuple[int, int],
) -> None:
    generator = torch.Generator().manual_seed(2)
    full = torch.randn(3, *shape, generator=generator)
    wanted = orthogonalize(full)
    found = orthogonalize(full, products=torch.bfloat16).float()
    assert float((found - wanted).norm() / wanted.norm()) < 0.05
    thin = full[..., :1] @ full[:, :1]
    for found in (orthogonalize(thin, products=torch.bfloat16), orthogonalize(thin)):
        # One direction, about as long as an orthogonal one.
        assert 0.5 < float(found.float().norm(dim=(-2, -1)).max()) < 2.0


def test_minutes_on_a_gpu_come_back_as_two_checkpoints(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(where: Path, module: str, *arguments: str) -> None:
        for changed in (train, documents, export):
            monkeypatch.setattr(changed, "WORK", where)
        monkeypatch.setattr("sys.argv", [module, *arguments])
        {"train": train, "export": export}[module].main()

    monkeypatch.setattr(gpu, "_call", call)
    monkeypatch.setattr(gpu, "WORK", home)
    monkeypatch.setattr(gpu, "PART_BYTES", 50_000)
    monkeypatch.setattr(export, "configuration", small_configuration)
    trunk = train.trainer(options(plan="trunk", minutes=math.inf, stop_after_minutes=0.05))
    trunk.loop()
    packed, result = tmp_path / "packed", tmp_path / "result"
    report = gpu.pack("small", packed, max_mib=1)
    assert (report["files"], report["files_left_out"]) == (len(TEXTS), 0)
    asked = gpu.parse(["run", str(packed), str(result), "--minutes", "0.1", "--device", "cpu"])
    asked.plans = ["trunk", "decay"]
    gpu.run(packed, result, asked)
    parts = sorted(result.glob("result.tar.*"))
    assert len(parts) > 1
    assert all(part.stat().st_size <= 50_000 for part in parts)
    report = json.loads((result / "report.json").read_text())
    assert trunk.tokens < report["trunk"]["tokens"] < report["decayed"]["tokens"]
    gpu.unpack(result, tmp_path / "back")
    for name in ("trunk", "decayed"):
        weights = load_model(tmp_path / "back" / name, dtype=torch.float32)
        assert isinstance(weights, GPTBigCodeForCausalLM)
        assert weights.config.n_layer == 7


def test_a_corpus_that_is_too_large_is_packed_in_part(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "WORK", home)
    monkeypatch.setattr(export, "configuration", small_configuration)
    train.trainer(options(plan="trunk", minutes=math.inf, stop_after_minutes=0.01)).loop()
    noise = random.Random(1)
    lines = [json.dumps({"text": noise.randbytes(800).hex()}) + "\n" for _ in range(400)]
    (home / "corpus" / "train.jsonl").write_text("".join(lines), "utf-8")
    with pytest.raises(SystemExit, match="do not fit"):
        gpu.pack("small", tmp_path / "packed", max_mib=0)
    monkeypatch.setattr(gpu, "MIB", 2**18)
    report = gpu.pack("small", tmp_path / "packed", max_mib=1)
    assert 0 < report["files"] < 400 == report["files"] + report["files_left_out"]
    assert (tmp_path / "packed").stat().st_size <= 2**18
