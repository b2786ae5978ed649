"""Measures an exported model on the held-out packages, next to two baselines on the same cases.

Run as `python -m training.evaluate DIR`; goes on after a kill, prints a JSON report. Everything is
computed by the library, as in the tool.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_bigcode.backends.interfaces import ScoredRow
from gpt_bigcode.backends.numpy_heads import NumpyScorer
from gpt_bigcode.completion.options import CompletionOptions, InfillOptions, InfillOrder
from gpt_bigcode.completion.text_model import TextModel
from gpt_bigcode.scoring.text_scorer import TextScorer
from gpt_bigcode.stopping.text_stop import FinishReason, Scope
from training.answers import SHOWN, difference, judge
from training.baselines import LineCopier, NgramWriter
from training.documents import END, read_records
from training.held_out import Gap, at_a_token, gaps, prompts_at_borders, sample_texts
from training.intervals import ratio_interval, share_of
from training.journal import Journal
from training.parsing import parses_so_far
from training.paths import WORK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

    # A text and why it ended; what is written into a gap.
    Written = tuple[str, str]
    Filler = Callable[[Gap], str]

COMPLETION_TOKENS = 100
LINE_TOKENS = 48
_BLOCK_TOKENS = 512
_LATE = 60  # texts whose late positions are measured
_BASELINE_SOURCES = [Path(__file__).with_name(name) for name in ("baselines.py", "ngrams.py")]


@dataclass(frozen=True)
class Cases:
    """What everything is measured on; `texts` are pairs of package and text, ordered by package."""

    texts: list[tuple[str, str]]
    long_texts: list[str]
    prompts: list[str]
    gaps: list[Gap]
    rests: list[Gap]

    @classmethod
    def draw(cls, options: argparse.Namespace, tokenizer: CodeTokenizer) -> Cases:
        """The cases of one split and seed."""
        records = read_records(options.split)
        sampled = sample_texts(options.split, options.bytes_per_package, options.seed)
        count, seed = options.cases, options.seed
        long = [record["text"] for record in records if len(record["text"]) > 3 * _BLOCK_TOKENS]
        return cls(
            texts=[(package, text) for package, texts in sorted(sampled.items()) for text in texts],
            long_texts=[t for t in long if len(tokenizer.encode(t)) >= 3 * _BLOCK_TOKENS][:_LATE],
            prompts=prompts_at_borders(records, lambda t: len(tokenizer.encode(t)), count, seed),
            gaps=gaps(records, options.gaps, seed),
            rests=gaps(records, options.gaps, seed + 1, cut=at_a_token(token_ends(tokenizer))),
        )


def token_ends(tokenizer: CodeTokenizer) -> Callable[[str], list[int]]:
    """Where each token of a line ends; nowhere if it is not ASCII, so that no letter breaks."""

    def ends(line: str) -> list[int]:
        if not line.isascii():
            return []
        sizes = (len(tokenizer.token_bytes(token)) for token in tokenizer.encode(line))
        return list(accumulate(sizes))

    return ends


@dataclass(frozen=True)
class Fraction:
    """Nats and bytes of files that belong together, as bits per byte with an interval."""

    files: list[tuple[float, int]]

    def report(self) -> dict[str, Any]:
        """The sums, their ratio and, of several files, its interval."""
        bits = [nats / math.log(2) for nats, _ in self.files]
        sizes = [size for _, size in self.files]
        found = {
            "files": len(self.files),
            "bytes": sum(sizes),
            "bits_per_byte": round(sum(bits) / sum(sizes), 4),
        }
        return found | {"interval_95": ratio_interval(bits, sizes)}


def bits_per_byte(
    journal: Journal, name: str, cases: Cases, nats: Callable[[str], float]
) -> dict[str, Any]:
    """Per package and in all; `nats` gives the sum over a text's tokens."""
    values = journal.each(name, [text for _, text in cases.texts], nats)
    files: dict[str, list[tuple[float, int]]] = {}
    for (package, text), value in zip(cases.texts, values, strict=True):
        files.setdefault(package, []).append((value, len(text.encode())))
    report = {package: Fraction(rows).report() for package, rows in files.items()}
    return report | {"all": Fraction([row for rows in files.values() for row in rows]).report()}


def late_positions(journal: Journal, texts: Sequence[str], scorer: TextScorer) -> dict[str, Any]:
    """The same tokens at positions 512 to 1023 and at 1024 to 1535: nats a token, in pairs.

    At the later positions the model sees 512 tokens more; it must not do worse for that.
    """

    def pair(text: str) -> list[float]:
        stop = 3 * _BLOCK_TOKENS + 1
        ids = [END, *scorer.tokenizer.encode(text)][:stop]
        late = ScoredRow(ids, 2 * _BLOCK_TOKENS + 1)
        early = ScoredRow(ids[_BLOCK_TOKENS:], _BLOCK_TOKENS + 1)
        values = scorer.scorer.log_probabilities([early, late])
        return [-float(value.mean()) for value in values]

    pairs = journal.each("late_positions", texts, pair)
    count = max(1, len(pairs))
    changes = [late - early for early, late in pairs]
    return {
        "files": len(pairs),
        "nats_a_token_at_512_to_1023": round(sum(early for early, _ in pairs) / count, 4),
        "nats_a_token_at_1024_to_1535": round(sum(late for _, late in pairs) / count, 4),
        "change": round(sum(changes) / count, 4),
        "change_interval_95": ratio_interval(changes, [1.0] * len(changes)) if pairs else [],
    }


def completions(
    journal: Journal, name: str, prompts: Sequence[str], write: Callable[[str], Written]
) -> dict[str, Any]:
    """What becomes of completions: how they end, and whether a file parses as far as it goes.

    A completion that a guard against loops cut short is counted on its own: cut where it was, it
    parses more easily than one that ran to its end.
    """
    made = journal.each(name, prompts, write)
    texts = [text for text, _ in made]
    cut = [reason == FinishReason.REPETITION for _, reason in made]
    good = [parses_so_far(prompt + text) for prompt, text in zip(prompts, texts, strict=True)]
    shown = range(0, len(prompts), max(1, len(prompts) // SHOWN))
    return {
        **share_of(good),
        "of_those_that_ran_to_their_end": share_of(
            [fine for fine, looped in zip(good, cut, strict=True) if not looped]
        ),
        "cut_by_the_loop_guard": share_of(cut),
        "empty": sum(not text.strip() for text in texts),
        "examples": [
            {"end_of_prompt": prompts[i][-300:], "completion": texts[i], "parses": good[i]}
            for i in shown
        ],
    }


def lines(
    journal: Journal, name: str, cases: Sequence[Gap], fillers: Mapping[str, Filler]
) -> dict[str, Any]:
    """Whether removed lines come back, by each way of asking for them."""
    answers = {way: journal.each(f"{name}, {way}", cases, fill) for way, fill in fillers.items()}
    found: dict[str, Any] = {way: judge(cases, texts) for way, texts in answers.items()}
    if InfillOrder.PSM in answers and InfillOrder.SPM in answers:
        both = answers[InfillOrder.PSM], answers[InfillOrder.SPM]
        found["spm_minus_psm"] = difference(cases, *both)
    return found


def first_line(write: Callable[[str, int], str]) -> Filler:
    """Fills a gap with the rest of the line that a baseline writes after the prefix."""
    return lambda gap: write(gap.prefix, LINE_TOKENS).partition("\n")[0]


class Measurer:
    """All measures of the model and of the baselines, with what they need loaded once."""

    def __init__(self, directory: Path, cases: Cases) -> None:
        self.directory, self.cases = directory, cases
        self.scorer = TextScorer.load(directory)
        if not isinstance(self.scorer.scorer, NumpyScorer):
            raise SystemExit("evaluate: the checkpoint is too large for the engine of small ones")

    @cached_property
    def model(self) -> TextModel:
        """What completes and fills gaps."""
        return TextModel.load(self.directory)

    @cached_property
    def ngrams(self) -> NgramWriter:
        """Counted when it is asked first, which takes minutes."""
        return NgramWriter(self.scorer.tokenizer)

    def model_report(self, journal: Journal) -> dict[str, Any]:
        """All measures of the model."""
        cases, fillers = self.cases, self.fillers()
        return {
            "bits_per_byte": bits_per_byte(journal, "bits_per_byte", cases, self.nats),
            "late_positions": late_positions(journal, cases.long_texts, self.scorer),
            "completions": completions(journal, "completions", cases.prompts, self.complete),
            "whole_lines": lines(journal, "whole lines", cases.gaps, fillers),
            "rests_of_lines": lines(journal, "rests of lines", cases.rests, fillers),
        }

    def fillers(self) -> dict[str, Filler]:
        """The ways to ask the model for a line."""
        orders = {order.value: partial(self.fill, order=order) for order in InfillOrder}
        return {"complete": self.complete_line, **orders}

    def baseline_report(self, journal: Journal) -> dict[str, Any]:
        """The same of the two baselines."""
        cases = self.cases
        copier = LineCopier(self.scorer.tokenizer)
        report: dict[str, Any] = {}
        for name, write in ((NgramWriter.name, self.write_ngrams), (LineCopier.name, copier.write)):
            fillers = {"complete": first_line(write)}
            report[name] = {
                "completions": completions(
                    journal, f"completions, {name}", cases.prompts, partial(whole, write)
                ),
                "whole_lines": lines(journal, f"whole lines, {name}", cases.gaps, fillers),
                "rests_of_lines": lines(journal, f"rests, {name}", cases.rests, fillers),
            }
        report[NgramWriter.name]["bits_per_byte"] = bits_per_byte(
            journal, "bits, n-grams", cases, self.ngram_nats
        )
        return report

    def write_ngrams(self, prefix: str, tokens: int) -> str:
        """What the n-grams write; counts them if that has not been done."""
        return self.ngrams.write(prefix, tokens)

    def ngram_nats(self, text: str) -> float:
        """What the n-grams need for a text."""
        return self.ngrams.nats(text)

    def nats(self, text: str) -> float:
        """The sum over a text's tokens, as `bigcode score` measures it."""
        return self.scorer.score(text).nll or 0.0

    def complete(self, prompt: str) -> Written:
        """What `bigcode complete` writes after a prompt."""
        asked = CompletionOptions(max_tokens=COMPLETION_TOKENS)
        choice = self.model.complete(prompt, asked).choices[0]
        return choice.text, choice.finish_reason

    def complete_line(self, gap: Gap) -> str:
        """What `bigcode complete --until line` writes after a prefix."""
        asked = CompletionOptions(max_tokens=LINE_TOKENS, until=Scope.LINE)
        return self.model.complete(gap.prefix, asked).choices[0].text

    def fill(self, gap: Gap, order: InfillOrder) -> str:
        """What `bigcode infill --until line` writes into a gap."""
        asked = InfillOptions(max_tokens=LINE_TOKENS, until=Scope.LINE, order=order)
        return self.model.infill(gap.prefix, gap.suffix, asked).choices[0].text


def whole(write: Callable[[str, int], str], prompt: str) -> Written:
    """A completion by a baseline, which has no guard against loops."""
    return write(prompt, COMPLETION_TOKENS), FinishReason.LENGTH


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--cases", type=int, default=400, help="completions")
    parser.add_argument("--gaps", type=int, default=400, help="lines, and rests of lines")
    parser.add_argument("--bytes-per-package", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--no-baselines", dest="baselines", action="store_false")
    return parser.parse_args()


def measured_files(directory: Path, split: str) -> list[Path]:
    """What every measure of a checkpoint depends on: weights, tokenizer, held-out texts."""
    names = ("model.safetensors", "tokenizer.json")
    return [*(directory / name for name in names), WORK / "corpus" / f"{split}.jsonl"]


def journal_of(prefix: str, files: Sequence[Path], cases: Sequence[object]) -> Journal:
    """What is known of a measurement: named after these files' content and these cases."""
    named = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            named.update(hashlib.file_digest(stream, "sha256").digest())
    named.update(json.dumps(cases).encode())
    return Journal(WORK / "evaluations" / f"{prefix}{named.hexdigest()[:16]}.jsonl")


def main() -> None:
    """Reads the options, measures, prints the report."""
    options = parse()
    sizes = [options.cases, options.gaps, options.bytes_per_package, options.seed]
    files = measured_files(options.directory, options.split)
    journal = journal_of("", files, sizes)
    # The baselines know no weights: what they answered stays for the next checkpoint.
    counted = [WORK / "corpus" / "train.jsonl", *_BASELINE_SOURCES]
    known = journal_of("baselines-", [*files[1:], *counted], sizes)
    cases = Cases.draw(options, TextScorer.load(options.directory).tokenizer)
    measurer = Measurer(options.directory, cases)
    report: dict[str, Any] = {
        "model": options.directory.resolve().name,
        "split": options.split,
        "seed": options.seed,
        **measurer.model_report(journal),
    }
    if options.baselines:
        report["baselines"] = measurer.baseline_report(known)
    spent = (known.seconds if options.baselines else {}) | journal.seconds
    report["seconds"] = {name: round(seconds, 1) for name, seconds in spent.items()}
    print(json.dumps(report, indent=1))
    journal.finish()


if __name__ == "__main__":
    main()
