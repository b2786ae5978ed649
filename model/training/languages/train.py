"""Trains the language classifier within a budget; resumes after any kind of death.

Run as `python -m training.languages.train --minutes 40`. The model is causal, so every token of a
row is asked for the language: a row of 512 tokens teaches 512 lengths of snippet at the price of
one.
"""

from __future__ import annotations

import argparse
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from gpt_bigcode.checkpoint.loading import load_model
from gpt_bigcode.checkpoint.tensor_index import CONFIG_FILE, Task
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.hardware import BFLOAT16_FLAGS, cpu_flags
from gpt_bigcode.labeling.description import label_names
from gpt_bigcode.modeling.heads import GPTBigCodeForSequenceClassification
from training.languages import warmstart
from training.languages.labels import LABELS, known_label
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
from training.network import trunk_forward
from training.output import file_hash, publish
from training.schedule import decaying
from training.trainer import LoopOptions, Moment, Recipe, Trainer, add_loop_arguments

# Rows and tokens of a row; short rows come more often, because snippets are the harder half.
SHAPES = ((48, 64), (48, 64), (24, 128), (48, 64), (12, 256), (48, 64), (24, 128), (6, 512))
MATRIX_RATE, RATE = 3e-3, 2e-3
WARM_UP, DECAY_FROM = 0.03, 0.3
SMOOTHING = 0.05
WARM_START_CHARACTERS = 300_000
HEAD = "score.weight"
# For a head that is fitted separately: batches of rows, and every how many tokens it is asked.
HEAD_BATCHES, HEAD_EVERY = 90, 11


@dataclass(frozen=True, kw_only=True)
class Options(LoopOptions):
    """What the command line says."""

    cold: bool
    start: list[Path]
    peak: float


def parse(arguments: list[str] | None = None) -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_loop_arguments(parser, run="pocket-languages", seed=17)
    parser.add_argument("--cold", action="store_true", help="no weights from counts")
    parser.add_argument(
        "--start", type=Path, nargs="*", default=[], help="begin with the mean of these checkpoints"
    )
    parser.add_argument("--peak", type=float, default=1.0, help="factor of the learning rates")
    options = Options(**vars(parser.parse_args(arguments)))
    if not options.has_budget:
        parser.error("a budget is needed: --minutes or --tokens")
    return options


def scores_everywhere(model: GPTBigCodeForSequenceClassification, ids: Tensor) -> Tensor:
    """[B, T, L]: what the model says of each beginning of each row of ids [B, T]."""
    hidden = trunk_forward(model.transformer, ids, torch.arange(ids.shape[1]))
    return F.linear(hidden, model.score.weight)


def loss_of(scores: Tensor, labels: Tensor, firsts: Tensor, ends: Tensor) -> Tensor:
    """Mean cross-entropy over the tokens firsts .. ends - 1 of each row."""
    places = torch.arange(scores.shape[1])
    asked = (places >= firsts[:, None]) & (places < ends[:, None])
    wanted = labels[:, None].expand(-1, scores.shape[1])
    return F.cross_entropy(scores[asked], wanted[asked], label_smoothing=SMOOTHING)


def mean_of(directories: list[Path]) -> dict[str, Tensor]:
    """The mean of the weights of checkpoints that grew from the same one.

    The head's rows are put in the order of LABELS; those of labels that they do not have are zero.
    """
    models = [
        load_model(directory, task=Task.SEQUENCE_CLASSIFICATION, dtype=torch.float32)
        for directory in directories
    ]
    states = [model.state_dict() for model in models]
    mean = {name: torch.stack([s[name] for s in states]).mean(dim=0) for name in states[0]}
    names = label_names(GPTBigCodeConfig.from_json_file(directories[0] / CONFIG_FILE))
    head = torch.zeros(len(LABELS), mean[HEAD].shape[1])
    for number, name in enumerate(names):
        head[LABELS.index(name)] = mean[HEAD][number]
    return mean | {HEAD: head}


class LanguageRecipe(Recipe):
    """The classifier, its rows and its loss."""

    model: GPTBigCodeForSequenceClassification
    average_weight = 0.01

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options
        # Twice as fast where the hardware multiplies it, at rows of 512 tokens.
        self.mixed = bool(BFLOAT16_FLAGS & cpu_flags())
        if options.start:
            shutil.copyfile(options.start[0] / "tokenizer.json", tokenizer_path())
        self.tokenizer = load_tokenizer()
        self.maker = RowMaker(read_records("train"), self.tokenizer)
        self.cases = held_out_snippets(self.tokenizer)

    def begin(self, saved: dict[str, Any]) -> None:
        """The model of a checkpoint, the mean of some, or weights from counts."""
        torch.manual_seed(self.options.seed)
        self.model = GPTBigCodeForSequenceClassification(configuration())
        if saved:
            self.model.load_state_dict(saved["model"])
        elif self.options.start:
            self.model.load_state_dict(mean_of(self.options.start))
            self.learn_new_labels()
        elif not self.options.cold:
            warmstart.put(self.model, self.tokenizer, self.some_texts())
        self.model.train()

    @torch.no_grad()
    def learn_new_labels(self) -> None:
        """Fits the head alone, if the checkpoint that it began with knew fewer labels."""
        head = self.model.score.weight
        if bool(head.abs().sum(dim=1).all()):
            return
        features, labels = [], []
        for step in range(HEAD_BATCHES):
            batch = self.maker.batch(self.options.seed + 1, step, SHAPES[0])
            ids, wanted, firsts, ends = (torch.from_numpy(part) for part in batch)
            hidden = trunk_forward(self.model.transformer, ids, torch.arange(ids.shape[1]))
            for place in range(LEAST_TOKENS, ids.shape[1], HEAD_EVERY):
                asked = (firsts <= place) & (place < ends)
                features.append(hidden[asked, place])
                labels.append(wanted[asked])
        with torch.enable_grad():
            fitted = warmstart.fit_head(torch.cat(features), torch.cat(labels), head)
        head.copy_(fitted)

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

    def gradients(self, now: Moment) -> tuple[float, int]:
        """One batch."""
        shape = SHAPES[now.step % len(SHAPES)]
        batch = self.maker.batch(self.options.seed, now.step, shape)
        ids, labels, firsts, ends = (torch.from_numpy(part) for part in batch)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.mixed):
            scores = scores_everywhere(self.model, ids)
        loss = loss_of(scores.float(), labels, firsts, ends)
        torch.autograd.backward(loss)
        return float(loss.detach()), int(ends.sum())

    def rates(self, now: Moment) -> tuple[float, float]:
        """Warm-up, level, linear to zero."""
        factor = self.options.peak * decaying(now.share, WARM_UP, DECAY_FROM)
        return factor * MATRIX_RATE, factor * RATE

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Accuracy on the validation packages' snippets."""
        right = 0
        for ids, label in self.cases:
            scores = scores_everywhere(self.model, torch.tensor([ids]))[0, -1]
            right += int(scores.argmax()) == label
        return {"snippet_accuracy": round(right / len(self.cases), 4)}


def held_out_snippets(tokenizer: Any, each: int = 15) -> list[tuple[list[int], int]]:
    """Token ids and label of three-line snippets of the validation packages."""
    generator = random.Random(5)
    groups: list[list[str]] = [[] for _ in LABELS]
    for record in read_records("validation"):
        groups[LABELS.index(known_label(record["label"]))].append(record["text"])
    cases = []
    for label, texts in enumerate(groups):
        name = LABELS[label]
        drawn = [
            draw_snippet(name, generator.choice(texts), generator) for _ in range(each) if texts
        ]
        cases += [(tokenizer.encode(s).ids[:512], label) for s in drawn if s is not None]
    return cases


def main() -> None:
    """Train and print the report."""
    options = parse()
    run = Trainer(LanguageRecipe(options), options, HOME / "runs")
    run.loop()
    report = {
        "options": options.reported() | {"start": [path.name for path in options.start]},
        **run.report(),
        "corpus_sha256": file_hash(HOME / "train.jsonl"),
        "tokenizer_sha256": file_hash(tokenizer_path()),
    }
    publish(report, run.checkpoint.with_name("report.json"))


if __name__ == "__main__":
    main()
