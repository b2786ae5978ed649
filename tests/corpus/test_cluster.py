"""`bigcode corpus --address` on a cluster of two nodes on this machine."""

import os
import signal
from pathlib import Path
from subprocess import Popen

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from program import TIMEOUT_SECONDS
from runs import Cluster, call, command, files_of, running, two_nodes, wait_for, workers_of

pytest_plugins = ("shared_cluster",)
pytestmark = pytest.mark.slow


def test_workers_and_nodes_that_are_killed_and_a_node_that_differs(
    corpus_data: Path, corpus_model: Path, undisturbed: Path, tmp_path: Path
) -> None:
    data, out = corpus_data / "sub" / "b.parquet", tmp_path / "out"
    with two_nodes(tmp_path) as cluster:
        words = command("score", data, out, corpus_model, "--quiet")
        with running([*words, "--address", cluster.address], tmp_path) as driver:
            kill_a_worker_and_a_node(cluster, out, driver)
            said = driver.communicate(timeout=TIMEOUT_SECONDS)
        assert (driver.returncode, said) == (0, ("", ""))
        assert files_of(out) == {"b.parquet": files_of(undisturbed)["sub/b.parquet"]}
        a_node_with_other_versions_is_refused_by_name(cluster, corpus_model, tmp_path)


def kill_a_worker_and_a_node(cluster: Cluster, out: Path, driver: Popen[str]) -> None:
    """Each while blocks are computed."""

    def parts() -> int:
        assert driver.poll() is None
        return len(list(out.rglob("_parts/*/*.json")))

    wait_for(lambda: len(workers_of(cluster.pid)) == 2 or parts())
    worker = workers_of(cluster.pid)[0]
    wait_for(parts)
    os.kill(worker, signal.SIGKILL)
    done = parts()
    wait_for(lambda: parts() > done)
    cluster.kill_last()


def a_node_with_other_versions_is_refused_by_name(
    cluster: Cluster, model: Path, folder: Path
) -> None:
    package = folder / "packages" / "numpy-0.0.1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n")
    cluster.add("PYTHONPATH", str(package.parent))
    (folder / "data").mkdir()
    pq.write_table(pa.table({"content": ["x = 1\n"]}), folder / "data" / "a.parquet")
    words = command("score", folder / "data", folder / "refused", model)
    done = call([*words, "--address", cluster.address], folder)
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("bigcode: error[cluster]: node 127.0.0.1 (")
    assert ": numpy 0.0.1, the driver has " in line
    assert not (folder / "refused" / "_SUCCESS").exists()


def test_no_cluster_at_the_address(corpus_model: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"content": ["x = 1\n"]}), tmp_path / "data" / "a.parquet")
    for address in ("127.0.0.1:9", "nonsense"):
        words = command("score", tmp_path / "data", tmp_path / "out", corpus_model)
        done = call([*words, "--address", address], tmp_path)
        assert (done.returncode, done.stdout) == (3, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("bigcode: error[cluster]: Ray cannot be reached: ")
