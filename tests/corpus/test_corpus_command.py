"""`bigcode corpus` on a real Ray, which starts for each call: results, going on, deaths."""

import contextlib
import gzip
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runs import BIGCODE, call, command, environment, files_of, wait_for, workers_of

pytestmark = pytest.mark.slow
TEXTS = [f"def f_{n}(x):\n    return x + {n}\n" * (n % 7 + 1) for n in range(3000)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of 1,500 rows with a nested column, each in ten blocks."""
    folder = tmp_path_factory.mktemp("data")
    for name, first in (("a", 0), ("sub/b", 1500)):
        meta = [{"n": n, "tags": [str(n)]} for n in range(first, first + 1500)]
        table = pa.table({"content": TEXTS[first : first + 1500], "meta": meta})
        (folder / name).parent.mkdir(exist_ok=True)
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=150)
    return folder


@pytest.fixture(scope="module")
def whole(
    data: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The files of a run that nothing disturbed."""
    home = tmp_path_factory.mktemp("home")
    summary = home / "summary.json"
    done = call(
        command("score", data, home / "out", tiny_checkpoint, "--summary", str(summary)), home
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert all(line.startswith("bigcode: ") for line in done.stderr.splitlines())
    counts = json.loads(summary.read_text("utf-8"))
    assert (counts["rows"], counts["failed"]) == (3000, 0)
    assert sum(counts["bits"].values()) == 3000
    return files_of(home / "out")


def test_rows_keep_their_columns_and_get_scores(whole: dict[str, bytes]) -> None:
    assert sorted(whole) == ["a.parquet", "sub/b.parquet"]
    table = pq.read_table(pa.BufferReader(whole["sub/b.parquet"]))
    assert table["content"].to_pylist() == TEXTS[1500:]
    assert table["meta"][3].as_py() == {"n": 1503, "tags": ["1503"]}
    assert set(table["status"].to_pylist()) == {"ok"}
    assert None not in table["nll"].to_pylist()


def test_a_killed_worker_changes_nothing(
    data: Path, tiny_checkpoint: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    words = command("score", data, tmp_path / "out", tiny_checkpoint, "--quiet")
    with subprocess.Popen(
        words, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        parts = tmp_path / "out" / "_parts"
        wait_for(lambda: list(parts.rglob("*.tmp-*")) or process.poll() is not None)
        for worker in workers_of(process.pid):
            os.kill(worker, signal.SIGKILL)
        said = process.communicate(timeout=300)
    assert (process.returncode, said) == (0, (b"", b""))
    assert files_of(tmp_path / "out") == whole


def parts_of(out: Path) -> dict[Path, int]:
    """The complete blocks of files that are not complete, and when they were written."""
    found = {}
    for path in out.rglob("_parts/**/*.json"):
        with contextlib.suppress(FileNotFoundError):  # its file has just been joined
            found[path] = path.stat().st_mtime_ns
    return found


ENDS = ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9))


def test_a_driver_that_was_ended_goes_on_where_it_was(
    data: Path, tiny_checkpoint: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    """Ctrl-C, SIGTERM, then kill -9; what each leaves is not computed again."""
    out = tmp_path / "out"
    words = command("score", data, out, tiny_checkpoint, "--workers", "1")
    kept: dict[Path, int] = {}
    for sent, status in ENDS:
        with subprocess.Popen(
            words, env=environment(tmp_path), stderr=subprocess.PIPE, text=True
        ) as process:
            wait_for(lambda: parts_of(out).keys() - kept.keys())  # noqa: B023
            process.send_signal(sent)
            said = process.communicate(timeout=3000)[1]
        assert process.returncode == status
        assert "Traceback" not in said
        assert not (out / "_SUCCESS").exists()
        now = parts_of(out)
        joined = {path for path in kept if not path.parent.exists()}
        assert {
            path: time for path, time in kept.items() if path not in joined
        }.items() <= now.items()
        kept = now
    done = call(words, tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert files_of(out) == whole
    again = call([*words, "--summary", str(tmp_path / "s.json")], tmp_path)
    assert (again.returncode, again.stderr) == (0, "")
    assert json.loads((tmp_path / "s.json").read_text("utf-8"))["rows"] == 3000
    for option, what in ((["--where", "tokens > 5"], "where"), (["--limit", "9"], "limit")):
        other = call([*words, *option], tmp_path)
        assert other.returncode == 3
        assert f"is of another run: plan differ in {what} (None, now {option[1]})" in other.stderr


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        (
            ["--text-column", "code"],
            2,
            "a.parquet: no column 'code' in the data; there are content, meta",
        ),
        (["--where", "bits <"], 2, "--where 'bits <'"),
        (["--where", "nope < 1"], 2, "has no column 'nope'"),
        (["--where", "content < 5"], 2, "--where 'content < 5'"),
        (["--workers", "0"], 2, "--workers"),
        (["--device", "cuda"], 2, "--device cuda needs --gpus-per-worker"),
        (["--summary", "/nosuch/folder/s.json"], 3, "/nosuch/folder"),
    ],
)
def test_wrong_calls_start_no_ray(
    data: Path, tiny_checkpoint: Path, tmp_path: Path, more: list[str], status: int, said: str
) -> None:
    done = call(command("score", data, tmp_path / "out", tiny_checkpoint, *more), tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_results_do_not_go_into_the_data(data: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    done = call(command("score", data, data / "out", tiny_checkpoint), tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--output {data / 'out'} is inside the data {data}" in done.stderr


def test_a_gpu_that_is_not_there(data: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    words = command("score", data, tmp_path / "out", tiny_checkpoint, "--gpus-per-worker", "16")
    done = call(words, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--gpus-per-worker 16: no node has more than" in done.stderr


def test_one_file_that_is_damaged_stops_no_other(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """And once it is mended, or gone, the same call completes the rest."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = pa.table({"content": [f"x = {n}\n" * 50 for n in range(300)]})
    for name in ("first", "last"):
        pq.write_table(rows, folder / f"{name}.parquet")
    pq.write_table(rows, folder / "pages.parquet", compression="zstd", row_group_size=100)
    damaged = bytearray((folder / "pages.parquet").read_bytes())
    middle = pq.ParquetFile(folder / "pages.parquet").metadata.row_group(1).column(0)
    start = middle.dictionary_page_offset or middle.data_page_offset
    damaged[start : start + middle.total_compressed_size] = bytes(middle.total_compressed_size)
    (folder / "pages.parquet").write_bytes(damaged)
    (folder / "end.parquet").write_bytes(damaged[: len(damaged) // 2])
    lines = gzip.compress(b'{"content": "a"}\n' * 1000)
    (folder / "cut.jsonl.gz").write_bytes(lines[: len(lines) // 2])
    (folder / "none.jsonl").write_bytes(b"")
    out = tmp_path / "out"
    words = command("score", folder, out, tiny_checkpoint)
    done = call(words, tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    error = done.stderr.splitlines()[-1]
    assert error.startswith("bigcode: error[input]: ")
    assert error.endswith("(and 2 more files)")
    assert any(name in error for name in ("pages.parquet", "end.parquet", "cut.jsonl.gz"))
    assert not (out / "_SUCCESS").exists()
    whole = {path.name: path.read_bytes() for path in out.glob("*.parquet")}
    assert sorted(whole) == ["first.parquet", "last.parquet", "none.jsonl.parquet"]
    for name in ("end.parquet", "cut.jsonl.gz"):
        (folder / name).unlink()
    pq.write_table(rows, folder / "end.parquet")
    shutil.copy(folder / "first.parquet", folder / "pages.parquet")
    again = call(words, tmp_path)
    assert (again.returncode, again.stdout) == (3, "")
    assert "is of another run: pages.parquet has changed" in again.stderr  # parts of it are there


def test_a_full_disk(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """One clear error, nothing half-written, and with room the same call goes on."""
    (tmp_path / "data").mkdir()
    noise = random.Random(3)
    texts = [f"x = {n}\n" for n in range(3000)]
    rows = pa.table({"content": texts, "noise": [noise.randbytes(2000) for _ in texts]})
    pq.write_table(rows, tmp_path / "data" / "a.parquet")
    words = command("score", tmp_path / "data", tmp_path / "disk" / "out", tiny_checkpoint)
    shown = shlex.join(words)
    script = f"""
        mkdir disk kept && mount -t tmpfs -o size=3m tmpfs disk || exit 99
        {shown} --quiet; echo $? > kept/status
        find disk -type f > kept/left
        mount -o remount,size=100m disk
        {shown} --quiet; echo $? > kept/again
        cp -r disk/out kept
        {shown.replace("/disk/", "/other/")} --quiet
    """
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(
        namespace,
        capture_output=True,
        text=True,
        check=False,
        timeout=3000,
        env=environment(tmp_path),
        cwd=tmp_path,
    )
    root = tmp_path / "disk" / "out"
    assert done.stderr == f"bigcode: error[output]: {root}: No space left on device\n"
    assert (tmp_path / "kept" / "status").read_text() == "3\n"
    left = (tmp_path / "kept" / "left").read_text().splitlines()
    assert not [name for name in left if ".tmp" in name or name.endswith("_SUCCESS")]
    assert (tmp_path / "kept" / "again").read_text() == "0\n"
    assert files_of(tmp_path / "kept" / "out") == files_of(tmp_path / "other" / "out")


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
    *("--batch-tokens=512", "--threads=1", "--quiet"),
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
