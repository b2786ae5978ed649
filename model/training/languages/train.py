"""Trains the language classifier within a time budget; resumes after any kind of death.

Knows nothing of downloads or of the exported format. Run as `python -m training.languages.train
--minutes 40`; started again with the same options it goes on where the last checkpoint was.

The model is causal, so every token of a row is asked for the language: a row of 512 tokens
teaches 512 lengths of snippet at the price of one.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from gpt_bigcode.checkpoint.loading import load_model
from gpt_bigcode.checkpoint.tensor_index import Task
from gpt_bigcode.modeling.heads import GPTBigCodeForSequenceClassification
from training.languages import warmstart
from training.languages.labels import LABELS
from training.languages.shape import configuration
from training.languages.snippets import (
    LEAST_TOKENS,
    RowMaker,
    draw_snippet,
    load_tokenizer,
    read_records,
    tokenizer_path,
)
from training.languages.sources import HOME
from training.muon import Muon, Settings
from training.network import block_forward
from training.train import Clock, file_hash, note

# Rows and tokens of a row; short rows come more often, because snippets are the harder half.
SHAPES = ((48, 64), (48, 64), (24, 128), (48, 64), (12, 256), (48, 64), (24, 128), (6, 512))
MATRIX_RATE = 3e-3
RATE = 2e-3
WARM_UP = 0.03
DECAY_FROM = 0.3
AVERAGE_FROM = 0.88
MAX_GRADIENT_NORM = 1.0
SMOOTHING = 0.05
WARM_START_CHARACTERS = 300_000


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    minutes: float
    seed: int
    run: str
    checkpoint_minutes: float
    validation_minutes: float
    cold: bool
    start: list[Path]
    peak: float
    stop_after_minutes: float

    @property
    def folder(self) -> Path:
        """Where this run's files go."""
        return HOME / "runs" / self.run


def parse() -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True, help="budget of stepping time")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--run", default="pocket-languages", help="name of the run's folder")
    parser.add_argument("--checkpoint-minutes", type=float, default=2.0)
    parser.add_argument("--validation-minutes", type=float, default=4.0)
    parser.add_argument("--cold", action="store_true", help="no weights from counts")
    parser.add_argument(
        "--start", type=Path, nargs="*", default=[], help="begin with the mean of these checkpoints"
    )
    parser.add_argument("--peak", type=float, default=1.0, help="factor of the learning rates")
    parser.add_argument("--stop-after-minutes", type=float, default=1e9, help="for short trials")
    return Options(**vars(parser.parse_args()))


def factor(share: float) -> float:
    """Learning rate over its peak at a share of the budget: warm-up, level, linear to zero."""
    if share < WARM_UP:
        return max(share, 0.001) / WARM_UP
    return min(1.0, max(0.0, (1.0 - share) / (1.0 - DECAY_FROM)))


def scores_everywhere(model: GPTBigCodeForSequenceClassification, ids: Tensor) -> Tensor:
    """[B, T, L]: what the model says of each beginning of each row of ids [B, T]."""
    trunk = model.transformer
    hidden = F.embedding(ids, trunk.wte.weight) + trunk.wpe.weight[: ids.shape[1]]
    for block in trunk.h:
        hidden = block_forward(hidden, dict(block.named_parameters()), model.config.n_head)
    hidden = F.layer_norm(hidden, hidden.shape[-1:], trunk.ln_f.weight, trunk.ln_f.bias)
    return F.linear(hidden, model.score.weight)


def loss_of(scores: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
    """Mean cross-entropy over the real tokens from LEAST_TOKENS on."""
    places = torch.arange(scores.shape[1])
    asked = (places >= LEAST_TOKENS - 1) & (places < lengths[:, None])
    wanted = labels[:, None].expand(-1, scores.shape[1])
    return F.cross_entropy(scores[asked], wanted[asked], label_smoothing=SMOOTHING)


def mean_of(directories: list[Path]) -> dict[str, Tensor]:
    """The mean of the weights of checkpoints that grew from the same one."""
    models = [
        load_model(directory, task=Task.SEQUENCE_CLASSIFICATION, dtype=torch.float32).state_dict()
        for directory in directories
    ]
    return {name: torch.stack([m[name] for m in models]).mean(dim=0) for name in models[0]}


class Run:
    """The state of a run and its one loop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.tokenizer = load_tokenizer()
        self.maker = RowMaker(read_records("train"), self.tokenizer)
        self.cases = held_out_snippets(self.tokenizer)
        self.optimizer = Muon(Settings())
        self.step = self.tokens = 0
        self.losses: deque[float] = deque(maxlen=50)
        self.average: dict[str, Tensor] = {}
        self.history: list[dict[str, float]] = []
        options.folder.mkdir(parents=True, exist_ok=True)
        self.restore()

    @property
    def checkpoint(self) -> Path:
        """The file that a killed run goes on from."""
        return self.options.folder / "checkpoint.pt"

    @property
    def share(self) -> float:
        """Share of the budget that is spent."""
        return self.clock.elapsed_seconds / (self.options.minutes * 60)

    def restore(self) -> None:
        """Takes up the last checkpoint, or starts anew."""
        saved: dict[str, Any] = {}
        if self.checkpoint.exists():
            saved = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        torch.manual_seed(self.options.seed)
        self.model = GPTBigCodeForSequenceClassification(configuration())
        if saved:
            self.model.load_state_dict(saved["model"])
            self.optimizer.state = saved["optimizer"]
            self.step, self.tokens = saved["step"], saved["tokens"]
            self.average, self.history = saved["average"], saved["history"]
            note(f"resumed at step {self.step}, {saved['elapsed_seconds'] / 60:.1f} min")
        elif self.options.start:
            self.model.load_state_dict(mean_of(self.options.start))
        elif not self.options.cold:
            warmstart.put(self.model, self.tokenizer, self.some_texts())
        self.model.train()
        self.clock = Clock(saved.get("elapsed_seconds", 0.0))

    def some_texts(self) -> list[list[str]]:
        """The same number of characters of each language."""
        chosen: list[list[str]] = []
        for group in self.maker.texts:
            used, part = 0, []
            for text in group:
                if used > WARM_START_CHARACTERS:
                    break
                used += len(text)
                part.append(text)
            chosen.append(part)
        return chosen

    def save(self) -> None:
        """Writes the checkpoint: temporary file, then rename."""
        partial = self.checkpoint.with_suffix(".partial")
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state,
            "average": self.average,
            "step": self.step,
            "tokens": self.tokens,
            "elapsed_seconds": self.clock.elapsed_seconds,
            "history": self.history,
        }
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def loop(self) -> None:
        """Steps until the budget is spent; saves and measures on the way."""
        options = self.options
        next_save = self.clock.elapsed_seconds + options.checkpoint_minutes * 60
        next_measure = self.clock.elapsed_seconds
        stop = min(options.minutes, options.stop_after_minutes) * 60
        while self.clock.elapsed_seconds < stop:
            if self.clock.elapsed_seconds >= next_measure:
                next_measure += options.validation_minutes * 60
                self.measure()
            if self.clock.elapsed_seconds >= next_save:
                next_save += options.checkpoint_minutes * 60
                self.save()
            self.clock.restart()
            self.one_step()
        self.measure()
        self.save()

    def one_step(self) -> None:
        """One batch, one update."""
        shape = SHAPES[self.step % len(SHAPES)]
        batch = self.maker.batch(self.options.seed, self.step, shape)
        ids, labels, lengths = (torch.from_numpy(part) for part in batch)
        loss = loss_of(scores_everywhere(self.model, ids), labels, lengths)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        rate = factor(self.share) * self.options.peak
        self.optimizer.step(
            self.model.named_parameters(), matrix_rate=rate * MATRIX_RATE, rate=rate * RATE
        )
        self.model.zero_grad()
        self.losses.append(float(loss.detach()))
        self.step += 1
        self.tokens += int(lengths.sum())
        self.update_average()
        self.clock.tick()
        if self.step % 50 == 0:
            self.report_step()

    @torch.no_grad()
    def update_average(self) -> None:
        """Exponential average of the weights over the last part of the run."""
        if self.share < AVERAGE_FROM:
            return
        for name, parameter in self.model.named_parameters():
            if name in self.average:
                self.average[name].lerp_(parameter, 0.01)
            else:
                self.average[name] = parameter.detach().clone()

    def report_step(self) -> None:
        """One line of progress."""
        seconds = self.clock.elapsed_seconds
        loss = sum(self.losses) / len(self.losses)
        note(
            f"step {self.step} {seconds / 60:.1f} min loss {loss:.3f}"
            f" tokens {self.tokens / 1e6:.2f} M ({self.tokens / seconds:.0f}/s)"
            f" rate x{factor(self.share):.2f}"
        )

    @torch.no_grad()
    def measure(self) -> None:
        """Accuracy on the validation packages' snippets, with the weights as they are."""
        right = 0
        for ids, label in self.cases:
            scores = scores_everywhere(self.model, torch.tensor([ids]))[0, -1]
            right += int(scores.argmax()) == label
        entry = {
            "step": self.step,
            "minutes": round(self.clock.elapsed_seconds / 60, 2),
            "tokens": self.tokens,
            "snippet_accuracy": round(right / len(self.cases), 4),
        }
        self.history.append(entry)
        note(f"validation {json.dumps(entry)}")


def held_out_snippets(tokenizer: Any, each: int = 15) -> list[tuple[list[int], int]]:
    """Token ids and label of three-line snippets of the validation packages."""
    generator = random.Random(5)
    groups: list[list[str]] = [[] for _ in LABELS]
    for record in read_records("validation"):
        groups[LABELS.index(record["label"])].append(record["text"])
    cases = []
    for label, texts in enumerate(groups):
        name = LABELS[label]
        drawn = [
            draw_snippet(name, generator.choice(texts), generator) for _ in range(each) if texts
        ]
        cases += [(tokenizer.encode(s).ids[:512], label) for s in drawn if s is not None]
    return cases


def main() -> None:
    """Trains and prints the report."""
    options = parse()
    run = Run(options)
    run.loop()
    report = {
        "options": asdict(options) | {"start": [path.name for path in options.start]},
        "steps": run.step,
        "tokens": run.tokens,
        "minutes": round(run.clock.elapsed_seconds / 60, 2),
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "validation": run.history,
        "torch": torch.__version__,
        "corpus_sha256": file_hash(HOME / "train.jsonl"),
        "tokenizer_sha256": file_hash(tokenizer_path()),
    }
    text = json.dumps(report, indent=1)
    (options.folder / "report.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
