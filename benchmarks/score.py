"""Scoring of real files: bigcode against transformers at its best batch size and CTranslate2.

Every contender gets the same first tokens of the same files, and gives
the log-probability of each. Run:
python benchmarks/score.py [--runs N] [--files N] [--skip N] [--model DIR]
"""

import argparse
import math
import random
import sysconfig
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from contest import Contender, Work, fastest, machine, serve, table, take_turns
from gpt_bigcode.backends.interfaces import ScoredRow
from gpt_bigcode.hardware import Precision, choose_threads
from gpt_bigcode.scoring.text_scorer import TextScorer
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

BUILT_IN = Path(__file__).resolve().parents[1] / "model" / "pocket_coder"
MOST_TOKENS = 1023  # CTranslate2 reads 1,024 at most by itself
Scoring = Callable[[list[list[int]], int], list[Any]]
"""Rows and a batch size -> the log-probabilities of all rows, in any order."""
BATCH_SIZES = (1, 2, 4, 8, 16)
BATCH_TOKENS = (1024, 2048, 8192)
# What the peers choose their batch size by, and everybody warms up with: every so manieth file.
SAMPLE_STEP = 5
CONTENDERS = (
    *("bigcode numpy", "bigcode bfloat16", "bigcode int8", "transformers"),
    *("ctranslate2 float32", "ctranslate2 int8"),
)


def rows_of(directory: Path, files: int, skip: int, seed: int = 1) -> list[list[int]]:
    """Ids of real source files of mixed length, `<|endoftext|>` in front."""
    tokenizer = CodeTokenizer.from_file(directory / "tokenizer.json")
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("[a-z]*/*.py"))
    random.Random(seed).shuffle(paths)  # noqa: S311  # a repeatable choice of files
    found: list[list[int]] = []
    for path in paths:
        text = path.read_text("utf-8", errors="ignore")
        ids = tokenizer.encode(text[: 8 * MOST_TOKENS])
        if len(ids) > 1:
            found.append([tokenizer.end_of_text_id, *ids][: MOST_TOKENS + 1])
        if len(found) == skip + files:
            return found[skip:]
    raise SystemExit(f"score: only {len(found)} files")


def ours(directory: Path, rows: list[list[int]], *, engine: str) -> Work:
    """`bigcode score`, without reading and tokenizing; the torch engine with all its threads."""
    precision = "float32" if engine == "numpy" else engine
    scorer = TextScorer.load(directory, precision=Precision(precision), device="cpu").scorer
    ordered = sorted((ScoredRow(row, 1) for row in rows), key=lambda row: -len(row.ids))

    def work() -> object:
        done, start = [], 0
        while start < len(ordered):
            count = max(scorer.batch_tokens // len(ordered[start].ids), 1)
            done += scorer.log_probabilities(ordered[start : start + count])
            start += count
        return done

    return work


def theirs(directory: Path) -> Scoring:
    """transformers: batches of similar length, padded, log-softmax of the logits."""
    import torch
    import transformers

    model = transformers.GPTBigCodeForCausalLM.from_pretrained(directory, dtype=torch.float32)
    model.eval()  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def work(rows: list[list[int]], batch: int) -> list[Any]:
        ordered = sorted(rows, key=len)
        done = []
        for start in range(0, len(ordered), batch):
            chosen = ordered[start : start + batch]
            width = max(map(len, chosen))
            ids = torch.tensor([row + [0] * (width - len(row)) for row in chosen])
            mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in chosen])
            logits = model(ids, attention_mask=mask, use_cache=False).logits[:, :-1]
            scores = torch.log_softmax(logits, dim=-1).gather(2, ids[:, 1:, None])
            done.append(scores.squeeze(2) * mask[:, 1:])
        return done

    return work


def ctranslated(directory: Path, *, kind: str, at_once: int) -> Scoring:
    """CTranslate2's score_batch, which batches by tokens itself, so many batches at once."""
    import ctranslate2
    from ctranslate2.converters import TransformersConverter
    from tokenizers import Tokenizer

    target = tempfile.mkdtemp()
    TransformersConverter(str(directory)).convert(target, force=True)
    threads = max(choose_threads() // at_once, 1)
    generator = ctranslate2.Generator(
        target, compute_type=kind, inter_threads=at_once, intra_threads=threads
    )
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    names = [tokenizer.id_to_token(token) for token in range(tokenizer.get_vocab_size())]

    def work(rows: list[list[int]], size: int) -> list[Any]:
        words = [[names[token] for token in row] for row in rows]
        scored: list[Any] = generator.score_batch(words, max_batch_size=size, batch_type="tokens")
        return scored

    return work


def contend(name: str, directory: Path, rows: list[list[int]]) -> None:
    """Be one contender; peers try their batch sizes on a sample first."""
    kind, _, detail = name.partition(" ")
    sample = rows[::SAMPLE_STEP]
    if kind == "bigcode":
        warm_up = ours(directory, sample, engine=detail)
        serve(ours(directory, rows, engine=detail), warm_up=warm_up)
        return
    ways: dict[str, tuple[Scoring, int]] = {}
    if kind == "transformers":
        scoring = theirs(directory)
        ways = {f"{size} files": (scoring, size) for size in BATCH_SIZES}
    else:
        for at_once in sorted({1, choose_threads()}):
            scoring = ctranslated(directory, kind=detail, at_once=at_once)
            ways |= {f"{at_once} x {size} tokens": (scoring, size) for size in BATCH_TOKENS}
    tried = {name: partial(scoring, sample, size) for name, (scoring, size) in ways.items()}
    best = fastest(tried, repeat=1)
    scoring, size = ways[best]
    serve(partial(scoring, rows, size), warm_up=tried[best], chosen=best)


def values_agree(directory: Path, rows: list[list[int]]) -> float:
    """Largest difference of a file's mean log-probability between bigcode and transformers."""
    mine = TextScorer.load(directory).scorer.log_probabilities([ScoredRow(row, 1) for row in rows])
    means = sorted(float(np.mean(values)) for values in mine)
    wanted = sorted(float(batch.mean()) for batch in theirs(directory)(rows, 1))
    return max(abs(first - second) for first, second in zip(means, wanted, strict=True))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--skip", type=int, default=0, help="leave out so many files before them")
    parser.add_argument("--model", type=Path, default=BUILT_IN)
    parser.add_argument("--as-contender", default="")
    options = parser.parse_args()
    rows = rows_of(options.model, options.files, options.skip)
    if options.as_contender:
        contend(options.as_contender, options.model, rows)
        return
    arguments = ["--files", str(options.files), "--skip", str(options.skip)]
    arguments += ["--model", str(options.model), "--as-contender"]
    # As the command does: the BLAS has one thread, and each thread a row.
    alone = {"bigcode numpy": {"OPENBLAS_NUM_THREADS": "1"}}
    contenders = {
        name: Contender(__file__, [*arguments, name], alone.get(name, {})) for name in CONTENDERS
    }
    times = take_turns(contenders, options.runs)
    tokens = sum(len(row) - 1 for row in rows)
    print(f"{machine()}; {options.runs} alternating runs\n")
    print(f"{len(rows)} files, {tokens} tokens, median {sorted(map(len, rows))[len(rows) // 2]}")
    chosen = {name: one.chosen for name, one in contenders.items() if one.chosen}
    print(f"best batches: {chosen}")
    difference = values_agree(options.model, rows[:10])
    print(f"mean log-probability of 10 files: at most {difference:.1e} from transformers\n")
    print(table(times, tokens, "tokens"))
    best = {name: min(values) for name, values in times.items()}
    if not all(map(math.isfinite, best.values())):
        raise SystemExit("score: a contender did not answer")


if __name__ == "__main__":
    main()
