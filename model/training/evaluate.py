"""Measures an exported model on the held-out packages: bits per byte, and completions that parse.

Knows nothing of training. Run as `python -m training.evaluate DIR`; prints a JSON report. The
library's own path is used, as in the tool.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from gpt_bigcode.checkpoint import load_model
from gpt_bigcode.pipeline import CompletionOptions, TextModel
from gpt_bigcode.tokenizer import CodeTokenizer
from training.documents import read_records
from training.parsing import parses_so_far

if TYPE_CHECKING:
    from gpt_bigcode.heads import GPTBigCodeForCausalLM

COMPLETION_TOKENS = 100
MAX_PROMPT_TOKENS = 900
MIN_PROMPT_LINES = 10
SHOWN = 3


def interval(successes: int, cases: int) -> list[float]:
    """The 95 % Wilson score interval of a share."""
    if not cases:
        return [0.0, 1.0]
    z, share = 1.96, successes / cases
    middle = share + z * z / (2 * cases)
    reach = z * math.sqrt(share * (1 - share) / cases + z * z / (4 * cases * cases))
    scale = 1 + z * z / cases
    return [round((middle - reach) / scale, 4), round((middle + reach) / scale, 4)]


@torch.inference_mode()
def text_nats(model: GPTBigCodeForCausalLM, ids: list[int], end: int) -> float:
    """Nats of a text after the end token; windows of the context with half of it as overlap."""
    limit = model.config.n_positions
    row = torch.tensor([end, *ids])
    total, done = 0.0, 0
    while done < len(ids):
        start = max(0, done - limit // 2) if done else 0
        window = row[start : start + limit + 1]
        hidden = model.transformer(window[None, :-1], use_cache=False).last_hidden_state[0]
        fresh = slice(done - start, None)
        logits = model.lm_head(hidden[fresh]).float()
        total += float(F.cross_entropy(logits, window[1:][fresh], reduction="sum"))
        done = start + len(window) - 1
    return total


def bits_per_byte(
    model: GPTBigCodeForCausalLM, tokenizer: CodeTokenizer, texts: dict[str, list[str]]
) -> dict[str, Any]:
    """Per package and in all."""
    report: dict[str, Any] = {}
    sums = [0.0, 0, 0]
    for package, files in sorted(texts.items()):
        nats, size, tokens = 0.0, 0, 0
        for text in files:
            ids = tokenizer.encode(text)
            nats += text_nats(model, ids, tokenizer.end_of_text_id)
            size += len(text.encode())
            tokens += len(ids)
        report[package] = {
            "files": len(files),
            "bytes": size,
            "bits_per_byte": round(nats / (size * math.log(2)), 4),
        }
        sums = [sums[0] + nats, sums[1] + size, sums[2] + tokens]
    report["all"] = {
        "bytes": sums[1],
        "tokens": sums[2],
        "bits_per_byte": round(sums[0] / (sums[1] * math.log(2)), 4),
    }
    return report


def borders(text: str) -> list[int]:
    """Offsets of the lines where a statement begins, at any depth."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    lines = {node.lineno for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)}
    return [starts[line - 1] for line in sorted(lines) if line > MIN_PROMPT_LINES]


def cases(
    records: list[dict[str, str]], tokenizer: CodeTokenizer, count: int, seed: int
) -> list[str]:
    """Beginnings of files that end at a statement border."""
    generator = random.Random(seed)
    found: list[str] = []
    tries = 0
    while len(found) < count and tries < 20 * count:
        tries += 1
        places = borders(text := generator.choice(records)["text"])
        if not places:
            continue
        prefix = text[: generator.choice(places)]
        if len(tokenizer.encode(prefix)) < MAX_PROMPT_TOKENS and parses_so_far(prefix):
            found.append(prefix)
    return found


def completions(model: TextModel, options: argparse.Namespace, *, heal: bool) -> dict[str, Any]:
    """Share of the greedy completions that leave a file which parses as far as it goes."""
    prompts = cases(read_records(options.split), model.tokenizer, options.cases, options.seed)
    asked = CompletionOptions(max_tokens=COMPLETION_TOKENS, heal=heal)
    texts = [model.complete(prompt, asked).choices[0].text for prompt in prompts]
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


def share_of(outcomes: list[bool]) -> dict[str, Any]:
    """Cases, successes, share and interval."""
    cases, successes = len(outcomes), sum(outcomes)
    share = round(successes / max(1, cases), 4)
    return {"cases": cases, "share": share, "interval_95": interval(successes, cases)}


def sample_texts(split: str, limit_bytes: int, seed: int) -> dict[str, list[str]]:
    """Whole files of each package in seeded order, up to a size per package."""
    records = read_records(split)
    random.Random(seed).shuffle(records)
    chosen: dict[str, list[str]] = {}
    used: dict[str, int] = {}
    for record in records:
        package, text = record["package"], record["text"]
        if used.get(package, 0) + len(text) <= limit_bytes:
            used[package] = used.get(package, 0) + len(text)
            chosen.setdefault(package, []).append(text)
    return chosen


def main() -> None:
    """Reads the options, measures, prints the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--bytes-per-package", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    started = time.monotonic()
    loaded = load_model(options.directory, dtype=torch.float32)
    model = cast("GPTBigCodeForCausalLM", loaded)
    tokenizer = CodeTokenizer.from_file(options.directory / "tokenizer.json")
    text_model = TextModel.load(options.directory)
    texts = sample_texts(options.split, options.bytes_per_package, options.seed)
    report = {
        "model": options.directory.resolve().name,
        "parameters": model.config.parameter_count(),
        "split": options.split,
        "seed": options.seed,
        "bits_per_byte": bits_per_byte(model, tokenizer, texts),
        "completions_that_parse": completions(text_model, options, heal=True),
        "without_healing": completions(text_model, options, heal=False),
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
