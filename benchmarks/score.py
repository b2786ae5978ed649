"""Scoring of real files: bigcode against transformers at its best batch size and CTranslate2.

Knows nothing of windows: every contender reads the same first tokens of the same files, and gives
the log-probability of each. Run: python benchmarks/score.py [--runs N] [--files N] [--model DIR]
"""

import argparse
import math
import random
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from contest import Contender, machine, serve, table, take_turns
from gpt_bigcode.scorers import Row
from gpt_bigcode.scoring import TextScorer
from gpt_bigcode.tokenizer import CodeTokenizer

BUILT_IN = Path(__file__).resolve().parents[1] / "model" / "pocket_coder"
MOST_TOKENS = 1023  # CTranslate2 reads 1,024 at most by itself
BATCH_SIZES = (1, 4, 16)


def rows_of(directory: Path, files: int, seed: int = 1) -> list[list[int]]:
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
        if len(found) == files:
            return found
    raise SystemExit(f"score: only {len(found)} files")


def ours(directory: Path, rows: list[list[int]], *, engine: str) -> Callable[[], object]:
    """`bigcode score`, without reading and tokenizing; the torch engine with all its threads."""
    precision = "float32" if engine == "numpy" else engine
    scorer = TextScorer.load(directory, precision=precision, device="cpu").scorer
    ordered = sorted((Row(row, 1) for row in rows), key=lambda row: -len(row.ids))

    def work() -> object:
        done, start = [], 0
        while start < len(ordered):
            count = max(scorer.batch_tokens // len(ordered[start].ids), 1)
            done += scorer.log_probabilities(ordered[start : start + count])
            start += count
        return done

    return work


def theirs(directory: Path, rows: list[list[int]], *, batch: int) -> Callable[[], object]:
    """transformers: batches of similar length, padded, log-softmax of the logits."""
    import torch
    import transformers

    model = transformers.GPTBigCodeForCausalLM.from_pretrained(directory, dtype=torch.float32)
    model.eval()  # type: ignore[no-untyped-call]
    ordered = sorted(rows, key=len)

    @torch.inference_mode()
    def work() -> object:
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


def ctranslated(directory: Path, rows: list[list[int]], *, kind: str) -> Callable[[], object]:
    """CTranslate2's score_batch, which batches by tokens itself."""
    import ctranslate2
    from ctranslate2.converters import TransformersConverter
    from tokenizers import Tokenizer

    target = tempfile.mkdtemp()
    TransformersConverter(str(directory)).convert(target, force=True)
    generator = ctranslate2.Generator(target, compute_type=kind, intra_threads=2)
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    words = [[tokenizer.id_to_token(token) for token in row] for row in rows]
    settings = {"max_batch_size": 2048, "batch_type": "tokens"}
    return lambda: generator.score_batch(words, **settings)


def contender(name: str, directory: Path, rows: list[list[int]]) -> Callable[[], object]:
    """The work of one contender."""
    kind, _, detail = name.partition(" ")
    if kind == "bigcode":
        return ours(directory, rows, engine=detail)
    if kind == "transformers":
        return theirs(directory, rows, batch=int(detail))
    return ctranslated(directory, rows, kind=detail)


def values_agree(directory: Path, rows: list[list[int]]) -> float:
    """Largest difference of a file's mean log-probability between bigcode and transformers."""
    mine = TextScorer.load(directory).scorer.log_probabilities([Row(row, 1) for row in rows])
    peers = theirs(directory, rows, batch=1)()
    means = sorted(float(np.mean(values)) for values in mine)
    wanted = sorted(float(batch.mean()) for batch in peers)  # type: ignore[attr-defined]
    return max(abs(first - second) for first, second in zip(means, wanted, strict=True))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--model", type=Path, default=BUILT_IN)
    parser.add_argument("--as-contender", default="")
    options = parser.parse_args()
    rows = rows_of(options.model, options.files)
    if options.as_contender:
        serve(contender(options.as_contender, options.model, rows))
        return
    names = ["bigcode numpy"]
    names += [f"transformers {size}" for size in BATCH_SIZES]
    names += ["ctranslate2 float32", "ctranslate2 int8"]
    arguments = ["--files", str(options.files), "--model", str(options.model), "--as-contender"]
    # As the command does: the BLAS has one thread, and each thread a row.
    alone = {"bigcode numpy": {"OPENBLAS_NUM_THREADS": "1"}}
    contenders = {
        name: Contender(__file__, [*arguments, name], alone.get(name, {})) for name in names
    }
    times = take_turns(contenders, options.runs)
    tokens = sum(len(row) - 1 for row in rows)
    print(f"{machine()}; {options.runs} alternating runs\n")
    print(f"{len(rows)} files, {tokens} tokens, median {sorted(map(len, rows))[len(rows) // 2]}")
    difference = values_agree(options.model, rows[:10])
    print(f"mean log-probability of 10 files: at most {difference:.1e} from transformers\n")
    print(table(times, tokens, "tokens"))
    best = {name: min(values) for name, values in times.items()}
    if not all(map(math.isfinite, best.values())):
        raise SystemExit("score: a contender did not answer")


if __name__ == "__main__":
    main()
