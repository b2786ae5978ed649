"""The memory of a worker is that of a few rows, whatever their sizes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bigcode_cli.distributed.blocks import BlockReader
from bigcode_cli.distributed.inputs import find_files, split
from bigcode_cli.distributed.plan import BlockSize
from program import TIMEOUT_SECONDS
from runs import environment, model_of_runs

WORD = "a" * 200 + " "
MEGABYTE = 1 << 20
SIZES = (1, 7)


@pytest.mark.slow
def test_memory_is_that_of_the_row_not_of_its_windows(
    make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """A row is held a few times (page, column, bytes, text, output), and its tokens never."""
    shape = {"n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 512}
    model = model_of_runs(make_checkpoint("fast", vocab_size=448, **shape))
    peaks = []
    for size in SIZES:
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
                name="m", folder={str(model)!r}, revision=None, content="",
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
            timeout=TIMEOUT_SECONDS,
            env=environment(tmp_path) | {"OPENBLAS_NUM_THREADS": "1"},
        )
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 10 * (SIZES[1] - SIZES[0]) * MEGABYTE


def test_memory_is_that_of_a_few_rows(tmp_path: Path) -> None:
    """Rows are read until they hold some megabytes, not by their number."""
    (tmp_path / "data").mkdir()
    texts = [f"x = {n}\n" * 200_000 for n in range(20)]
    pq.write_table(pa.table({"content": texts}), tmp_path / "data" / "a.parquet")
    filesystem, (file,) = find_files(str(tmp_path / "data"))
    blocks, _, _ = split(filesystem, file, BlockSize())
    assert sum(block.rows for block in blocks) == 20
    reader = BlockReader(filesystem)
    for block in blocks:
        for rows in reader.read(file, block):
            assert rows.table.num_rows <= 4
