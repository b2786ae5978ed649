"""Trains the model within a time budget; resumes after any kind of death.

Knows nothing of downloads or of the exported format. Run as `python -m training.train
--minutes 90`; started again with the same options it goes on where the last checkpoint was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM
from training.batches import BatchSource, default_maker
from training.documents import RowOptions, load_tokenizer, read_texts
from training.growth import grow
from training.guidance import MOST_TOKENS, Guidance
from training.measure import bits_per_byte, validation_rows
from training.muon import Muon, Settings
from training.network import Network
from training.paths import WORK
from training.schedule import PLANS, Plan
from training.shape import POSITIONS, WIDTH, configuration
from training.warmstart import token_table

if TYPE_CHECKING:
    from pathlib import Path

AVERAGE_FROM = 0.88
START_OF_FILE_SHARE = 0.3
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    minutes: float
    plan: str
    seed: int
    device: str
    bfloat16: bool
    compiled: bool
    checkpoint_minutes: float
    validation_minutes: float
    position_waves: bool
    counted_tokens: bool
    workers: int
    run: str
    start_from: str
    other_languages: float
    stop_after_minutes: float

    @property
    def folder(self) -> Path:
        """Where this run's files go."""
        return WORK / "runs" / self.run


def parse() -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True, help="budget of stepping time")
    parser.add_argument("--plan", choices=sorted(PLANS), default="cpu")
    parser.add_argument("--run", default="pocket-coder", help="name of the run's folder")
    parser.add_argument("--start-from", default="", help="a finished run to go on from")
    parser.add_argument("--other-languages", type=float, default=0.0, help="share of the rows")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bfloat16", action="store_true", help="autocast (GPU)")
    parser.add_argument("--compiled", action="store_true", help="torch.compile one block")
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches")
    parser.add_argument("--checkpoint-minutes", type=float, default=4.0)
    parser.add_argument("--validation-minutes", type=float, default=8.0)
    parser.add_argument("--no-position-waves", dest="position_waves", action="store_false")
    parser.add_argument("--no-counted-tokens", dest="counted_tokens", action="store_false")
    parser.add_argument("--stop-after-minutes", type=float, default=1e9, help="for short trials")
    return Options(**vars(parser.parse_args()))


def new_model(layers: int, *, seed: int, position_waves: bool) -> GPTBigCodeForCausalLM:
    """A fresh model; positions may start as sine waves, from which offsets are easy to read."""
    torch.manual_seed(seed)
    config = replace(configuration(), n_layer=layers)
    model = GPTBigCodeForCausalLM(config)
    if position_waves:
        with torch.no_grad():
            model.transformer.wpe.weight.copy_(waves(POSITIONS, WIDTH) * 0.02)
    return model


def waves(positions: int, width: int) -> torch.Tensor:
    """Sines and cosines of geometric wave lengths (Vaswani et al. 2017, section 3.5), [P, E]."""
    rates = 10_000.0 ** (-torch.arange(0, width, 2) / width)
    angles = torch.arange(positions)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Clock:
    """Counts stepping time: a pause of the process counts as one ordinary step."""

    def __init__(self, elapsed_seconds: float) -> None:
        self.elapsed_seconds = elapsed_seconds
        self._recent: deque[float] = deque(maxlen=30)
        self._last = time.monotonic()

    def tick(self) -> None:
        """One step has ended."""
        now = time.monotonic()
        spent, self._last = now - self._last, now
        usual = median(self._recent) if self._recent else spent
        self._recent.append(spent)
        self.elapsed_seconds += min(spent, 6 * usual + 1.0)

    def restart(self) -> None:
        """What happened since the last tick is not counted."""
        self._last = time.monotonic()


class Run:
    """The state of a run and its one loop."""

    def __init__(self, options: Options) -> None:
        self.options, self.plan = options, PLANS[options.plan]
        self.budget_seconds = options.minutes * 60
        self.tokenizer = load_tokenizer()
        filling = RowOptions(line_gap_share=self.plan.line_gap_share, healed=self.plan.healed)
        self.maker = default_maker(options.other_languages, filling)
        self.source = BatchSource(self.maker, seed=options.seed, workers=options.workers)
        self.validation = validation_rows(self.tokenizer, read_texts("validation"), 20, 512)
        self.optimizer = Muon(Settings())
        self.step = self.tokens = 0
        self.losses: deque[float] = deque(maxlen=50)
        self.guided: deque[float] = deque(maxlen=20)
        self.average: dict[str, torch.Tensor] = {}
        self.history: list[dict[str, float]] = []
        options.folder.mkdir(parents=True, exist_ok=True)
        self.restore()

    @property
    def checkpoint(self) -> Path:
        """The file that a killed run goes on from."""
        return self.options.folder / "checkpoint.pt"

    def restore(self) -> None:
        """Takes up the last checkpoint, or starts anew."""
        saved: dict[str, Any] = {}
        if self.checkpoint.exists():
            saved = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        elif self.options.start_from:
            saved = self.earlier_run()
        layers = saved.get("layers", self.plan.stage(0.0).layers)
        options = self.options
        self.model = new_model(layers, seed=options.seed, position_waves=options.position_waves)
        if not saved and options.counted_tokens:
            table = token_table(self.tokenizer, self.maker.texts[:2000], WIDTH, options.seed)
            with torch.no_grad():
                self.model.transformer.wte.weight.copy_(table)
        if saved:
            self.model.load_state_dict(saved["model"])
            self.optimizer.state = on_device(saved["optimizer"], options.device)
            self.step, self.tokens = saved["step"], saved["tokens"]
            self.average = on_device(saved["average"], options.device)
            self.history = saved["history"]
            note(f"resumed at step {self.step}, {saved['elapsed_seconds'] / 60:.1f} min")
        self.model.to(options.device).train()
        self.network = Network(self.model, compiled=options.compiled)
        self.clock = Clock(saved.get("elapsed_seconds", 0.0))
        self.resumed_at = self.tokens, self.clock.elapsed_seconds

    def earlier_run(self) -> dict[str, Any]:
        """Weights, optimizer and step of a finished run; clock, average and schedule start anew."""
        path = self.options.folder.parent / self.options.start_from / "checkpoint.pt"
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return saved | {"average": {}, "elapsed_seconds": 0.0}

    def save(self) -> None:
        """Writes the checkpoint: temporary file, then rename."""
        partial = self.checkpoint.with_suffix(".partial")
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state,
            "average": self.average,
            "layers": self.model.config.n_layer,
            "step": self.step,
            "tokens": self.tokens,
            "elapsed_seconds": self.clock.elapsed_seconds,
            "history": self.history,
        }
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    @property
    def share(self) -> float:
        """Share of the budget that is spent."""
        return self.clock.elapsed_seconds / self.budget_seconds

    def loop(self) -> None:
        """Steps until the budget is spent; saves and measures on the way."""
        options = self.options
        next_save = next_measure = self.clock.elapsed_seconds
        next_measure += options.validation_minutes * 60
        stop = min(self.budget_seconds, options.stop_after_minutes * 60)
        while self.clock.elapsed_seconds < stop:
            self.one_step()
            if self.clock.elapsed_seconds >= next_measure:
                next_measure += options.validation_minutes * 60
                self.measure()
            if self.clock.elapsed_seconds >= next_save:
                next_save += options.checkpoint_minutes * 60
                self.save()
            self.clock.restart()
        self.measure()
        self.save()

    def one_step(self) -> None:
        """One batch, one update."""
        layers = self.plan.stage(self.share).layers
        if layers != self.model.config.n_layer:
            note(f"step {self.step}: growing to {layers} layers")
            grow(self.model, self.optimizer, layers)
        rows, positions = self.batch()
        enabled = self.options.bfloat16
        with torch.autocast(self.options.device, dtype=torch.bfloat16, enabled=enabled):
            loss, whole = self.loss(rows, positions)
        torch.autograd.backward(whole)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        factor = self.plan.factor(self.share)
        self.optimizer.step(
            self.model.named_parameters(),
            matrix_rate=factor * self.plan.matrix_rate,
            rate=factor * self.plan.rate,
        )
        self.model.zero_grad()
        self.losses.append(float(loss.detach()))
        self.step += 1
        self.tokens += positions.numel()
        self.update_average()
        self.clock.tick()
        if self.step % 20 == 0:
            self.report_step(positions)

    def loss(
        self, rows: torch.Tensor, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The language model's loss; the same with that of the guided heads."""
        weight = self.plan.guidance(self.share)
        if not weight or positions.shape[1] > MOST_TOKENS:
            loss = self.network.loss(rows, positions)
            return loss, loss
        inputs: dict[int, torch.Tensor] = {}
        loss = self.network.loss_of(self.network.hidden(rows, positions, inputs), rows)
        guided = Guidance(self.model, self.plan.guides).loss(rows[:, :-1], inputs)
        self.guided.append(float(guided.detach()))
        return loss, loss + weight * guided

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows [B, T + 1] and positions [B, T]: each row stands at a random place."""
        share = self.share
        rows = self.source.get(self.step, lambda step: self.plan.shape(share, step, POSITIONS))
        count, length = rows.shape[0], rows.shape[1] - 1
        generator = random.Random(f"{self.options.seed}/{self.step}/places")
        offsets = [
            0
            if generator.random() < START_OF_FILE_SHARE
            else generator.randint(0, POSITIONS - length)
            for _ in range(count)
        ]
        positions = np.array(offsets)[:, None] + np.arange(length)
        device = self.options.device
        return torch.from_numpy(rows).to(device), torch.from_numpy(positions).to(device)

    @torch.no_grad()
    def update_average(self) -> None:
        """Exponential average of the weights over the last part of the run."""
        if self.share < AVERAGE_FROM:
            return
        for name, parameter in self.model.named_parameters():
            if name in self.average:
                self.average[name].lerp_(parameter, 0.03)
            else:
                self.average[name] = parameter.detach().clone()

    def report_step(self, positions: torch.Tensor) -> None:
        """One line of progress."""
        seconds = self.clock.elapsed_seconds
        tokens, started = self.resumed_at
        rate = (self.tokens - tokens) / (seconds - started)
        loss = sum(self.losses) / len(self.losses)
        guided = f" guided {sum(self.guided) / len(self.guided):.3f}" if self.guided else ""
        note(
            f"step {self.step} {seconds / 60:.1f} min loss {loss:.3f}{guided}"
            f" tokens {self.tokens / 1e6:.3f} M ({rate:.0f}/s)"
            f" shape {tuple(positions.shape)} rate x{self.plan.factor(self.share):.2f}"
        )

    def measure(self) -> None:
        """Bits per byte on the validation packages, with the weights as they are and averaged."""
        entry = {"step": self.step, "minutes": round(self.clock.elapsed_seconds / 60, 2)}
        entry["tokens"] = self.tokens
        entry["bits_per_byte"] = round(bits_per_byte(self.model, *self.validation), 4)
        if self.average:
            with averaged(self):
                entry["bits_per_byte_averaged"] = round(
                    bits_per_byte(self.model, *self.validation), 4
                )
        self.history.append(entry)
        note(f"validation {json.dumps(entry)}")


class averaged:  # noqa: N801 - a context manager, used like a function
    """Runs a block with the averaged weights in the model."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __enter__(self) -> None:
        self.kept = {name: p.detach().clone() for name, p in self.run.model.named_parameters()}
        self._put(self.run.average)

    def __exit__(self, *_: object) -> None:
        self._put(self.kept)

    @torch.no_grad()
    def _put(self, values: dict[str, torch.Tensor]) -> None:
        for name, parameter in self.run.model.named_parameters():
            parameter.copy_(values[name])


def on_device(value: Any, device: str) -> Any:
    """Nested dictionaries with every tensor on a device; a checkpoint is read on the CPU."""
    if isinstance(value, dict):
        return {name: on_device(inner, device) for name, inner in value.items()}
    return value.to(device) if isinstance(value, torch.Tensor) else value


def note(text: str) -> None:
    """One line of progress on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main() -> None:
    """Trains and prints the report."""
    options = parse()
    run = Run(options)
    plan: Plan = run.plan
    run.loop()
    run.source.close()
    report = {
        "options": asdict(options),
        "plan": asdict(plan),
        "steps": run.step,
        "tokens": run.tokens,
        "minutes": round(run.clock.elapsed_seconds / 60, 2),
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "validation": run.history,
        "torch": torch.__version__,
        "corpus_sha256": file_hash(WORK / "corpus" / "train.jsonl"),
        "tokenizer_sha256": file_hash(WORK / "tokenizer.json"),
    }
    if options.other_languages:
        report["other_languages_sha256"] = file_hash(WORK / "languages" / "train.jsonl")
    text = json.dumps(report, indent=1)
    (options.folder / "report.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
