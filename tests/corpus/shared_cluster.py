"""What all workers of pytest share: a cluster, and a run on it that nothing disturbed.

Ray takes seconds of processor time to start, so runs that need no cluster of their own join this
one. This is a plugin that the modules here name, and no `conftest.py`, of which mypy takes one.
"""

import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nodes
from runs import TEXTS, call, command, environment, model_of_runs, wait_for


@contextmanager
def shared_folder(factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """A folder for all workers of pytest; only one of them is in the block at a time."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


@pytest.fixture(scope="session")
def ray_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of one node for all tests; it ends when the last worker of pytest does.

    Its standard input is a pipe that every worker holds open, so it ends even if one is killed.
    """
    with shared_folder(tmp_path_factory, "ray") as folder:
        pipe, said = folder / "pipe", folder / "said"
        if not pipe.exists():
            os.mkfifo(pipe)
        try:
            held = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads it: there is no cluster yet
            reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
            held = os.open(pipe, os.O_WRONLY)
            os.set_blocking(reader, True)
            said.write_bytes(b"")
            nothing = os.open(os.devnull, os.O_WRONLY)
            answer = os.open(said, os.O_WRONLY)
            # No `Popen`, which would want to see the end of a process that others still need.
            os.posix_spawn(
                sys.executable,
                [sys.executable, nodes.__file__, "1"],
                environment(folder),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, reader, 0),
                    (os.POSIX_SPAWN_DUP2, answer, 1),
                    (os.POSIX_SPAWN_DUP2, nothing, 2),
                ],
                setsid=True,
            )
            for number in (reader, answer, nothing):
                os.close(number)
        wait_for(lambda: said.read_bytes().endswith(b"\n"))
    yield str(json.loads(said.read_bytes())["address"])
    os.close(held)


@pytest.fixture(scope="session")
def corpus_model(make_checkpoint: Callable[..., Path]) -> Path:
    return model_of_runs(make_checkpoint("corpus", vocab_size=448))


@pytest.fixture(scope="session")
def corpus_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows of `TEXTS` with a nested column; `b` and `c` are ten blocks each, `same` a copy."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "sub").mkdir()
    for name, texts in TEXTS.items():
        meta = pa.array(
            [{"n": n, "tags": [str(n)]} for n in range(len(texts))],
            pa.struct([("n", pa.int64()), ("tags", pa.list_(pa.string()))]),
        )
        table = pa.table({"content": pa.array(texts, pa.string()), "meta": meta})
        group = 120 if name.startswith("sub/") else None
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=group)
    (folder / "same.parquet").write_bytes((folder / "one.parquet").read_bytes())
    return folder


@pytest.fixture(scope="session")
def undisturbed(
    corpus_data: Path,
    corpus_model: Path,
    ray_address: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[], Path]:
    """A call gives the folder of a run over `corpus_data` that nothing disturbed.

    Its summary is beside it. A test that calls late does not wait for the worker that computes it.
    """

    def found() -> Path:
        with shared_folder(tmp_path_factory, "undisturbed") as folder:
            out, summary = folder / "out", folder / "summary.json"
            if not (folder / "passed").exists():
                more = ("--address", ray_address, "--summary", str(summary))
                done = call(command("score", corpus_data, out, corpus_model, *more), folder)
                assert (done.returncode, done.stdout) == (0, "")
                assert all(line.startswith("bigcode: ") for line in done.stderr.splitlines())
                (folder / "passed").touch()
        return out

    return found
