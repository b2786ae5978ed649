"""Data sets of unusual sizes: no row, one row, 200,000 short ones, one of 50 MB."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpt_bigcode.scoring.text_scorer import TextScorer
from runs import call, command, environment

pytestmark = pytest.mark.slow
WORD = "a" * 200 + " "
LARGE = WORD * 250_000
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def fast_checkpoint(make_checkpoint: Callable[..., Path]) -> Path:
    """A model as small as can be, whose tokenizer knows runs of up to 128 times `a`."""
    shape = {"n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 512, "vocab_size": 448}
    folder = make_checkpoint("fast", **shape)
    path = folder / "tokenizer.json"
    values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    vocabulary, merges = values["model"]["vocab"], values["model"]["merges"]
    for power in range(7):
        half = "a" * 2**power
        if half * 2 not in vocabulary:
            vocabulary[half * 2] = len(vocabulary)
            merges.append([half, half])
    path.write_text(json.dumps(values), "utf-8")
    return folder


def test_every_size_in_one_data_set(fast_checkpoint: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    texts = {
        "none": [],
        "one": ["x = 1\n"],
        "short": [f"{n % 1000}\n" for n in range(200_000)],
        "large": ["y = 2\n", LARGE, "z = 3\n"],
    }
    for name, rows in texts.items():
        table = pa.table({"content": pa.array(rows, pa.string()), "name": [name] * len(rows)})
        pq.write_table(table, data / f"{name}.parquet")
    shutil.copy(data / "one.parquet", data / "same.parquet")
    out, summary = tmp_path / "out", tmp_path / "summary.json"
    words = command("score", data, out, fast_checkpoint, "--summary", str(summary))
    done = call(words, tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    scorer = TextScorer.load(fast_checkpoint, device="cpu", precision="float32")
    for name, rows in texts.items():
        found = pq.read_table(out / f"{name}.parquet").to_pylist()
        assert [row["content"] for row in found] == rows
        for text, row in [*zip(rows, found, strict=True)][:1000]:
            score = scorer.score(text)
            assert row["status"] == "ok"
            assert row["tokens"] == score.tokens
            assert row["nll"] == pytest.approx(score.nll, rel=1e-5)
    assert (out / "same.parquet").read_bytes() == (out / "one.parquet").read_bytes()
    counts = json.loads(summary.read_text("utf-8"))
    assert (counts["rows"], counts["written"], counts["failed"]) == (200_005, 200_005, 0)


def test_memory_is_that_of_the_row_not_of_its_windows(
    fast_checkpoint: Path, tmp_path: Path
) -> None:
    """A row is held a few times (page, column, bytes, text, output), and its tokens never."""
    peaks = []
    for size in (3, 15):
        data = tmp_path / f"{size}"
        data.mkdir()
        count = size * MEGABYTE // len(WORD)
        pq.write_table(pa.table({"content": [WORD * count]}), data / "a.parquet")
        script = f"""
            import resource
            from pathlib import Path
            from bigcode_cli.distributed.inputs import find_files, split
            from bigcode_cli.distributed.output import Output
            from bigcode_cli.distributed.plan import JobKind, ModelPlan, Plan
            from bigcode_cli.distributed.worker import BlockComputer, output_schema
            import pyarrow.fs
            model = ModelPlan(
                name="m", folder={str(fast_checkpoint)!r}, revision=None, content="",
                device="cpu", precision="float32", threads=1, batch_tokens=2048,
            )
            options = {{"window": "strided", "stride": None}}
            plan = Plan(job=JobKind.SCORE, model=model, text_column="content", options=options)
            filesystem, files = find_files({str(data)!r})
            output = Output(pyarrow.fs.LocalFileSystem(), {str(data / "out")!r}, plan.output_format)
            size = output.prepare(plan, files)
            blocks, schema, file = split(filesystem, files[0], size)
            computer = BlockComputer(plan, filesystem, output)
            computer.compute(file, blocks[0], output_schema(plan, schema))
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)
        """
        lines = [line.strip() for line in script.splitlines()]
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(lines)],
            capture_output=True,
            text=True,
            check=True,
            timeout=3000,
            env=environment(tmp_path) | {"OPENBLAS_NUM_THREADS": "1"},
        )
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 10 * 12 * MEGABYTE
