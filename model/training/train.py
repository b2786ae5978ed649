"""Trains the Python model: from nothing, on from other weights, or a trunk to its decayed end.

Run as `python -m training.train --plan trunk`; started again with the same options it goes on from
its last checkpoint.
"""

from __future__ import annotations

import argparse
import random
from collections import deque
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpt_bigcode.checkpoint.loading import load_model
from gpt_bigcode.hardware import BFLOAT16_FLAGS, choose_threads, cpu_flags
from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM
from training.batches import BatchSource, default_maker
from training.documents import RowOptions, load_tokenizer, read_texts
from training.growth import grow
from training.guidance import MOST_TOKENS, Guidance
from training.measure import bits_per_byte, validation_rows
from training.muon import Muon, Settings
from training.network import Network
from training.output import file_hash, publish
from training.parts import PartedGradients
from training.paths import WORK
from training.schedule import PLANS, Plan
from training.shape import POSITIONS, WIDTH, configuration
from training.trainer import (
    LoopOptions,
    Moment,
    Recipe,
    Trainer,
    add_loop_arguments,
    read_checkpoint,
)
from training.warmstart import token_table

START_OF_FILE_SHARE = 0.3
# Of its trunk's tokens, what a decay takes unless a budget is given.
DECAY_SHARE = 0.1
# Tokens of a part on a processor: eight rows of 512 keep a layer's activations in its caches.
PART_TOKENS = 4096


@dataclass(frozen=True, kw_only=True)
class Options(LoopOptions):
    """What the command line says."""

    plan: str
    device: str
    precision: str
    threads: int
    compiled: bool
    position_waves: bool
    counted_tokens: bool
    workers: int
    start_from: str
    weights: Path | None
    weights_tokens: int
    other_languages: float

    @property
    def bfloat16(self) -> bool:
        """Whether products are computed in bfloat16: where the hardware multiplies it."""
        if self.precision != "auto":
            return self.precision == "bfloat16"
        return self.device != "cpu" or bool(BFLOAT16_FLAGS & cpu_flags())


def parse(arguments: list[str] | None = None) -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_loop_arguments(parser, run="pocket-coder", seed=11)
    parser.add_argument("--plan", choices=sorted(PLANS), default="cpu")
    parser.add_argument("--start-from", default="", help="another run to go on from")
    parser.add_argument("--weights", type=Path, help="a checkpoint folder to go on from")
    parser.add_argument("--weights-tokens", type=int, default=0, help="tokens those have seen")
    parser.add_argument("--other-languages", type=float, default=0.0, help="share of the rows")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("auto", "bfloat16", "float32"), default="auto")
    parser.add_argument("--threads", type=int, default=choose_threads(), help="on a processor")
    parser.add_argument("--compiled", action="store_true", help="torch.compile one block")
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches")
    parser.add_argument("--no-position-waves", dest="position_waves", action="store_false")
    parser.add_argument("--no-counted-tokens", dest="counted_tokens", action="store_false")
    options = Options(**vars(parser.parse_args(arguments)))
    if not (options.has_budget or PLANS[options.plan].endless or options.plan == "decay"):
        parser.error(f"--plan {options.plan} needs a budget: --minutes or --tokens")
    if options.plan == "decay" and not options.start_from:
        parser.error("--plan decay needs --start-from, the run that is decayed")
    return options


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


class CodeRecipe(Recipe):
    """The Python model, its rows and its loss."""

    model: GPTBigCodeForCausalLM
    report_every = 20

    def __init__(self, options: Options) -> None:
        products = torch.bfloat16 if options.bfloat16 else torch.float32
        super().__init__(Muon(Settings(products=products)))
        self.options, self.plan = options, PLANS[options.plan]
        self.average_from, self.average_weight = self.plan.average_from, self.plan.average_weight
        self.tokenizer = load_tokenizer()
        filling = RowOptions(line_gap_share=self.plan.line_gap_share, healed=self.plan.healed)
        self.maker = default_maker(options.other_languages, filling)
        self.source = BatchSource(self.maker, seed=options.seed, workers=options.workers)
        self.validation = validation_rows(self.tokenizer, read_texts("validation"), 20, 512)
        on_cpu = options.device == "cpu"
        self.parts = PartedGradients(
            self.loss,
            threads=options.threads if on_cpu else 1,
            part_tokens=PART_TOKENS if on_cpu else 0,
        )
        self.guide_weight = 0.0
        self.guided: deque[float] = deque(maxlen=20)

    def begin(self, saved: dict[str, Any]) -> None:
        """The model of a checkpoint; or a new one, with token vectors from counts."""
        options = self.options
        layers = saved.get("layers", self.plan.stage(0.0).layers)
        self.model = new_model(layers, seed=options.seed, position_waves=options.position_waves)
        if saved:
            self.model.load_state_dict(saved["model"])
        elif options.counted_tokens:
            table = token_table(self.tokenizer, self.maker.texts[:2000], WIDTH, options.seed)
            with torch.no_grad():
                self.model.transformer.wte.weight.copy_(table)
        self.model.to(options.device).train()
        self.network = Network(self.model, compiled=options.compiled)

    def state(self) -> dict[str, Any]:
        """The depth, which grows."""
        return {"layers": self.model.config.n_layer}

    def gradients(self, now: Moment) -> tuple[float, int]:
        """One batch, in parts."""
        layers = self.plan.stage(now.share).layers
        if layers != self.model.config.n_layer:
            grow(self.model, self.optimizer, layers)
        rows, positions = self.batch(now)
        long = positions.shape[1] > MOST_TOKENS
        self.guide_weight = 0.0 if long else self.plan.guidance(now.share)
        loss = self.parts.compute(list(self.model.parameters()), rows, positions)
        return loss, positions.numel()

    def loss(self, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """The language model's loss, with that of the guided heads while there are any."""
        device = self.options.device
        with torch.autocast(device, dtype=torch.bfloat16, enabled=self.options.bfloat16):
            if not self.guide_weight:
                return self.network.loss(rows, positions)
            inputs: dict[int, torch.Tensor] = {}
            loss = self.network.loss_of(self.network.hidden(rows, positions, inputs), rows)
            guided = Guidance(self.model, self.plan.guides).loss(rows[:, :-1], inputs)
        self.guided.append(float(guided.detach()))
        return loss + self.guide_weight * guided

    def batch(self, now: Moment) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows [B, T + 1] and positions [B, T]: each row is at a random place."""
        rows = self.source.get(now.step, lambda step: self.plan.shape(now.share, step, POSITIONS))
        count, length = rows.shape[0], rows.shape[1] - 1
        generator = random.Random(f"{self.options.seed}/{now.step}/places")
        offsets = [
            0
            if generator.random() < START_OF_FILE_SHARE
            else generator.randint(0, POSITIONS - length)
            for _ in range(count)
        ]
        positions = np.array(offsets)[:, None] + np.arange(length)
        device = self.options.device
        return torch.from_numpy(rows).to(device), torch.from_numpy(positions).to(device)

    def rates(self, now: Moment) -> tuple[float, float]:
        """The plan's rates."""
        factor = self.plan.factor(now.share, now.own_steps)
        return factor * self.plan.matrix_rate, factor * self.plan.rate

    def progress(self, now: Moment) -> str:
        """The guided loss and the schedule."""
        guided = f"guided {sum(self.guided) / len(self.guided):.3f} " if self.guided else ""
        return f"{guided}rate x{self.plan.factor(now.share, now.own_steps):.2f}"

    def measure(self) -> dict[str, float]:
        """Bits per byte on the validation packages."""
        return {"bits_per_byte": round(bits_per_byte(self.model, *self.validation), 4)}

    def close(self) -> None:
        """End threads and workers."""
        self.parts.close()
        self.source.close()


def beginning(options: Options) -> dict[str, Any]:
    """The checkpoint that a new run begins with; empty: none."""
    if options.start_from:
        return read_checkpoint(WORK / "runs" / options.start_from / "checkpoint.pt")
    if options.weights:
        model = load_model(options.weights, dtype=torch.float32)
        if not isinstance(model, GPTBigCodeForCausalLM):
            raise SystemExit(f"train: {options.weights} holds no causal language model")
        return {
            "model": model.state_dict(),
            "layers": model.config.n_layer,
            "tokens": options.weights_tokens,
        }
    return {}


def trainer(options: Options) -> Trainer:
    """A run of the Python model, at its last checkpoint or at its beginning."""
    start = beginning(options)
    if options.plan == "decay" and not options.has_budget:
        options = replace(options, tokens=DECAY_SHARE * start["tokens"])
    return Trainer(CodeRecipe(options), options, WORK / "runs", start)


def report(run: Trainer, options: Options, plan: Plan) -> dict[str, Any]:
    """What was done, with what, on which machines."""
    found = {"options": options.reported(), "plan": asdict(plan), **run.report()}
    found["corpus_sha256"] = file_hash(WORK / "corpus" / "train.jsonl")
    found["tokenizer_sha256"] = file_hash(WORK / "tokenizer.json")
    if options.other_languages:
        found["other_languages_sha256"] = file_hash(WORK / "languages" / "train.jsonl")
    return found


def main() -> None:
    """Train and print the report."""
    options = parse()
    run = trainer(options)
    run.loop()
    publish(report(run, options, PLANS[options.plan]), run.checkpoint.with_name("report.json"))


if __name__ == "__main__":
    main()
