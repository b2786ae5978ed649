"""Compares the choices of the recipe on short runs of the same seed, steps and rows.

Knows nothing of time budgets. Run as `python -m training.ablate`; goes on after a kill, prints a
JSON report: validation bits per byte of each variant after a fixed number of tokens.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from training.documents import RowMaker, RowOptions, load_tokenizer, read_texts
from training.journal import Journal, note
from training.measure import bits_per_byte, validation_rows
from training.muon import Muon, Settings
from training.network import Network
from training.paths import WORK
from training.schedule import CPU_PLAN
from training.shape import WIDTH
from training.train import MAX_GRADIENT_NORM, new_model
from training.warmstart import token_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

ROWS, ROW_TOKENS = 8, 256


@dataclass(frozen=True)
class Variant:
    """One choice changed."""

    name: str
    layers: int = 2
    muon: bool = True
    counted_tokens: bool = True
    position_waves: bool = True
    infill_share: float = 0.5


VARIANTS = (
    Variant("as the recipe"),
    Variant("AdamW for the matrices too", muon=False),
    Variant("token vectors random", counted_tokens=False),
    Variant("token vectors and positions random", counted_tokens=False, position_waves=False),
    Variant("no rows for infilling", infill_share=0.0),
    Variant("all rows for infilling", infill_share=1.0),
)


class Adam(Muon):
    """The optimizer with Adam for every parameter."""

    def step(
        self, parameters: Iterable[tuple[str, Tensor]], *, matrix_rate: float, rate: float
    ) -> None:
        """One update; the rate of the matrices is not used."""
        del matrix_rate
        for name, parameter in parameters:
            with torch.no_grad():
                self._adam(name, parameter, rate)


def trained_bits(variant: Variant, *, steps: int, seed: int) -> float:
    """Bits per byte on the validation rows after `steps` steps, decayed to zero."""
    tokenizer, texts = load_tokenizer(), read_texts("train")
    maker = RowMaker(texts, tokenizer, RowOptions(infill_share=variant.infill_share))
    model = new_model(variant.layers, seed=seed, position_waves=variant.position_waves)
    if variant.counted_tokens:
        with torch.no_grad():
            table = token_table(tokenizer, texts[:2000], WIDTH, seed)
            model.transformer.wte.weight.copy_(table)
    network, optimizer = (
        Network(model, compiled=False),
        (Muon if variant.muon else Adam)(Settings()),
    )
    positions = torch.arange(ROW_TOKENS).expand(ROWS, ROW_TOKENS)
    for step in range(steps):
        rows = torch.from_numpy(maker.batch(seed, step, (ROWS, ROW_TOKENS + 1)))
        loss = network.loss(rows, positions)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        factor = CPU_PLAN.factor((step + 1) / (steps + 1))
        optimizer.step(
            model.named_parameters(),
            matrix_rate=factor * CPU_PLAN.matrix_rate,
            rate=factor * CPU_PLAN.rate,
        )
        model.zero_grad()
        if step % 10 == 0:
            note(f"{variant.name}: step {step} of {steps}, loss {float(loss.detach()):.3f}")
    held_out = validation_rows(tokenizer, read_texts("validation"), 20, ROW_TOKENS)
    return round(bits_per_byte(model, *held_out), 4)


def main() -> None:
    """Reads the options, trains each variant, prints the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100, help=f"of {ROWS} rows of {ROW_TOKENS}")
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    journal = Journal(WORK / "ablations" / f"{options.steps}-{options.seed}.jsonl")
    report: dict[str, Any] = {
        variant.name: journal.each(
            variant.name,
            [variant],
            lambda one: trained_bits(one, steps=options.steps, seed=options.seed),
        )[0]
        for variant in VARIANTS
    }
    tokens = options.steps * ROWS * ROW_TOKENS
    print(json.dumps({"tokens": tokens, "seed": options.seed, "bits_per_byte": report}, indent=1))
    journal.finish()


if __name__ == "__main__":
    main()
