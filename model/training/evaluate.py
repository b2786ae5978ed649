"""Measures an exported model on the held-out packages, next to two baselines on the same cases.

Knows nothing of training. Run as `python -m training.evaluate DIR`; prints a JSON report. The
library's own path is used, as in the tool.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_bigcode.infilling import InfillOrder
from gpt_bigcode.pipeline import CompletionOptions, InfillOptions, TextModel
from gpt_bigcode.scopes import Scope
from gpt_bigcode.scorers import NumpyScorer, Row
from gpt_bigcode.scoring import TextScorer
from training.baselines import LineCopier, NgramWriter
from training.documents import END, read_records
from training.held_out import Gap, gaps, prompts_at_borders, sample_texts
from training.parsing import parses_so_far

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpt_bigcode.tokenizer import CodeTokenizer

    Writer = Callable[[str, int], str]

COMPLETION_TOKENS = 100
LINE_TOKENS = 48
SHOWN = 3
_BLOCK_TOKENS = 512


def interval(successes: int, cases: int) -> list[float]:
    """The 95 % Wilson score interval of a share."""
    if not cases:
        return [0.0, 1.0]
    z, share = 1.96, successes / cases
    middle = share + z * z / (2 * cases)
    reach = z * math.sqrt(share * (1 - share) / cases + z * z / (4 * cases * cases))
    scale = 1 + z * z / cases
    return [round((middle - reach) / scale, 4), round((middle + reach) / scale, 4)]


def share_of(outcomes: Sequence[bool]) -> dict[str, Any]:
    """Cases, successes, share and interval."""
    cases, successes = len(outcomes), sum(outcomes)
    share = round(successes / max(1, cases), 4)
    return {"cases": cases, "share": share, "interval_95": interval(successes, cases)}


def bits_per_byte(scorer: TextScorer, texts: dict[str, list[str]]) -> dict[str, Any]:
    """Per package and in all, as `bigcode score` measures it."""
    report: dict[str, Any] = {}
    nats, size, tokens = 0.0, 0, 0
    for package, files in sorted(texts.items()):
        scores = [scorer.score(text) for text in files]
        package_nats = sum(score.nll or 0.0 for score in scores)
        package_size = sum(score.bytes for score in scores)
        report[package] = {
            "files": len(files),
            "bytes": package_size,
            "bits_per_byte": round(package_nats / (package_size * math.log(2)), 4),
        }
        nats, size = nats + package_nats, size + package_size
        tokens += sum(score.tokens for score in scores)
    in_all = round(nats / (size * math.log(2)), 4)
    return report | {"all": {"bytes": size, "tokens": tokens, "bits_per_byte": in_all}}


def late_positions(scorer: TextScorer, texts: dict[str, list[str]]) -> dict[str, Any]:
    """The same tokens at positions 512 to 1023 and at 1024 to 1535: nats a token, in pairs.

    At the later positions the model sees 512 tokens more; it must not do worse for that.
    """
    pairs: list[tuple[float, float]] = []
    for text in (text for files in texts.values() for text in files):
        ids = [END, *scorer.tokenizer.encode(text)]
        stop = 3 * _BLOCK_TOKENS + 1
        if len(ids) >= stop:
            late = Row(ids[:stop], 2 * _BLOCK_TOKENS + 1)
            early = Row(ids[_BLOCK_TOKENS:stop], _BLOCK_TOKENS + 1)
            values = scorer.scorer.log_probabilities([early, late])
            pairs.append((-float(values[0].mean()), -float(values[1].mean())))
    early_mean = sum(early for early, _ in pairs) / max(1, len(pairs))
    late_mean = sum(late for _, late in pairs) / max(1, len(pairs))
    return {
        "files": len(pairs),
        "nats_a_token_at_512_to_1023": round(early_mean, 4),
        "nats_a_token_at_1024_to_1535": round(late_mean, 4),
    }


def completions(prompts: Sequence[str], write: Writer) -> dict[str, Any]:
    """Share of the completions that leave a file which parses as far as it goes."""
    texts = [write(prompt, COMPLETION_TOKENS) for prompt in prompts]
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


def infills(cases: Sequence[Gap], fill: Callable[[Gap], str]) -> dict[str, Any]:
    """Share of the removed lines that come back exactly, but for blanks at their ends."""
    texts = [fill(case).strip() for case in cases]
    exact = [text == case.line for text, case in zip(texts, cases, strict=True)]
    shown = range(0, len(cases), max(1, len(cases) // SHOWN))
    examples = [{"line": cases[i].line, "written": texts[i]} for i in shown]
    return share_of(exact) | {"examples": examples}


@dataclass(frozen=True)
class Cases:
    """What everything is measured on."""

    texts: dict[str, list[str]]
    prompts: list[str]
    gaps: list[Gap]

    @classmethod
    def draw(cls, options: argparse.Namespace, tokenizer: CodeTokenizer) -> Cases:
        """The cases of one split and seed."""
        records = read_records(options.split)
        count, seed = options.cases, options.seed
        return cls(
            texts=sample_texts(options.split, options.bytes_per_package, seed),
            prompts=prompts_at_borders(records, lambda t: len(tokenizer.encode(t)), count, seed),
            gaps=gaps(records, options.gaps, seed),
        )


def first_line(write: Writer) -> Callable[[Gap], str]:
    """Fills a gap with the first line that a writer puts behind the prefix."""
    return lambda gap: write(gap.prefix, LINE_TOKENS).lstrip().partition("\n")[0]


def model_report(directory: Path, cases: Cases) -> dict[str, Any]:
    """All measures of the model."""
    model, scorer = TextModel.load(directory), TextScorer.load(directory)
    if not isinstance(scorer.scorer, NumpyScorer):
        raise SystemExit("evaluate: the checkpoint is too large for the engine of small ones")

    def writer(*, heal: bool) -> Writer:
        def write(prompt: str, tokens: int) -> str:
            asked = CompletionOptions(max_tokens=tokens, heal=heal)
            return model.complete(prompt, asked).choices[0].text

        return write

    def filler(order: InfillOrder) -> Callable[[Gap], str]:
        asked = InfillOptions(max_tokens=LINE_TOKENS, until=Scope.LINE, order=order)
        return lambda gap: model.infill(gap.prefix, gap.suffix, asked).choices[0].text

    measures: dict[str, Callable[[], Any]] = {
        "bits_per_byte": lambda: bits_per_byte(scorer, cases.texts),
        "late_positions": lambda: late_positions(scorer, cases.texts),
        "infills_psm": lambda: infills(cases.gaps, filler(InfillOrder.PSM)),
        "infills_spm": lambda: infills(cases.gaps, filler(InfillOrder.SPM)),
        "infills_without_the_suffix": lambda: infills(cases.gaps, first_line(writer(heal=True))),
        "completions_that_parse": lambda: completions(cases.prompts, writer(heal=True)),
        "without_healing": lambda: completions(cases.prompts, writer(heal=False)),
    }
    return {name: measured(name, measure) for name, measure in measures.items()}


def measured(name: str, measure: Callable[[], Any]) -> Any:
    """The value of a measure, with a line of progress."""
    started = time.monotonic()
    value = measure()
    sys.stderr.write(f"{name}: {time.monotonic() - started:.0f} s\n")
    return value


def baseline_report(tokenizer: CodeTokenizer, cases: Cases) -> dict[str, Any]:
    """The same of the two baselines."""
    report: dict[str, Any] = {}
    ngrams = NgramWriter(tokenizer)
    for baseline in (ngrams, LineCopier(tokenizer)):
        report[baseline.name] = {
            "infills": infills(cases.gaps, first_line(baseline.write)),
            "completions_that_parse": completions(cases.prompts, baseline.write),
        }
        sys.stderr.write(f"{baseline.name}: done\n")
    report[ngrams.name]["bits_per_byte"] = round(ngrams.bits_per_byte(cases.texts), 4)
    return report


def main() -> None:
    """Reads the options, measures, prints the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--cases", type=int, default=400, help="completions")
    parser.add_argument("--gaps", type=int, default=500, help="single lines to fill in")
    parser.add_argument("--bytes-per-package", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--no-baselines", dest="baselines", action="store_false")
    options = parser.parse_args()
    started = time.monotonic()
    scorer = TextScorer.load(options.directory)
    cases = Cases.draw(options, scorer.tokenizer)
    report: dict[str, Any] = {
        "model": options.directory.resolve().name,
        "split": options.split,
        "seed": options.seed,
        **model_report(options.directory, cases),
    }
    if options.baselines:
        report["baselines"] = baseline_report(scorer.tokenizer, cases)
    report["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
