"""Measures an exported model on the held-out packages, next to two baselines on the same cases.

Knows nothing of training. Run as `python -m training.evaluate DIR`; goes on after a kill, prints a
JSON report. The library's own path is used, as in the tool.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_bigcode.backends.interfaces import Row
from gpt_bigcode.backends.numpy_heads import NumpyScorer
from gpt_bigcode.completion.options import CompletionOptions, InfillOptions, InfillOrder
from gpt_bigcode.completion.text_model import TextModel
from gpt_bigcode.scoring.text_scorer import TextScorer
from gpt_bigcode.stopping.scope import Scope
from training.baselines import LineCopier, NgramWriter
from training.documents import END, read_records
from training.held_out import Gap, gaps, prompts_at_borders, sample_texts
from training.intervals import ratio_interval, share_of
from training.journal import Journal
from training.parsing import parses_so_far
from training.paths import WORK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

    Writer = Callable[[str, int], str]

COMPLETION_TOKENS = 100
LINE_TOKENS = 48
SHOWN = 3
_BLOCK_TOKENS = 512
_BASELINE_SOURCES = [Path(__file__).with_name(name) for name in ("baselines.py", "ngrams.py")]


@dataclass(frozen=True)
class Cases:
    """What everything is measured on; `texts` are pairs of package and text, ordered by package."""

    texts: list[tuple[str, str]]
    long_texts: list[str]
    prompts: list[str]
    gaps: list[Gap]

    @classmethod
    def draw(cls, options: argparse.Namespace, tokenizer: CodeTokenizer) -> Cases:
        """The cases of one split and seed."""
        records = read_records(options.split)
        sampled = sample_texts(options.split, options.bytes_per_package, options.seed)
        count, seed = options.cases, options.seed
        long = [record["text"] for record in records if len(record["text"]) > 3 * _BLOCK_TOKENS]
        return cls(
            texts=[(package, text) for package, texts in sorted(sampled.items()) for text in texts],
            long_texts=[text for text in long if len(tokenizer.encode(text)) >= 3 * _BLOCK_TOKENS],
            prompts=prompts_at_borders(records, lambda t: len(tokenizer.encode(t)), count, seed),
            gaps=gaps(records, options.gaps, seed),
        )


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
        late = Row(ids, 2 * _BLOCK_TOKENS + 1)
        early = Row(ids[_BLOCK_TOKENS:], _BLOCK_TOKENS + 1)
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
    journal: Journal, name: str, prompts: Sequence[str], write: Writer
) -> dict[str, Any]:
    """Share of the completions that leave a file which parses as far as it goes."""
    texts = journal.each(name, prompts, lambda prompt: write(prompt, COMPLETION_TOKENS))
    good = [parses_so_far(prompt + text) for prompt, text in zip(prompts, texts, strict=True)]
    shown = range(0, len(prompts), max(1, len(prompts) // SHOWN))
    return {
        **share_of(good),
        # A completion that never ends a line passes by the rule; these cannot.
        "of_those_with_a_whole_line": share_of(
            [fine for fine, text in zip(good, texts, strict=True) if "\n" in text.strip()]
        ),
        "empty": sum(not text.strip() for text in texts),
        "examples": [
            {"end_of_prompt": prompts[i][-300:], "completion": texts[i], "parses": good[i]}
            for i in shown
        ],
    }


def infills(
    journal: Journal, name: str, cases: Sequence[Gap], fill: Callable[[Gap], str]
) -> dict[str, Any]:
    """Share of the removed lines that come back exactly, but for blanks at their ends."""
    texts = [text.strip() for text in journal.each(name, cases, fill)]
    exact = [text == case.line for text, case in zip(texts, cases, strict=True)]
    shown = range(0, len(cases), max(1, len(cases) // SHOWN))
    examples = [{"line": cases[i].line, "written": texts[i]} for i in shown]
    return share_of(exact) | {"empty": sum(not text for text in texts), "examples": examples}


def first_line(write: Writer) -> Callable[[Gap], str]:
    """Fills a gap with the first line that a writer puts behind the prefix."""
    return lambda gap: write(gap.prefix, LINE_TOKENS).lstrip().partition("\n")[0]


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
        cases = self.cases

        def infills_in(order: InfillOrder) -> dict[str, Any]:
            name = f"infills_{order}"
            return infills(journal, name, cases.gaps, lambda gap: self.fill(gap, order))

        healed, plain = self.writer(heal=True), self.writer(heal=False)
        without = first_line(healed)
        return {
            "bits_per_byte": bits_per_byte(journal, "bits_per_byte", cases, self.nats),
            "late_positions": late_positions(journal, cases.long_texts, self.scorer),
            "completions_that_parse": completions(
                journal, "completions_that_parse", cases.prompts, healed
            ),
            "without_healing": completions(journal, "without_healing", cases.prompts, plain),
            "infills_psm": infills_in(InfillOrder.PSM),
            "infills_spm": infills_in(InfillOrder.SPM),
            "infills_without_the_suffix": infills(journal, "no_suffix", cases.gaps, without),
        }

    def baseline_report(self, journal: Journal) -> dict[str, Any]:
        """The same of the two baselines."""
        cases = self.cases
        copier = LineCopier(self.scorer.tokenizer)
        writers: dict[str, Writer] = {
            NgramWriter.name: self.write_ngrams,
            LineCopier.name: copier.write,
        }
        report: dict[str, Any] = {
            name: {
                "infills": infills(journal, f"infills, {name}", cases.gaps, first_line(write)),
                "completions_that_parse": completions(
                    journal, f"completions, {name}", cases.prompts, write
                ),
            }
            for name, write in writers.items()
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

    def fill(self, gap: Gap, order: InfillOrder) -> str:
        """The line that `bigcode infill --until line` writes into a gap."""
        asked = InfillOptions(max_tokens=LINE_TOKENS, until=Scope.LINE, order=order)
        return self.model.infill(gap.prefix, gap.suffix, asked).choices[0].text

    def writer(self, *, heal: bool) -> Writer:
        """What `bigcode complete` writes behind a prompt."""

        def write(prompt: str, tokens: int) -> str:
            asked = CompletionOptions(max_tokens=tokens, heal=heal)
            return self.model.complete(prompt, asked).choices[0].text

        return write


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--cases", type=int, default=400, help="completions")
    parser.add_argument("--gaps", type=int, default=400, help="single lines to fill in")
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
    baselines = {"baselines": measurer.baseline_report(known)} if options.baselines else {}
    report: dict[str, Any] = {
        "model": options.directory.resolve().name,
        "split": options.split,
        "seed": options.seed,
        **measurer.model_report(journal),
        **baselines,
    }
    spent = (known.seconds if options.baselines else {}) | journal.seconds
    report["seconds"] = {name: round(seconds, 1) for name, seconds in spent.items()}
    print(json.dumps(report, indent=1))
    journal.finish()


if __name__ == "__main__":
    main()
