"""How many tokens a second this machine trains, in float32 and in bfloat16.

The rows are random. Run as `python -m training.rate --threads 2`; prints a JSON report, next to the
rate of large matrix products on the same threads.
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median
from typing import Any

import torch

from gpt_bigcode.hardware import choose_threads
from training.muon import Muon, Settings
from training.network import Network
from training.parts import PartedGradients
from training.schedule import PLANS, Stage
from training.shape import POSITIONS, VOCABULARY
from training.train import PART_TOKENS, new_model
from training.trainer import MAX_GRADIENT_NORM

_PRODUCT_WIDTH, _PRODUCTS = 1024, 8
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Bench:
    """A model of one stage's depth, and the stage's rows."""

    def __init__(self, stage: Stage, products: torch.dtype, threads: int) -> None:
        if stage.row_tokens > POSITIONS:
            raise SystemExit(f"rate: rows of {stage.row_tokens} tokens, {POSITIONS} positions")
        self.mixed = products is not torch.float32
        self.model = new_model(stage.layers, seed=1, position_waves=True)
        self.network = Network(self.model, compiled=False)
        self.optimizer = Muon(Settings(products=products))
        self.parts = PartedGradients(self.loss, threads=threads, part_tokens=PART_TOKENS)
        count = stage.batch_tokens // stage.row_tokens
        self.rows = torch.randint(0, VOCABULARY, (count, stage.row_tokens + 1))
        self.positions = torch.arange(stage.row_tokens).expand(count, stage.row_tokens)

    def loss(self, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """One part's loss."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.mixed):
            return self.network.loss(rows, positions)

    def step(self) -> tuple[float, float]:
        """One step as the trainer makes it: seconds of the gradients and of the update."""
        started = time.perf_counter()
        self.parts.compute(list(self.model.parameters()), self.rows, self.positions)
        between = time.perf_counter()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step(self.model.named_parameters(), matrix_rate=1e-4, rate=1e-4)
        self.model.zero_grad()
        return between - started, time.perf_counter() - between


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


def product_rate(products: torch.dtype) -> float:
    """Operations a second of large matrix products."""
    left, right = torch.randn(2, _PRODUCT_WIDTH, _PRODUCT_WIDTH).to(products)
    spent = []
    for _ in range(_PRODUCTS):
        started = time.perf_counter()
        left @ right
        spent.append(time.perf_counter() - started)
    return 2.0 * _PRODUCT_WIDTH**3 / median(spent)


def measured(stage: Stage, steps: int, products: torch.dtype, threads: int) -> dict[str, Any]:
    """The median over some steps, after one that is not counted."""
    bench = Bench(stage, products, threads)
    bench.step()
    made = [bench.step() for _ in range(steps)]
    bench.parts.close()
    seconds = median(gradients + update for gradients, update in made)
    rate = stage.batch_tokens / seconds
    return {
        "layers": stage.layers,
        "row_tokens": stage.row_tokens,
        "batch_tokens": stage.batch_tokens,
        "tokens_a_second": round(rate, 1),
        "seconds_a_step": round(seconds, 3),
        "optimizer_share": round(median(update for _, update in made) / seconds, 3),
        "operations_a_second": round(rate * operations_per_token(stage) / 1e9, 1) * 1e9,
    }


def main() -> None:
    """Read the options, measure the stages of a plan in both types, print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", choices=sorted(PLANS), default="trunk")
    parser.add_argument("--threads", type=int, default=choose_threads())
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    stages = PLANS[options.plan].stages
    report: dict[str, Any] = {
        "torch": torch.__version__,
        "threads": options.threads,
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
    for name, products in TYPES.items():
        rows = [measured(stage, options.steps, products, options.threads) for stage in stages]
        product = round(product_rate(products) / 1e9, 1) * 1e9
        report[name] = {"operations_a_second_of_matrix_products": product, "stages": rows}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
