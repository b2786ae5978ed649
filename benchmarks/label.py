"""`classify` and `tag` on real files, against transformers' pipelines with the same models.

Every contender gets the same beginnings of the same files, as text.
Run: python benchmarks/label.py [--runs N] [--files N]
"""

import argparse
import random
import sysconfig
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from contest import Contender, Work, fastest, machine, serve, table, take_turns
from gpt_bigcode.checkpoint.tensor_index import Task
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.labeling.text_classifier import TextClassifier
from gpt_bigcode.labeling.text_tagger import TextTagger
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

MODELS = Path(__file__).resolve().parents[1] / "model"
FOLDERS = {"classify": MODELS / "pocket_languages", "tag": MODELS / "pocket_secrets"}
PIPELINES = {"classify": "text-classification", "tag": "token-classification"}
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
SAMPLE_STEP = 4  # a pipeline chooses its batch size by every so manieth file
CONTENDERS = ("bigcode numpy", "bigcode torch", "transformers")


def texts_of(job: str, files: int, seed: int = 1) -> tuple[list[str], int]:
    """Beginnings of real source files of mixed length that fit the context, and their tokens."""
    folder = FOLDERS[job]
    config = GPTBigCodeConfig.from_json_file(folder / "config.json")
    tokenizer = CodeTokenizer.from_file(folder / "tokenizer.json")
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("[a-z]*/*.py"))
    random.Random(seed).shuffle(paths)  # noqa: S311  # a repeatable choice of files
    texts: list[str] = []
    tokens = 0
    for path in paths:
        text = path.read_text("utf-8", errors="ignore")
        ids, _ = tokenizer.encode_head(text, config.n_positions - 2)
        if not ids:
            continue
        texts.append(tokenizer.decode_bytes(ids).decode("utf-8"))
        tokens += len(ids)
        if len(texts) == files:
            return texts, tokens
    raise SystemExit(f"label: only {len(texts)} files")


def ours(job: str, texts: list[str], *, engine: str) -> Work:
    """The library, as the command calls it, or with the engine that it did not choose."""
    task = Task.SEQUENCE_CLASSIFICATION if job == "classify" else Task.TOKEN_CLASSIFICATION
    model: TextClassifier | TextTagger
    model = (TextClassifier if job == "classify" else TextTagger).load(FOLDERS[job])
    if engine == "torch":
        from gpt_bigcode.backends.torch_heads import TorchLabeler

        model.labeler = TorchLabeler.load(
            FOLDERS[job], task=task, device="cpu", precision="float32"
        )
    if isinstance(model, TextClassifier):
        classify = model.classify_many
        return lambda: list(classify([text] for text in texts))
    tag = model.tag_many
    return lambda: list(tag([text] for text in texts))


def theirs(job: str) -> Callable[[list[str], int], object]:
    """A pipeline of transformers; files are sorted by length, so that little is padded."""
    import transformers

    classes: dict[str, Any] = {
        "classify": transformers.GPTBigCodeForSequenceClassification,
        "tag": transformers.GPTBigCodeForTokenClassification,
    }
    folder = FOLDERS[job]
    fast: Any = transformers.PreTrainedTokenizerFast
    tokenizer = fast(tokenizer_file=str(folder / "tokenizer.json"))
    model = classes[job].from_pretrained(folder, dtype="float32")
    tokenizer.pad_token_id = model.config.pad_token_id = model.config.eos_token_id
    make: Any = transformers.pipeline
    pipeline = make(PIPELINES[job], model=model, tokenizer=tokenizer)
    return lambda texts, batch: pipeline(sorted(texts, key=len), batch_size=batch)


def contend(name: str, job: str, files: int) -> None:
    """Be one of `CONTENDERS`."""
    texts, _ = texts_of(job, files)
    kind, _, engine = name.partition(" ")
    if kind == "bigcode":
        serve(ours(job, texts, engine=engine))
        return
    label = theirs(job)
    tried = {str(size): partial(label, texts[::SAMPLE_STEP], size) for size in BATCH_SIZES}
    size = fastest(tried)
    serve(partial(label, texts, int(size)), chosen=size)


def main() -> None:
    """Measure and print a table for each job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--jobs", nargs="*", choices=list(FOLDERS), default=list(FOLDERS))
    parser.add_argument("--as-contender", default="")
    options = parser.parse_args()
    if options.as_contender:
        (job,) = options.jobs
        contend(options.as_contender, job, options.files)
        return
    print(f"{machine()}; {options.runs} alternating runs")
    for job in options.jobs:
        texts, tokens = texts_of(job, options.files)
        arguments = ["--files", str(options.files), "--jobs", job, "--as-contender"]
        # As the commands do: the BLAS has one thread, and each thread a row.
        alone = {"bigcode numpy": {"OPENBLAS_NUM_THREADS": "1"}}
        contenders = {
            name: Contender(__file__, [*arguments, name], alone.get(name, {}))
            for name in CONTENDERS
        }
        times = take_turns(contenders, options.runs)
        size = sum(len(text.encode()) for text in texts)
        print(
            f"\n{job}: {len(texts)} files, {size:,} bytes, {tokens:,} tokens; transformers reads "
        )
        print(f"{contenders['transformers'].chosen} at once\n")
        print(table(times, tokens, "tokens"))


if __name__ == "__main__":
    main()
