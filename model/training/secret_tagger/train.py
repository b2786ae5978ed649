"""Trains the tagger within a time budget; resumes after any kind of death.

Knows nothing of how passages are made. Run as `python -m training.secret_tagger.train --minutes 45`
after `training.secret_tagger.build`; started again with the same options it goes on.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from gpt_bigcode.modeling.heads import GPTBigCodeForTokenClassification
from training.muon import Muon, Settings
from training.network import block_forward
from training.secret_tagger.build import END, file_hash, load_tokenizer, note, stream_path
from training.secret_tagger.initial import begin, keep_positions, look_further
from training.secret_tagger.reading import Reading, ReadMode
from training.secret_tagger.shape import Shape, configuration
from training.secret_tagger.sources import HOME
from training.secret_tagger.tokens import IGNORED
from training.train import Clock

if TYPE_CHECKING:
    from pathlib import Path

MATRIX_RATE, RATE = 2e-3, 2e-3
WARM_UP, DECAY_FROM = 0.02, 0.30
LONG_ROWS_FROM, LONG_ROWS_EVERY = 0.8, 3
ROW_TOKENS = 256
BATCH_TOKENS, LATER_BATCH_TOKENS, LATER_FROM = 1024, 2048, 0.5
AVERAGE_FROM = 0.88
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    minutes: float
    run: str
    seed: int
    width: int
    layers: int
    heads: int
    read: str
    delay: int
    checkpoint_minutes: float
    stop_after_minutes: float
    begin_with: str | None

    @property
    def folder(self) -> Path:
        """Where this run's files go."""
        return HOME / "runs" / self.run

    @property
    def reading(self) -> Reading:
        """How labels are read."""
        return Reading(ReadMode(self.read), self.delay)

    @property
    def shape(self) -> Shape:
        """The model's size."""
        return Shape(self.width, self.layers, self.heads)


def parse() -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True, help="budget of stepping time")
    parser.add_argument("--run", default="pocket-secrets", help="name of the run's folder")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--read", choices=[mode.value for mode in ReadMode], default="once")
    parser.add_argument("--delay", type=int, default=16)
    parser.add_argument("--checkpoint-minutes", type=float, default=3.0)
    parser.add_argument("--stop-after-minutes", type=float, default=1e9, help="for short trials")
    parser.add_argument("--begin-with", metavar="RUN", help="its averaged weights, not fresh ones")
    return Options(**vars(parser.parse_args()))


class Stream:
    """Rows of any length from a stream of ids and tags; a batch follows from what was read."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as stored:
            self.ids, self.tags = stored["ids"].astype(np.int64), stored["tags"]

    def rows(self, starts: list[int], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and tags, [B, length] each."""
        places = np.array(starts)[:, None] + np.arange(length)
        return self.ids[places], self.tags[places]

    def batch(self, first: int, count: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """The stream in order from token `first` on, row by row, around again at its end."""
        last = len(self.ids) - length
        return self.rows([(first + row * length) % last for row in range(count)], length)


class Run:
    """The state of a run and its one loop."""

    def __init__(self, options: Options) -> None:
        self.options, self.reading = options, options.reading
        self.budget_seconds = options.minutes * 60
        self.stream = Stream(stream_path("train"))
        self.validation = Stream(stream_path("validation"))
        self.optimizer = Muon(Settings())
        self.step = self.tokens = 0
        self.losses: deque[float] = deque(maxlen=100)
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
        options = self.options
        torch.manual_seed(options.seed)
        self.model = GPTBigCodeForTokenClassification(configuration(options.shape))
        seconds = 0.0
        if self.checkpoint.exists():
            saved = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            self.model.load_state_dict(saved["model"])
            self.optimizer.state = saved["optimizer"]
            self.step, self.tokens = saved["step"], saved["tokens"]
            self.average, self.history = saved["average"], saved["history"]
            seconds = saved["elapsed_seconds"]
            note(f"resumed at step {self.step}, {seconds / 60:.1f} min")
        elif options.begin_with:
            self.take_up(HOME / "runs" / options.begin_with / "checkpoint.pt")
        else:
            parts = np.split(self.stream.ids[:600_000], 300)
            tokenizer = load_tokenizer()
            texts = [tokenizer.decode(list(part)) for part in parts]
            begin(self.model, tokenizer, texts, delay=options.delay, seed=options.seed)
        self.model.train()
        self.clock = Clock(seconds)

    def take_up(self, path: Path) -> None:
        """Begins with another run's weights, whose labels may have been read earlier."""
        saved = torch.load(path, map_location="cpu", weights_only=True)
        before = saved["reading"]
        if saved["shape"] != asdict(self.options.shape) or before["read"] != self.options.read:
            raise SystemExit(f"secrets: {path}: another shape or way of reading")
        self.model.load_state_dict(saved["model"] | saved["average"])
        look_further(self.model, self.options.delay - before["delay"])

    def save(self) -> None:
        """Writes the checkpoint: temporary file, then rename."""
        partial = self.checkpoint.with_suffix(".partial")
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state,
            "average": self.average,
            "shape": asdict(self.options.shape),
            "reading": {"read": self.options.read, "delay": self.options.delay},
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

    @property
    def factor(self) -> float:
        """Learning rate over its peak: short warm-up, level, linear decay to zero."""
        if self.share < WARM_UP:
            return max(self.share, 0.001) / WARM_UP
        return min(1.0, max(0.0, (1.0 - self.share) / (1.0 - DECAY_FROM)))

    def loop(self) -> None:
        """Steps until the budget is spent; saves and measures on the way."""
        every = self.options.checkpoint_minutes * 60
        next_save = self.clock.elapsed_seconds + every
        stop = min(self.budget_seconds, self.options.stop_after_minutes * 60)
        while self.clock.elapsed_seconds < stop:
            self.one_step()
            if self.clock.elapsed_seconds >= next_save:
                next_save += every
                self.measure()
                self.save()
            self.clock.restart()
        self.measure()
        self.save()

    def loss(self, ids: np.ndarray, tags: np.ndarray, offsets: list[int]) -> torch.Tensor:
        """Mean cross-entropy of the tags that are known."""
        rows, labels = self.reading.arrange(ids, tags)
        trunk = self.model.transformer
        positions = torch.tensor(offsets)[:, None] + torch.arange(rows.shape[1])
        hidden = F.embedding(torch.from_numpy(rows), trunk.wte.weight)
        hidden = hidden + F.embedding(positions, trunk.wpe.weight)
        for block in trunk.h:
            hidden = block_forward(hidden, dict(block.named_parameters()), self.options.heads)
        known = torch.from_numpy(labels != IGNORED)
        hidden = F.layer_norm(hidden[known], hidden.shape[-1:], trunk.ln_f.weight, trunk.ln_f.bias)
        logits = self.model.classifier(hidden)
        return F.cross_entropy(logits, torch.from_numpy(labels.astype(np.int64))[known])

    def one_step(self) -> None:
        """One batch, one update."""
        limit = self.model.config.n_positions
        longest = self.reading.window(limit)
        long = self.share >= LONG_ROWS_FROM and self.step % LONG_ROWS_EVERY == 0
        length = longest if long else min(longest, ROW_TOKENS)
        batch_tokens = LATER_BATCH_TOKENS if self.share >= LATER_FROM else BATCH_TOKENS
        count = max(1, batch_tokens // length)
        ids, tags = self.stream.batch(self.tokens, count, length)
        generator = random.Random(f"{self.options.seed}/{self.step}/places")
        room = limit - self.reading.row_tokens(length)
        offsets = [generator.choice([0, generator.randint(0, room)]) for _ in range(count)]
        loss = self.loss(ids, tags, offsets)
        torch.autograd.backward(loss)
        keep_positions(self.model)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step(
            self.model.named_parameters(),
            matrix_rate=self.factor * MATRIX_RATE,
            rate=self.factor * RATE,
        )
        self.model.zero_grad()
        self.losses.append(float(loss.detach()))
        self.step += 1
        self.tokens += count * length
        self.update_average()
        self.clock.tick()
        if self.step % 50 == 0:
            seconds = self.clock.elapsed_seconds
            note(
                f"step {self.step} {seconds / 60:.1f} min"
                f" loss {sum(self.losses) / len(self.losses):.4f}"
                f" tokens {self.tokens / 1e6:.3f} M ({self.tokens / seconds:.0f}/s)"
            )

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

    @torch.no_grad()
    def measure(self) -> None:
        """Mean loss on the validation packages, with the weights as they are."""
        length = min(self.reading.window(self.model.config.n_positions), ROW_TOKENS)
        starts = range(0, len(self.validation.ids) - length, length)
        losses = []
        for first in range(0, len(starts), 16):
            ids, tags = self.validation.rows(list(starts[first : first + 16]), length)
            losses.append(float(self.loss(ids, tags, [0] * len(ids))))
        entry: dict[str, Any] = {"step": self.step, "tokens": self.tokens}
        entry["minutes"] = round(self.clock.elapsed_seconds / 60, 2)
        entry["loss"] = round(sum(losses) / len(losses), 5)
        self.history.append(entry)
        note(f"validation {json.dumps(entry)}")


def main() -> None:
    """Trains and prints the report."""
    options = parse()
    run = Run(options)
    run.loop()
    report = {
        "options": asdict(options),
        "steps": run.step,
        "tokens": run.tokens,
        "minutes": round(run.clock.elapsed_seconds / 60, 2),
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "validation": run.history,
        "torch": torch.__version__,
        "stream_sha256": file_hash(stream_path("train")),
        "tokenizer_sha256": file_hash(HOME / "tokenizer.json"),
        "end_token": END,
    }
    text = json.dumps(report, indent=1)
    (options.folder / "report.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
