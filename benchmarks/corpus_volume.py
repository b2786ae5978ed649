"""A data set through `bigcode corpus` on two nodes while workers, a node and the driver are killed.

Makes a folder of Parquet files from packages (wheels in --wheels, else what is installed), and runs
score, classify and tag --redact over it twice on a cluster of two nodes: undisturbed, and with
kill -9 on the way. The results must be equal byte for byte, and on sampled rows those of the
one-file commands. The memory of every worker is sampled. A call that is repeated goes on.

    python benchmarks/corpus_volume.py WORK [--megabytes 1000] [--models tiny|built-in]
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "corpus"))

from nodes import Cluster, two_nodes, workers_of

BIGCODE = str(Path(sys.executable).with_name("bigcode"))
JOBS = {"score": ["score"], "classify": ["classify"], "tag": ["tag", "--redact"]}
TEXT_TYPES = (".py", ".pyi", ".js", ".ts", ".c", ".h", ".css", ".md", ".rst", ".json", ".txt")
_LARGEST_TEXT = 1 << 20
_SAMPLED = 200
_SECONDS_PER_SAMPLE = 2.0
_TOLERANCE = 1e-5
# The order of kills.
_WORKERS, _NODE, _DRIVER = (0, 1, 4, 5), 2, 3


def main() -> None:
    """Make the data, run every job twice, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--megabytes", type=float, default=1000)
    parser.add_argument("--models", choices=("tiny", "built-in"), default="tiny")
    parser.add_argument("--wheels", type=Path, default=Path("wheels"))
    parser.add_argument("--file-megabytes", type=float, default=8)
    parser.add_argument("--kill-seconds", type=float, default=60)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    data = options.work / "data"
    if not data.exists():
        write_data(data, options)
    models = tiny_models(options.work / "models") if options.models == "tiny" else {}
    with two_nodes() as cluster:
        for job in JOBS:
            model = [] if job not in models else ["-m", str(models[job])]
            calm = run_job(cluster, options.work, job, model, kill_seconds=None)
            kill_seconds = options.kill_seconds
            rough = run_job(cluster, options.work, job, model, kill_seconds=kill_seconds)
            same = contents(options.work / f"{job}-calm") == contents(options.work / f"{job}-rough")
            worst = largest_difference(options.work, job, model)
            report = {"equal": same, "largest_difference": worst, "calm": calm, "rough": rough}
            print(json.dumps({job: report}), flush=True)
            if not same or worst > _TOLERANCE:
                raise SystemExit(f"{job}: the results differ")


def texts(wheels: Path) -> Iterator[tuple[str, bytes]]:
    """Text files of packages, endlessly: the second time round each has another first line."""
    archives = sorted(wheels.glob("*.whl"))
    turn = 0
    while True:
        prefix = f"# copy {turn}\n".encode() if turn else b""
        for archive in archives:
            with zipfile.ZipFile(archive) as opened:
                for info in opened.infolist():
                    if info.filename.endswith(TEXT_TYPES) and 0 < info.file_size < _LARGEST_TEXT:
                        yield info.filename, prefix + opened.read(info)
        if not archives:
            for path in sorted(Path(sysconfig.get_path("purelib")).rglob("*")):
                if path.suffix in TEXT_TYPES and 0 < path.stat().st_size < _LARGEST_TEXT:
                    yield str(path), prefix + path.read_bytes()
        turn += 1


def write_data(folder: Path, options: argparse.Namespace) -> None:
    """Parquet files that are not compressed; every 500th row has no text."""
    partial = folder.with_name("data.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    rows: list[dict[str, Any]] = []
    held = total = number = 0
    for path, data in texts(options.wheels):
        text = data.decode("utf-8", "replace").replace("\0", " ")
        number += 1
        meta = {"bytes": len(data), "parts": path.split("/")}
        rows.append({"id": number, "content": text if number % 500 else None, "meta": meta})
        held += len(data)
        total += len(data)
        ended = total >= options.megabytes * 1e6
        if held >= options.file_megabytes * 1e6 or ended:
            name = partial / f"{len([*partial.iterdir()]):05}.parquet"
            pq.write_table(pa.Table.from_pylist(rows), name, compression="none")
            rows, held = [], 0
        if ended:
            break
    partial.rename(folder)
    print(f"{number:,} rows, {total:,} bytes of text", flush=True)


def tiny_models(folder: Path) -> dict[str, Path]:
    """One layer of random weights for each job, eight wide, with a tokenizer of 1,024 entries."""
    import torch

    from gpt_bigcode.checkpoint.loading import save_model
    from gpt_bigcode.config import GPTBigCodeConfig
    from gpt_bigcode.modeling import heads

    labels = ["O", "B-KEY", "I-KEY"]
    shape = {"n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 256, "initializer_range": 0.4}
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "score": (heads.GPTBigCodeForCausalLM, {}),
        "classify": (
            heads.GPTBigCodeForSequenceClassification,
            {"num_labels": 4, "pad_token_id": 0},
        ),
        "tag": (
            heads.GPTBigCodeForTokenClassification,
            {"id2label": {str(number): label for number, label in enumerate(labels)}},
        ),
    }
    for job, (kind, fields) in kinds.items():
        if (folder / job / "config.json").exists():
            continue
        (folder / job).mkdir(parents=True, exist_ok=True)
        size = write_tokenizer(folder / job / "tokenizer.json")
        ids = {"vocab_size": size, "bos_token_id": 0, "eos_token_id": 0}
        torch.manual_seed(7)
        model = kind(GPTBigCodeConfig.from_dict({**shape, **ids, **fields}))
        if job == "tag":
            with torch.no_grad():  # spans are to be rare, as in real text
                model.classifier.bias[0] += 3.5
        save_model(model, folder / job)
    return {job: folder / job for job in kinds}


def write_tokenizer(path: Path) -> int:
    """A byte-level BPE of this project's own sources; its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    sources = sorted(Path(__file__).parents[1].glob("bigcode_cli/**/*.py"))
    tokenizer.train_from_iterator([source.read_text("utf-8") for source in sources], trainer)
    tokenizer.save(str(path))
    return int(tokenizer.get_vocab_size())


def run_job(
    cluster: Cluster, work: Path, job: str, model: list[str], *, kill_seconds: float | None
) -> dict[str, Any]:
    """Run one job on the cluster.

    Args:
        cluster: where.
        work: where everything is.
        job: which one.
        model: the option that names it.
        kill_seconds: between two kills; None: nothing is disturbed.

    Returns:
        Seconds, kills and the memory of the workers.
    """
    name = f"{job}-{'calm' if kill_seconds is None else 'rough'}"
    kept = work / f"{name}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text("utf-8")))
    started = time.monotonic()
    words = [BIGCODE, "corpus", *JOBS[job], str(work / "data"), "-o", str(work / name), *model]
    words += ["--address", cluster.address, "--summary", str(work / f"{name}-summary.json")]
    watcher = Watcher(cluster, words, kill_seconds)
    status = watcher.execute()
    if status not in (0, 3):  # 3: there are rows without a text
        raise SystemExit(f"{name}: exit status {status}")
    seconds = round(time.monotonic() - started)
    report = {"seconds": seconds, "kills": watcher.kills, "memory": watcher.memory()}
    kept.write_text(json.dumps(report), "utf-8")
    return report


class Watcher:
    """Runs the command, kills what it runs on, and looks at the memory of workers."""

    def __init__(self, cluster: Cluster, words: list[str], kill_seconds: float | None) -> None:
        self._cluster, self._words, self._kill_seconds = cluster, words, kill_seconds
        self._sizes: dict[int, list[int]] = {}
        self.kills = {"worker": 0, "node": 0, "driver": 0}

    def execute(self) -> int:
        """Run to the end; the exit status."""
        while True:
            with subprocess.Popen(self._words) as driver:
                ended = threading.Event()
                thread = threading.Thread(target=self._watch, args=(driver, ended))
                thread.start()
                status = driver.wait()
                ended.set()
                thread.join()
            if status != -signal.SIGKILL:
                return status

    def memory(self) -> dict[str, Any]:
        """Megabytes of workers: the largest, and how much they grew after their first quarter."""
        long = [sizes for sizes in self._sizes.values() if len(sizes) >= 8]
        growth = [max(sizes[len(sizes) // 4 :]) - sizes[len(sizes) // 4] for sizes in long]
        largest = max((max(sizes) for sizes in self._sizes.values()), default=0)
        return {
            "workers": len(self._sizes),
            "largest_mb": largest >> 20,
            "growth_after_a_quarter_mb": [size >> 20 for size in growth],
        }

    def _watch(self, driver: "subprocess.Popen[bytes]", ended: threading.Event) -> None:
        killed = time.monotonic()
        while not ended.wait(_SECONDS_PER_SAMPLE):
            workers = workers_of(os.getpid())
            for worker in workers:
                if size := resident_bytes(worker):
                    self._sizes.setdefault(worker, []).append(size)
            due = self._kill_seconds is not None and time.monotonic() - killed > self._kill_seconds
            if due and workers:
                killed = time.monotonic()
                self._kill(driver, random.Random(sum(self.kills.values())).choice(workers))  # noqa: S311

    def _kill(self, driver: "subprocess.Popen[bytes]", worker: int) -> None:
        """Two workers, the second node, the driver, and two workers more."""
        number = sum(self.kills.values())
        if number in _WORKERS:
            self.kills["worker"] += 1
            os.kill(worker, signal.SIGKILL)
        elif number == _NODE:
            self.kills["node"] += 1
            self._cluster.kill_last()
            self._cluster.add()
        elif number == _DRIVER:
            self.kills["driver"] += 1
            driver.kill()


def resident_bytes(pid: int) -> int:
    """Memory of a process; 0 if it has just ended."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def contents(folder: Path) -> dict[str, bytes]:
    """The data of a finished run."""
    if not (folder / "_SUCCESS").exists():
        raise SystemExit(f"{folder} is not complete")
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


def largest_difference(work: Path, job: str, model: list[str]) -> float:
    """How far sampled rows are from the one-file command; infinity for another label or text."""
    folder = work / f"{job}-files"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    rows = sample(work / f"{job}-calm", work / "data")
    for number, (text, _) in enumerate(rows):
        (folder / f"{number}.txt").write_bytes(text.encode())
    paths = [str(folder / f"{number}.txt") for number in range(len(rows))]
    more = ["--redact", "--in-place"] if job == "tag" else ["--no-cache"]
    words = [BIGCODE, job, "--format", "jsonl", *model, *more, *paths]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    worst = 0.0
    for path, entry, (_, row) in zip(paths, entries, rows, strict=True):
        if job == "tag":
            same = Path(path).read_bytes() == row["content"].encode()
            worst = max(worst, 0.0 if same else float("inf"))
            continue
        names = ("nll", "bits_per_byte", "perplexity") if job == "score" else ("score",)
        if any(entry[name] != row[name] for name in ({*row} & {"label", "tokens"})):
            worst = float("inf")
        worst = max([worst, *(abs(entry[name] / row[name] - 1) for name in names)])
    return worst


def sample(folder: Path, data: Path) -> list[tuple[str, dict[str, Any]]]:
    """Original texts and rows of the output, from all files."""
    draw = random.Random(11)  # noqa: S311  # the same rows each time
    found = []
    paths = sorted(folder.glob("*.parquet"))
    for path in paths:
        rows = pq.read_table(path).to_pylist()
        before = pq.read_table(data / path.name, columns=["content"])["content"].to_pylist()
        pairs = [pair for pair in zip(before, rows, strict=True) if pair[1]["status"] == "ok"]
        pairs = [pair for pair in pairs if pair[1].get("tokens", 1)]
        found += draw.sample(pairs, min(_SAMPLED // len(paths) + 1, len(pairs)))
    return found[:_SAMPLED]


if __name__ == "__main__":
    main()
