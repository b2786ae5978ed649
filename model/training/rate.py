"""How many tokens a second this machine trains, and where a step's time goes.

Knows nothing of data: the rows are random. Run as `python -m training.rate --threads 2`; prints a
JSON report, next to the rate of large matrix products on the same threads.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import torch

from training.muon import Muon, Settings
from training.network import Network
from training.schedule import PLANS, Stage
from training.shape import POSITIONS, VOCABULARY
from training.train import new_model
from training.trainer import MAX_GRADIENT_NORM

_PRODUCT_WIDTH, _PRODUCTS = 1024, 8


@dataclass(frozen=True)
class Step:
    """Seconds of one step's parts; the loss is computed together with its gradient."""

    forward: float
    loss: float
    backward: float
    optimizer: float

    @property
    def seconds(self) -> float:
        """All parts."""
        return self.forward + self.loss + self.backward + self.optimizer


class Bench:
    """A model of one stage's depth, and the stage's rows."""

    def __init__(self, stage: Stage) -> None:
        self.model = new_model(stage.layers, seed=1, position_waves=True)
        self.network, self.optimizer = Network(self.model, compiled=False), Muon(Settings())
        count = stage.batch_tokens // stage.row_tokens
        self.rows = torch.randint(0, VOCABULARY, (count, stage.row_tokens + 1))
        self.positions = torch.arange(stage.row_tokens).expand(count, stage.row_tokens)
        if stage.row_tokens > POSITIONS:
            raise SystemExit(f"rate: rows of {stage.row_tokens} tokens, {POSITIONS} positions")

    def step(self) -> Step:
        """One step as the trainer makes it."""
        marks = [time.perf_counter()]
        hidden = self.network.hidden(self.rows, self.positions)
        marks.append(time.perf_counter())
        loss = self.network.loss_of(hidden, self.rows)
        marks.append(time.perf_counter())
        torch.autograd.backward(loss)
        marks.append(time.perf_counter())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step(self.model.named_parameters(), matrix_rate=1e-4, rate=1e-4)
        self.model.zero_grad()
        marks.append(time.perf_counter())
        return Step(*(end - start for start, end in pairwise(marks)))


def operations_per_token(stage: Stage) -> float:
    """Multiplications and additions of one token's forward and backward pass, without the step.

    Six for each weight of a matrix (Kaplan et al. 2020, table 1), and the attention's products.
    """
    config = new_model(stage.layers, seed=1, position_waves=False).config
    size = config.n_embd // config.n_head
    block = config.n_embd * (2 * config.n_embd + 2 * size + 2 * 4 * config.n_embd)
    weights = stage.layers * block + config.vocab_size * config.n_embd
    attention = stage.layers * 2 * config.n_embd * stage.row_tokens / 2
    return 6.0 * (weights + attention)


def product_rate() -> float:
    """Operations a second of large matrix products in float32."""
    left, right = torch.randn(2, _PRODUCT_WIDTH, _PRODUCT_WIDTH)
    spent = []
    for _ in range(_PRODUCTS):
        started = time.perf_counter()
        left @ right
        spent.append(time.perf_counter() - started)
    return 2.0 * _PRODUCT_WIDTH**3 / median(spent)


def measured(stage: Stage, steps: int) -> dict[str, Any]:
    """The median of each part over some steps, after one that is not counted."""
    bench = Bench(stage)
    bench.step()
    made = [bench.step() for _ in range(steps)]
    parts = {name: median(asdict(step)[name] for step in made) for name in asdict(made[0])}
    seconds = median(step.seconds for step in made)
    rate = stage.batch_tokens / seconds
    return {
        "layers": stage.layers,
        "row_tokens": stage.row_tokens,
        "batch_tokens": stage.batch_tokens,
        "tokens_a_second": round(rate, 1),
        "seconds_a_step": round(seconds, 3),
        "share": {name: round(part / seconds, 3) for name, part in parts.items()},
        "operations_a_second": round(rate * operations_per_token(stage) / 1e9, 1) * 1e9,
    }


def main() -> None:
    """Reads the options, measures the stages of a plan, prints the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", choices=sorted(PLANS), default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    report = {
        "torch": torch.__version__,
        "threads": options.threads,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "operations_a_second_of_matrix_products": round(product_rate() / 1e9, 1) * 1e9,
        "stages": [measured(stage, options.steps) for stage in PLANS[options.plan].stages],
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
