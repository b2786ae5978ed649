"""Trains the tagger within a budget; resumes after any kind of death.

Run as `python -m training.secret_tagger.train --minutes 45` after `training.secret_tagger.build`.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from gpt_bigcode.modeling.heads import GPTBigCodeForTokenClassification
from training.network import trunk_forward
from training.output import file_hash, publish
from training.schedule import decaying
from training.secret_tagger.build import END, load_tokenizer, stream_path
from training.secret_tagger.initial import begin, keep_positions, look_further
from training.secret_tagger.reading import Reading, ReadMode
from training.secret_tagger.shape import Shape, configuration
from training.secret_tagger.sources import HOME
from training.secret_tagger.tokens import IGNORED
from training.trainer import (
    LoopOptions,
    Moment,
    Recipe,
    Trainer,
    add_loop_arguments,
    read_checkpoint,
)

if TYPE_CHECKING:
    from pathlib import Path

MATRIX_RATE, RATE = 2e-3, 2e-3
WARM_UP, DECAY_FROM = 0.02, 0.30
LONG_ROWS_FROM, LONG_ROWS_EVERY = 0.8, 3
ROW_TOKENS = 256
BATCH_TOKENS, LATER_BATCH_TOKENS, LATER_FROM = 1024, 2048, 0.5


@dataclass(frozen=True, kw_only=True)
class Options(LoopOptions):
    """What the command line says."""

    width: int
    layers: int
    heads: int
    read: str
    delay: int
    begin_with: str | None

    @property
    def reading(self) -> Reading:
        """How labels are read."""
        return Reading(ReadMode(self.read), self.delay)

    @property
    def shape(self) -> Shape:
        """The model's size."""
        return Shape(self.width, self.layers, self.heads)


def parse(arguments: list[str] | None = None) -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_loop_arguments(parser, run="pocket-secrets", seed=11)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--read", choices=[mode.value for mode in ReadMode], default="once")
    parser.add_argument("--delay", type=int, default=16)
    parser.add_argument("--begin-with", metavar="RUN", help="its averaged weights, not fresh ones")
    options = Options(**vars(parser.parse_args(arguments)))
    if not options.has_budget:
        parser.error("a budget is needed: --minutes or --tokens")
    return options


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


class TaggerRecipe(Recipe):
    """The tagger, its rows and its loss."""

    model: GPTBigCodeForTokenClassification

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options, self.reading = options, options.reading
        self.stream = Stream(stream_path("train"))
        self.validation = Stream(stream_path("validation"))

    def begin(self, saved: dict[str, Any]) -> None:
        """The model of a checkpoint, another run's, or one that begins with counts."""
        options = self.options
        torch.manual_seed(options.seed)
        self.model = GPTBigCodeForTokenClassification(configuration(options.shape))
        if saved:
            self.model.load_state_dict(saved["model"])
        elif options.begin_with:
            self.take_up(HOME / "runs" / options.begin_with / "checkpoint.pt")
        else:
            parts = np.split(self.stream.ids[:600_000], 300)
            tokenizer = load_tokenizer()
            texts = [tokenizer.decode(list(part)) for part in parts]
            begin(self.model, tokenizer, texts, delay=options.delay, seed=options.seed)
        self.model.train()

    def take_up(self, path: Path) -> None:
        """Another run's weights, whose labels may have been read earlier."""
        saved = read_checkpoint(path)
        before = saved["reading"]
        if saved["shape"] != asdict(self.options.shape) or before["read"] != self.options.read:
            raise SystemExit(f"secrets: {path}: another shape or way of reading")
        self.model.load_state_dict(saved["model"] | saved["average"])
        look_further(self.model, self.options.delay - before["delay"])

    def state(self) -> dict[str, Any]:
        """Shape and reading, which the export needs."""
        reading = {"read": self.options.read, "delay": self.options.delay}
        return {"shape": asdict(self.options.shape), "reading": reading}

    def loss(self, ids: np.ndarray, tags: np.ndarray, offsets: list[int]) -> torch.Tensor:
        """Mean cross-entropy of the tags that are known."""
        rows, labels = self.reading.arrange(ids, tags)
        positions = torch.tensor(offsets)[:, None] + torch.arange(rows.shape[1])
        hidden = trunk_forward(self.model.transformer, torch.from_numpy(rows), positions)
        known = torch.from_numpy(labels != IGNORED)
        logits = self.model.classifier(hidden[known])
        return F.cross_entropy(logits, torch.from_numpy(labels.astype(np.int64))[known])

    def gradients(self, now: Moment) -> tuple[float, int]:
        """One batch."""
        limit = self.model.config.n_positions
        longest = self.reading.window(limit)
        long = now.share >= LONG_ROWS_FROM and now.step % LONG_ROWS_EVERY == 0
        length = longest if long else min(longest, ROW_TOKENS)
        batch_tokens = LATER_BATCH_TOKENS if now.share >= LATER_FROM else BATCH_TOKENS
        count = max(1, batch_tokens // length)
        ids, tags = self.stream.batch(now.tokens, count, length)
        generator = random.Random(f"{self.options.seed}/{now.step}/places")
        room = limit - self.reading.row_tokens(length)
        offsets = [generator.choice([0, generator.randint(0, room)]) for _ in range(count)]
        loss = self.loss(ids, tags, offsets)
        torch.autograd.backward(loss)
        keep_positions(self.model)
        return float(loss.detach()), count * length

    def rates(self, now: Moment) -> tuple[float, float]:
        """Warm-up, level, linear to zero."""
        factor = decaying(now.share, WARM_UP, DECAY_FROM)
        return factor * MATRIX_RATE, factor * RATE

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Mean loss on the validation packages."""
        length = min(self.reading.window(self.model.config.n_positions), ROW_TOKENS)
        starts = range(0, len(self.validation.ids) - length, length)
        losses = []
        for first in range(0, len(starts), 16):
            ids, tags = self.validation.rows(list(starts[first : first + 16]), length)
            losses.append(float(self.loss(ids, tags, [0] * len(ids))))
        return {"loss": round(sum(losses) / len(losses), 5)}


def main() -> None:
    """Train and print the report."""
    options = parse()
    run = Trainer(TaggerRecipe(options), options, HOME / "runs")
    run.loop()
    report = {
        "options": options.reported(),
        **run.report(),
        "stream_sha256": file_hash(stream_path("train")),
        "tokenizer_sha256": file_hash(HOME / "tokenizer.json"),
        "end_token": END,
    }
    publish(report, run.checkpoint.with_name("report.json"))


if __name__ == "__main__":
    main()
