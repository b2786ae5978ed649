"""`bigcode corpus --address` on a cluster of two nodes on this machine."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runs import call, command, environment, files_of, wait_for, workers_of

pytestmark = pytest.mark.slow
TWO_NODES = Path(__file__).with_name("two_nodes.py")


class Cluster:
    """Two nodes; see `two_nodes.py`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        self.address, self.raylet = str(found["address"]), int(found["raylet"])

    def kill_second(self) -> None:
        os.kill(self.raylet, signal.SIGKILL)


@contextmanager
def two_nodes(home: Path, *variables: str) -> Iterator[Cluster]:
    with subprocess.Popen(
        [sys.executable, str(TWO_NODES), *variables],
        env=environment(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        try:
            yield Cluster(process)
        finally:
            process.stdin.close()


def test_a_worker_and_a_node_that_are_killed_change_nothing(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    for name in "abcd":
        texts = [f"def f_{n}(x):\n    return '{name}'\n" * (n % 9 + 1) for n in range(400)]
        meta = [{"n": n, "tags": [name]} for n in range(400)]
        rows = pa.table({"content": texts, "meta": meta})
        pq.write_table(rows, tmp_path / "data" / f"{name}.parquet", row_group_size=100)
    out = tmp_path / "out"
    with two_nodes(tmp_path) as cluster:
        address = ("--address", cluster.address)
        calm = call(
            command("score", tmp_path / "data", tmp_path / "calm", tiny_checkpoint, *address),
            tmp_path,
        )
        assert (calm.returncode, calm.stdout) == (0, "")
        words = command("score", tmp_path / "data", out, tiny_checkpoint, "--quiet", *address)
        with subprocess.Popen(
            words, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as driver:
            wait_for(lambda: list(out.rglob("*.json")) and list(workers_of(cluster.process.pid)))
            os.kill(next(workers_of(cluster.process.pid)), signal.SIGKILL)
            done = len(list(out.rglob("*.parquet")))
            wait_for(lambda: len(list(out.rglob("*.parquet"))) > done or driver.poll() is not None)
            cluster.kill_second()
            said = driver.communicate(timeout=3000)
        assert (driver.returncode, said) == (0, (b"", b""))
    assert files_of(out) == files_of(tmp_path / "calm")
    assert len(files_of(out)) == 4


def test_a_node_with_other_versions_is_refused_by_name(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "packages" / "numpy-0.0.1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n")
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"content": ["x = 1\n"]}), tmp_path / "data" / "a.parquet")
    with two_nodes(tmp_path, f"PYTHONPATH={folder.parent}") as cluster:
        address = ("--address", cluster.address)
        done = call(
            command("score", tmp_path / "data", tmp_path / "out", tiny_checkpoint, *address),
            tmp_path,
        )
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("bigcode: error[cluster]: node 127.0.0.1 (")
    assert ": numpy 0.0.1, the driver has " in line
    assert not (tmp_path / "out" / "_SUCCESS").exists()


def test_no_cluster_at_the_address(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"content": ["x = 1\n"]}), tmp_path / "data" / "a.parquet")
    for address in ("127.0.0.1:9", "nonsense"):
        words = command("score", tmp_path / "data", tmp_path / "out", tiny_checkpoint)
        done = call([*words, "--address", address], tmp_path)
        assert (done.returncode, done.stdout) == (3, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("bigcode: error[cluster]: Ray cannot be reached: ")
