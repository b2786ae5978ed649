"""`bigcode corpus` on a real Ray, which starts for each call: results, going on, deaths."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

BIGCODE = str(Path(sys.executable).with_name("bigcode"))
pytestmark = pytest.mark.slow
TEXTS = [f"def f_{n}(x):\n    return x + {n}\n" * (n % 7 + 1) for n in range(3000)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of 1,500 rows with a nested column, in blocks of 1,024 and 476."""
    folder = tmp_path_factory.mktemp("data")
    for name, first in (("a", 0), ("sub/b", 1500)):
        meta = [{"n": n, "tags": [str(n)]} for n in range(first, first + 1500)]
        table = pa.table({"content": TEXTS[first : first + 1500], "meta": meta})
        (folder / name).parent.mkdir(exist_ok=True)
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def command(data: Path, out: Path, model: Path, *more: str) -> list[str]:
    options = ["-m", str(model), "--precision", "float32", "--workers", "2", "-o", str(out)]
    return [BIGCODE, "corpus", "score", str(data), *options, *more]


def call(words: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    return subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=300, env=environment
    )


@pytest.fixture(scope="module")
def whole(
    data: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The files of a run that nothing disturbed."""
    home = tmp_path_factory.mktemp("home")
    summary = home / "summary.json"
    done = call(command(data, home / "out", tiny_checkpoint, "--summary", str(summary)), home)
    assert (done.returncode, done.stdout) == (0, "")
    assert all(line.startswith("bigcode: ") for line in done.stderr.splitlines())
    counts = json.loads(summary.read_text("utf-8"))
    assert (counts["rows"], counts["failed"]) == (3000, 0)
    assert sum(counts["bits"].values()) == 3000
    return files_of(home / "out")


def files_of(out: Path) -> dict[str, bytes]:
    assert (out / "_SUCCESS").exists()
    assert not (out / "_parts").exists()
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.parquet")}


def test_rows_keep_their_columns_and_get_scores(whole: dict[str, bytes]) -> None:
    assert sorted(whole) == ["a.parquet", "sub/b.parquet"]
    table = pq.read_table(pa.BufferReader(whole["sub/b.parquet"]))
    assert table["content"].to_pylist() == TEXTS[1500:]
    assert table["meta"][3].as_py() == {"n": 1503, "tags": ["1503"]}
    assert set(table["status"].to_pylist()) == {"ok"}
    assert None not in table["nll"].to_pylist()


def workers_of(pid: int) -> Iterator[int]:
    """The processes of Ray's actors that compute, below one process."""
    shown = subprocess.run(
        ["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 2) for line in shown.stdout.splitlines()[1:]]
    below = {pid}
    for _ in range(6):
        below |= {int(row[0]) for row in rows if int(row[1]) in below}
    for number, _, arguments in rows:
        if int(number) in below and re.match(r"ray::.*MapWorker", arguments):
            yield int(number)


def wait_for(condition: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_killed_worker_changes_nothing(
    data: Path, tiny_checkpoint: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    words = command(data, tmp_path / "out", tiny_checkpoint, "--quiet")
    with subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        parts = tmp_path / "out" / "_parts"
        wait_for(lambda: list(parts.rglob("*.tmp-*")) or process.poll() is not None)
        for worker in workers_of(process.pid):
            os.kill(worker, signal.SIGKILL)
        said = process.communicate(timeout=300)
    assert (process.returncode, said) == (0, (b"", b""))
    assert files_of(tmp_path / "out") == whole


def test_a_killed_driver_goes_on_where_it_was(
    data: Path, tiny_checkpoint: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    out = tmp_path / "out"
    words = command(data, out, tiny_checkpoint)
    with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: list(out.rglob("_parts/**/*.json")) or process.poll() is not None)
        process.kill()
    if not (out / "_SUCCESS").exists():
        kept = {path: path.stat().st_mtime_ns for path in out.rglob("_parts/**/*.json")}
        assert kept
    done = call(words, tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert files_of(out) == whole
    again = call([*words, "--summary", str(tmp_path / "s.json")], tmp_path)
    assert (again.returncode, again.stderr) == (0, "")
    assert json.loads((tmp_path / "s.json").read_text("utf-8"))["rows"] == 3000
    other = call([*words, "--where", "tokens > 5"], tmp_path)
    assert other.returncode == 3
    assert "is of another run: plan differ in where (None, now tokens > 5)" in other.stderr


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        (["--text-column", "code"], 2, "no column 'code' in the data; there are content, meta"),
        (["--where", "bits <"], 2, "--where 'bits <'"),
        (["--where", "nope < 1"], 2, "has no column 'nope'"),
        (["--workers", "0"], 2, "--workers"),
    ],
)
def test_wrong_calls_start_no_ray(
    data: Path, tiny_checkpoint: Path, tmp_path: Path, more: list[str], status: int, said: str
) -> None:
    done = call(command(data, tmp_path / "out", tiny_checkpoint, *more), tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_without_the_extra_it_says_how_to_get_it(tmp_path: Path) -> None:
    script = (
        "import sys, importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'ray' else real(name, *a)\n"
        "from bigcode_cli.app import main\n"
        f"sys.exit(main(['corpus', 'score', 'x', '-o', {str(tmp_path / 'o')!r}]))"
    )
    done = call([sys.executable, "-c", script], tmp_path)
    assert done.returncode == 3
    assert done.stderr == (
        "bigcode: error[extra-missing]: bigcode corpus needs Ray Data and pyarrow\n"
        "hint: pip install 'bigcode-cli[corpus]' installs it\n"
    )


DATA_OPTIONS = (
    *("--output=out", "--text-column=content", "--where=tokens > 1", "--limit=5"),
    *("--format=jsonl", "--summary=sum.json", "--model=pocket-coder", "--device=cpu"),
    *("--precision=float32", "--address=auto", "--workers=1", "--gpus-per-worker=0"),
    *("--batch-tokens=512", "--quiet"),
)
GENERATION_OPTIONS = (
    *("--until=line", "--max-tokens=4", "--temperature=1", "--samples=1", "--seed=1", "--top-k=5"),
    *("--top-p=0.9", "--min-p=0.1", "--repetition-penalty=1.1", "--stop=x", "--time-budget=5"),
    *("--min-confidence=0.1", "--context=a.py", "--no-truncate", "--no-healing"),
    *("--no-speculation", "--no-prefix-cache"),
)


@pytest.mark.parametrize(
    ("job", "options"),
    [
        ("score", DATA_OPTIONS),
        ("classify", DATA_OPTIONS),
        ("tag", (*DATA_OPTIONS, "--redact", "--labels=KEY,EMAIL")),
        ("complete", (*DATA_OPTIONS, *GENERATION_OPTIONS)),
        ("infill", (*DATA_OPTIONS, *GENERATION_OPTIONS, "--suffix-column=suffix")),
    ],
)
def test_data_that_are_missing(job: str, options: tuple[str, ...], tmp_path: Path) -> None:
    """Every option is taken, and the data are looked at before Ray starts."""
    missing = str(tmp_path / "missing")
    known = [word for word in options if word.partition("=")[0] in options_of(job)]
    assert {"--output=out", "--where=tokens > 1"} <= set(known)
    done = call([BIGCODE, "corpus", job, missing, *known], tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"{missing}: No such file or directory" in done.stderr


def options_of(job: str) -> str:
    done = call([BIGCODE, "corpus", job, "--help"], Path.home())
    return done.stdout
