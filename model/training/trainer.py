"""The training loop of all recipes: steps, checkpoints, pauses, averaged weights, the report.

A recipe says what is trained (`Recipe`); the loop survives any kind of death, counts only the time
that it computes, and makes no step while a pause file exists.
"""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gpt_bigcode.hardware import processor_model
from training.muon import Muon, Settings
from training.output import note

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

MAX_GRADIENT_NORM = 1.0
PAUSE_POLL_SECONDS = 1.0
# What belongs to one run alone: another that begins with its weights does not take it over.
_OWN = frozenset({"average", "began", "elapsed_seconds", "history"})


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """The part of a recipe's command line that the loop reads.

    Attributes:
        run: name of the run's folder.
        seed: of the first weights and the rows.
        minutes: budget of stepping time; infinite: none.
        tokens: budget of tokens, counted from where the run began; infinite: none.
        checkpoint_minutes: stepping time between two checkpoints.
        validation_minutes: stepping time between two measurements.
        stop_after_minutes: stop early, as if killed; the schedule still aims at the budget.
        pause_file: no step is made while it exists.
    """

    run: str
    seed: int
    minutes: float
    tokens: float
    checkpoint_minutes: float
    validation_minutes: float
    stop_after_minutes: float
    pause_file: Path | None

    @property
    def has_budget(self) -> bool:
        """Whether the run ends by itself."""
        return math.isfinite(self.minutes) or math.isfinite(self.tokens)

    def reported(self) -> dict[str, Any]:
        """For a report: no infinities, which are not JSON, and no folders of one machine."""
        options = asdict(self)
        return {
            name: value.name if isinstance(value, Path) else value
            for name, value in options.items()
            if value is not None and value != math.inf
        }


def add_loop_arguments(parser: argparse.ArgumentParser, *, run: str, seed: int) -> None:
    """The options of `LoopOptions`."""
    parser.add_argument("--minutes", type=float, default=math.inf, help="budget of stepping time")
    parser.add_argument("--tokens", type=float, default=math.inf, help="budget of tokens")
    parser.add_argument("--run", default=run, help="name of the run's folder")
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--checkpoint-minutes", type=float, default=4.0)
    parser.add_argument("--validation-minutes", type=float, default=8.0)
    parser.add_argument("--stop-after-minutes", type=float, default=math.inf, help="for trials")
    parser.add_argument("--pause-file", type=Path, help="no step is made while this file exists")


@dataclass(frozen=True)
class Moment:
    """Where a run is: steps and tokens so far, steps of this run, share of its budget, 0 to 1."""

    step: int
    tokens: int
    own_steps: int
    share: float


class Recipe(ABC):
    """What is trained.

    Attributes:
        model: made by `begin`.
        optimizer: its state is saved and restored by the loop.
        average_from: share of the budget from which the weights are averaged.
        average_weight: of the newest weights in the exponential average.
        report_every: steps between two lines of progress.
    """

    model: nn.Module
    average_from = 0.88
    average_weight = 0.03
    report_every = 50

    def __init__(self, optimizer: Muon | None = None) -> None:
        self.optimizer = optimizer or Muon(Settings())

    @abstractmethod
    def begin(self, saved: dict[str, Any]) -> None:
        """Make the model: with the shape of a checkpoint, or with its first weights if empty."""

    @abstractmethod
    def gradients(self, now: Moment) -> tuple[float, int]:
        """Fill `grad` for one step; its mean loss and its tokens."""

    @abstractmethod
    def rates(self, now: Moment) -> tuple[float, float]:
        """Learning rates of the matrices and of everything else."""

    @abstractmethod
    def measure(self) -> dict[str, float]:
        """The held-out measure, with the weights that are in the model."""

    def progress(self, now: Moment) -> str:
        """What the line of progress says beyond loss and tokens."""
        return f"rate x{self.rates(now)[0]:.2g}"

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds beyond the loop's own state."""
        return {}


class Clock:
    """Counts stepping time: a pause of the process counts as one ordinary step."""

    def __init__(self, elapsed_seconds: float) -> None:
        self.elapsed_seconds = elapsed_seconds
        self._recent: deque[float] = deque(maxlen=30)
        self._last = time.monotonic()

    def tick(self) -> float:
        """One step has ended; the seconds that it counts."""
        now = time.monotonic()
        spent, self._last = now - self._last, now
        usual = median(self._recent) if self._recent else spent
        self._recent.append(spent)
        counted = min(spent, 6 * usual + 1.0)
        self.elapsed_seconds += counted
        return counted

    def restart(self) -> None:
        """What happened since the last tick is not counted."""
        self._last = time.monotonic()


class Trainer:
    """The state of a run and its one loop."""

    def __init__(
        self, recipe: Recipe, options: LoopOptions, runs: Path, start: dict[str, Any] | None = None
    ) -> None:
        """Take up the run's checkpoint, or begin.

        Args:
            recipe: what is trained.
            options: the budget and the intervals.
            runs: the folder that holds all runs.
            start: a checkpoint of another run to begin with: its weights, optimizer and counts.
        """
        self.recipe, self.options = recipe, options
        self.checkpoint = runs / options.run / "checkpoint.pt"
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            saved = read_checkpoint(self.checkpoint)
            note(f"resumed at step {saved['step']}, {saved['elapsed_seconds'] / 60:.1f} min")
        else:
            saved = {name: value for name, value in (start or {}).items() if name not in _OWN}
        recipe.begin(saved)
        self.take_up(saved)
        self.losses: deque[float] = deque(maxlen=50)

    def take_up(self, saved: dict[str, Any]) -> None:
        """The loop's own state from a checkpoint; of an empty one: a run that begins."""
        self.step, self.tokens = saved.get("step", 0), saved.get("tokens", 0)
        self.began = saved.get("began", (self.step, self.tokens))
        self.history: list[dict[str, float]] = saved.get("history", [])
        self.machines: dict[str, dict[str, float]] = saved.get("machines", {})
        device = next(self.recipe.model.parameters()).device
        self.average: dict[str, torch.Tensor] = on_device(saved.get("average", {}), device)
        self.recipe.optimizer.state = on_device(saved.get("optimizer", {}), device)
        self.clock = Clock(saved.get("elapsed_seconds", 0.0))
        self._resumed = self.tokens, self.clock.elapsed_seconds

    @property
    def now(self) -> Moment:
        """Where the run is."""
        step, tokens = self.began
        by_time = self.clock.elapsed_seconds / (self.options.minutes * 60)
        by_tokens = (self.tokens - tokens) / self.options.tokens
        return Moment(self.step, self.tokens, self.step - step, max(by_time, by_tokens))

    def save(self) -> None:
        """Write the checkpoint: temporary file, then rename."""
        state = self.recipe.state() | {
            "model": self.recipe.model.state_dict(),
            "optimizer": self.recipe.optimizer.state,
            "average": self.average,
            "step": self.step,
            "tokens": self.tokens,
            "began": self.began,
            "elapsed_seconds": self.clock.elapsed_seconds,
            "history": self.history,
            "machines": self.machines,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def loop(self) -> None:
        """Step until the budget is spent; save and measure on the way."""
        options = self.options
        next_save = self.clock.elapsed_seconds + options.checkpoint_minutes * 60
        next_measure = self.clock.elapsed_seconds + options.validation_minutes * 60
        while self.now.share < 1 and self.clock.elapsed_seconds < options.stop_after_minutes * 60:
            self.wait_while_paused()
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

    def wait_while_paused(self) -> None:
        """Wait until there is no pause file; what was learned is saved first."""
        file = self.options.pause_file
        if file is None or not file.exists():
            return
        self.save()
        note(f"paused while {file} exists")
        while file.exists():
            time.sleep(PAUSE_POLL_SECONDS)
        self.clock.restart()

    def one_step(self) -> None:
        """One batch, one update."""
        recipe, now = self.recipe, self.now
        loss, tokens = recipe.gradients(now)
        torch.nn.utils.clip_grad_norm_(recipe.model.parameters(), MAX_GRADIENT_NORM)
        matrix_rate, rate = recipe.rates(now)
        parameters = recipe.model.named_parameters()
        recipe.optimizer.step(parameters, matrix_rate=matrix_rate, rate=rate)
        recipe.model.zero_grad()
        self.losses.append(loss)
        self.step += 1
        self.tokens += tokens
        if now.share >= recipe.average_from:
            self.update_average()
        self.count(tokens, self.clock.tick())
        if self.step % recipe.report_every == 0:
            self.report_step()

    def count(self, tokens: int, seconds: float) -> None:
        """What this machine has contributed."""
        here = self.machines.setdefault(processor_model(), {"tokens": 0, "hours": 0.0})
        here["tokens"] += tokens
        here["hours"] += seconds / 3600

    @torch.no_grad()
    def update_average(self) -> None:
        """Exponential average of the weights."""
        for name, parameter in self.recipe.model.named_parameters():
            if name in self.average:
                self.average[name].lerp_(parameter, self.recipe.average_weight)
            else:
                self.average[name] = parameter.detach().clone()

    def report_step(self) -> None:
        """One line of progress."""
        seconds = self.clock.elapsed_seconds
        tokens, started = self._resumed
        rate = (self.tokens - tokens) / max(1e-9, seconds - started)
        loss = sum(self.losses) / len(self.losses)
        note(
            f"step {self.step} {seconds / 60:.1f} min loss {loss:.3f}"
            f" tokens {self.tokens / 1e6:.3f} M ({rate:.0f}/s) {self.recipe.progress(self.now)}"
        )

    def measure(self) -> None:
        """The held-out measure, with the weights as they are and averaged."""
        entry: dict[str, float] = {"step": self.step, "tokens": self.tokens}
        entry["minutes"] = round(self.clock.elapsed_seconds / 60, 2)
        entry |= self.recipe.measure()
        if self.average:
            with self.averaged():
                found = self.recipe.measure()
            entry |= {f"{name}_averaged": value for name, value in found.items()}
        self.history.append(entry)
        note(f"validation {json.dumps(entry)}")

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Run a block with the averaged weights in the model."""
        parameters = dict(self.recipe.model.named_parameters())
        kept = {name: value.detach().clone() for name, value in parameters.items()}
        try:
            put(parameters, self.average)
            yield
        finally:
            put(parameters, kept)

    def report(self) -> dict[str, Any]:
        """What a run's report says about the loop."""
        return {
            "steps": self.step,
            "tokens": self.tokens,
            "minutes": round(self.clock.elapsed_seconds / 60, 2),
            "machines": self.machines,
            "parameters": sum(p.numel() for p in self.recipe.model.parameters()),
            "validation": self.history,
            "torch": torch.__version__,
        }


@torch.no_grad()
def put(parameters: dict[str, nn.Parameter], values: dict[str, torch.Tensor]) -> None:
    """Copy values into parameters by name."""
    for name, parameter in parameters.items():
        parameter.copy_(values[name])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint, on the processor."""
    saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return saved


def on_device(value: Any, device: torch.device) -> Any:
    """Nested dictionaries with every tensor on a device; a checkpoint is read on the CPU."""
    if isinstance(value, dict):
        return {name: on_device(inner, device) for name, inner in value.items()}
    return value.to(device) if isinstance(value, torch.Tensor) else value
