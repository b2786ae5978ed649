"""`bigcode corpus` whose driver, workers and nodes end, and clusters that it cannot work on."""

import contextlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nodes import Cluster, processes_below, two_nodes, workers_of
from program import TIMEOUT_SECONDS
from runs import (
    TEXTS,
    call,
    call_without_ray,
    command,
    environment,
    files_of,
    running,
    wait_for,
)

pytest_plugins = ("shared_cluster",)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # Ray starts several times


def test_drivers_workers_and_nodes_that_end_change_nothing(
    corpus_data: Path, corpus_model: Path, undisturbed: Callable[[], Path], tmp_path: Path
) -> None:
    """What each run leaves is not computed again, and the last one ends as if it were the first."""
    out = tmp_path / "out"
    words = command("score", corpus_data / "sub", out, corpus_model)
    end_a_driver(words, out, signal.SIGINT, 130)
    with two_nodes(environment(tmp_path)) as cluster:
        joined = [*words, "--address", cluster.address]
        end_a_driver(joined, out, signal.SIGTERM, 143)
        end_a_driver(joined, out, signal.SIGKILL, -9)
        with running([*joined, "--quiet"], tmp_path) as driver:
            kill_a_worker_and_a_node(cluster, out, driver)
            said = driver.communicate(timeout=TIMEOUT_SECONDS)
        assert (driver.returncode, said) == (0, ("", ""))
    expected = files_of(undisturbed())
    assert files_of(out) == {name: expected[f"sub/{name}"] for name in ("b.parquet", "c.parquet")}
    again = call_without_ray([*words, "--summary", str(tmp_path / "s.json")], tmp_path)
    assert (again.status, again.stderr) == (0, "")
    rows = json.loads((tmp_path / "s.json").read_text("utf-8"))["rows"]
    assert rows == len(TEXTS["sub/b"]) + len(TEXTS["sub/c"])
    for option, what in ((["--where", "tokens > 5"], "where"), (["--limit", "9"], "limit")):
        other = call_without_ray([*words, *option], tmp_path)
        assert other.status == 3
        expected_error = f"is of another run: its plan differs in {what} (None, now {option[1]})"
        assert expected_error in other.stderr


def parts_of(out: Path) -> dict[Path, int]:
    """The complete blocks of files that are not complete, and when they were written."""
    found = {}
    for path in out.rglob("_parts/**/*.json"):
        with contextlib.suppress(FileNotFoundError):  # its file has just been joined
            found[path] = path.stat().st_mtime_ns
    return found


def wait_for_a_part(out: Path, driver: Popen[str]) -> None:
    """Until one more block is complete."""
    seen = parts_of(out).keys()
    wait_for(lambda: parts_of(out).keys() - seen or driver.poll() is not None)
    assert driver.poll() is None


def end_a_driver(words: list[str], out: Path, sent: signal.Signals, status: int) -> None:
    """One worker computes, and the driver is ended; its own processes end with it."""
    kept = parts_of(out)
    with running([*words, "--workers", "1"], out.parent) as driver:
        wait_for_a_part(out, driver)
        below = processes_below(driver.pid)
        driver.send_signal(sent)
        said = driver.communicate(timeout=TIMEOUT_SECONDS)[1]
    assert driver.returncode == status
    assert "Traceback" not in said
    assert not (out / "_SUCCESS").exists()
    left = {path: written for path, written in kept.items() if path.parent.exists()}
    assert left.items() <= parts_of(out).items()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))


def kill_a_worker_and_a_node(cluster: Cluster, out: Path, driver: Popen[str]) -> None:
    """Each while blocks are computed."""
    wait_for_a_part(out, driver)
    os.kill(workers_of(cluster.pid)[0], signal.SIGKILL)
    wait_for_a_part(out, driver)
    cluster.kill_last()


def test_a_node_with_other_versions_is_refused_by_name(
    corpus_model: Path, ray_address: str, tmp_path: Path
) -> None:
    package = tmp_path / "packages" / "numpy-0.0.1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n")
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"content": ["x = 1\n"]}), tmp_path / "data" / "a.parquet")
    words = command("score", tmp_path / "data", tmp_path / "out", corpus_model)
    driver = environment(tmp_path) | {"PYTHONPATH": str(package.parent)}
    done = call([*words, "--address", ray_address], tmp_path, env=driver)
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("bigcode: error[cluster]: node 127.0.0.1 (")
    assert line.endswith(", the driver has 0.0.1")
    assert not (tmp_path / "out" / "_SUCCESS").exists()


def test_no_cluster_at_the_address(corpus_model: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"content": ["x = 1\n"]}), tmp_path / "data" / "a.parquet")
    for address in ("127.0.0.1:9", "nonsense"):
        words = command("score", tmp_path / "data", tmp_path / "out", corpus_model)
        done = call([*words, "--address", address], tmp_path)
        assert (done.returncode, done.stdout) == (3, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("bigcode: error[cluster]: Ray cannot be reached: ")
