"""Compares the choices of the recipe on short runs of the same rows and first weights.

Run as `python -m training.ablate`; goes on after a kill with the
first variant that is not measured, prints a JSON report: validation bits per byte of each variant
after the same number of tokens, of Python and of the other languages, and how far from the recipe.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from training.documents import RowMaker, RowOptions, load_tokenizer, read_texts
from training.intervals import ratio_interval
from training.journal import Journal
from training.measure import bits_of_rows, held_out_rows
from training.mixture import Mixture, other_texts
from training.muon import Muon, Settings
from training.network import Network
from training.output import note, publish
from training.paths import WORK
from training.schedule import CPU_PLAN
from training.shape import WIDTH
from training.train import new_model
from training.trainer import MAX_GRADIENT_NORM
from training.warmstart import token_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM

    # Rows of the validation split, and the bytes of each.
    HeldOut = tuple[Tensor, list[int]]

ROWS, ROW_TOKENS = 8, 256
HELD_OUT_FILES, HELD_OUT_FILES_PER_LANGUAGE = 40, 6


@dataclass(frozen=True)
class Variant:
    """One choice changed; `later_seed` changes nothing but chance."""

    name: str
    layers: int = 2
    steps_share: float = 1.0
    muon: bool = True
    counted_tokens: bool = True
    position_waves: bool = True
    infill_share: float = 0.5
    other_share: float = 0.0
    later_seed: int = 0


# The first is what the others are compared with.
VARIANTS = (
    Variant("as the recipe"),
    Variant("15 % other languages", other_share=0.15),
    Variant("as the recipe, another seed", later_seed=1),
    Variant("Adam for the matrices too", muon=False),
    Variant("7 layers at once, a third of the steps", layers=7, steps_share=1 / 3),
    Variant("token vectors random", counted_tokens=False),
    Variant("no rows for infilling", infill_share=0.0),
    Variant("token vectors and positions random", counted_tokens=False, position_waves=False),
    Variant("all rows for infilling", infill_share=1.0),
    Variant("30 % other languages", other_share=0.3),
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


class Ablation:
    """Trains and measures variants; what they share is read once."""

    def __init__(self, *, steps: int, seed: int) -> None:
        self.steps, self.seed = steps, seed
        self.tokenizer = load_tokenizer()

    @cached_property
    def texts(self) -> list[str]:
        """Python's training split."""
        return read_texts("train")

    @cached_property
    def others(self) -> dict[str, list[str]]:
        """The training split of the other languages."""
        return other_texts("train")

    @cached_property
    def table(self) -> Tensor:
        """Token vectors from counts, for every seed."""
        return token_table(self.tokenizer, self.texts[:2000], WIDTH, self.seed)

    @cached_property
    def held_out(self) -> dict[str, HeldOut]:
        """Beginnings of Python files; of the others parts of files, which begin with a licence."""
        python = held_out_rows(self.tokenizer, read_texts("validation"), HELD_OUT_FILES, ROW_TOKENS)
        count, parts = HELD_OUT_FILES_PER_LANGUAGE, []
        for texts in other_texts("validation").values():
            inner = [text[text.find("\n", len(text) // 3) + 1 :] for text in texts]
            parts.append(held_out_rows(self.tokenizer, inner, count, ROW_TOKENS))
        rows = torch.cat([rows for rows, _ in parts])
        sizes = [size for _, sizes in parts for size in sizes]
        return {"python": python, "other_languages": (rows, sizes)}

    def maker(self, variant: Variant) -> Mixture:
        """Makes a variant's rows."""
        options = RowOptions(infill_share=variant.infill_share)
        others: Iterable[list[str]] = self.others.values() if variant.other_share else ()
        return Mixture(
            RowMaker(self.texts, self.tokenizer, options),
            [RowMaker(texts, self.tokenizer, options) for texts in others],
            variant.other_share,
        )

    def steps_of(self, variant: Variant) -> int:
        """How many steps a variant makes."""
        return max(1, round(self.steps * variant.steps_share))

    def model(self, variant: Variant) -> GPTBigCodeForCausalLM:
        """A variant's first weights."""
        seed = self.seed + variant.later_seed
        model = new_model(variant.layers, seed=seed, position_waves=variant.position_waves)
        if variant.counted_tokens:
            with torch.no_grad():
                model.transformer.wte.weight.copy_(self.table)
        return model

    def trained(self, variant: Variant) -> GPTBigCodeForCausalLM:
        """A variant after its steps, the rate decayed to zero as in a whole run."""
        maker, model, steps = self.maker(variant), self.model(variant), self.steps_of(variant)
        network = Network(model, compiled=False)
        optimizer = (Muon if variant.muon else Adam)(Settings())
        positions = torch.arange(ROW_TOKENS).expand(ROWS, ROW_TOKENS)
        for step in range(steps):
            seed = self.seed + variant.later_seed
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
        return model

    def measure(self, variant: Variant) -> dict[str, list[float]]:
        """The bits that a variant needs for each held-out file."""
        held_out, model = self.held_out, self.trained(variant)
        return {name: bits_of_rows(model, rows) for name, (rows, _) in held_out.items()}

    def report(self, journal: Journal) -> dict[str, Any]:
        """Every variant, measured now or before a kill."""
        measured = [journal.each(variant.name, [variant], self.measure)[0] for variant in VARIANTS]
        rows = {}
        for variant, bits in zip(VARIANTS, measured, strict=True):
            rows[variant.name] = {"tokens": self.steps_of(variant) * ROWS * ROW_TOKENS} | {
                name: compared(bits[name], measured[0][name], sizes)
                for name, (_, sizes) in self.held_out.items()
            }
        files = {name: len(sizes) for name, (_, sizes) in self.held_out.items()}
        return {"seed": self.seed, "files": files, "variants": rows, "seconds": journal.seconds}


def compared(bits: Sequence[float], base: Sequence[float], sizes: Sequence[int]) -> dict[str, Any]:
    """Bits per byte, how much more than the base needs, and the interval of that over files."""
    more = [here - there for here, there in zip(bits, base, strict=True)]
    return {
        "bits_per_byte": round(sum(bits) / sum(sizes), 4),
        "difference": round(sum(more) / sum(sizes), 4),
        "difference_interval_95": ratio_interval(more, sizes),
    }


def main() -> None:
    """Reads the options, trains each variant, prints the report and keeps it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100, help=f"of {ROWS} rows of {ROW_TOKENS}")
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    name = f"{options.steps}-{options.seed}"
    journal = Journal(WORK / "ablations" / f"{name}-files.jsonl")
    report = Ablation(steps=options.steps, seed=options.seed).report(journal)
    publish(report, WORK / "ablations" / f"{name}.json")
    journal.finish()


if __name__ == "__main__":
    main()
