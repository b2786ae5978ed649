"""`bigcode corpus` on a real Ray: results, bad data, bad calls."""

import gzip
import json
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpt_bigcode.scoring.text_scorer import TextScorer
from program import BIGCODE
from runs import (
    TEXTS,
    call,
    call_without_ray,
    command,
    files_of,
)

pytest_plugins = ("shared_cluster",)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # Ray starts several times


def test_rows_of_every_size_keep_their_columns_and_get_scores(
    undisturbed: Callable[[], Path], corpus_model: Path
) -> None:
    out = undisturbed()
    files = files_of(out)
    assert sorted(files) == sorted(f"{name}.parquet" for name in (*TEXTS, "same"))
    assert files["same.parquet"] == files["one.parquet"]
    scorer = TextScorer.load(corpus_model, device="cpu", precision="float32")
    for name, texts in TEXTS.items():
        rows = pq.read_table(pa.BufferReader(files[f"{name}.parquet"])).to_pylist()
        assert [row["content"] for row in rows] == texts
        assert [row["meta"] for row in rows] == [
            {"n": n, "tags": [str(n)]} for n in range(len(texts))
        ]
        assert {row["status"] for row in rows} <= {"ok"}
        assert all(row["nll"] is not None for row in rows)
        for text, row in list(zip(texts, rows, strict=True))[:: max(len(texts) // 50, 1)]:
            score = scorer.score(text)
            assert row["tokens"] == score.tokens
            assert row["nll"] == pytest.approx(score.nll, rel=1e-5)
    counts = json.loads((out.parent / "summary.json").read_text("utf-8"))
    total = sum(map(len, TEXTS.values())) + 1
    assert (counts["rows"], counts["written"], counts["failed"]) == (total, total, 0)
    assert sum(counts["bits"].values()) == total


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        (
            ["--text-column", "code"],
            2,
            "large.parquet: no column 'code' in the data; there are content, meta",
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
    corpus_data: Path, corpus_model: Path, tmp_path: Path, more: list[str], status: int, said: str
) -> None:
    words = command("score", corpus_data, tmp_path / "out", corpus_model, *more)
    done = call_without_ray(words, tmp_path)
    assert (done.status, done.stdout) == (status, b"")
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_results_do_not_go_into_the_data(
    corpus_data: Path, corpus_model: Path, tmp_path: Path
) -> None:
    out = corpus_data / "out"
    done = call_without_ray(command("score", corpus_data, out, corpus_model), tmp_path)
    assert (done.status, done.stdout) == (2, b"")
    assert f"--output {out} is inside the data {corpus_data}" in done.stderr


def test_a_gpu_that_is_not_there(
    corpus_data: Path, corpus_model: Path, ray_address: str, tmp_path: Path
) -> None:
    more = ("--address", ray_address, "--gpus-per-worker", "16")
    done = call(command("score", corpus_data, tmp_path / "out", corpus_model, *more), tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--gpus-per-worker 16: no node has more than" in done.stderr


def test_one_file_that_is_damaged_stops_no_other(
    corpus_model: Path, ray_address: str, tmp_path: Path
) -> None:
    """And once it is mended, or gone, the same call completes the rest."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = pa.table({"content": [f"x = {n}\n" * 20 for n in range(300)]})
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
    words = command("score", folder, out, corpus_model)
    done = call([*words, "--address", ray_address], tmp_path)
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
    again = call_without_ray(words, tmp_path)
    assert (again.status, again.stdout) == (3, b"")
    assert "is of another run: pages.parquet has changed" in again.stderr  # parts of it are there


def test_a_full_disk(
    corpus_data: Path, corpus_model: Path, tmp_path: Path, undisturbed: Callable[[], Path]
) -> None:
    """One clear error, nothing half-written, and with room the same call goes on."""
    data = corpus_data / "sub" / "b.parquet"
    words = command("score", data, tmp_path / "disk" / "out", corpus_model)
    shown = shlex.join([*words, "--quiet"])
    script = f"""
        mkdir disk kept && mount -t tmpfs -o size=64k tmpfs disk || exit 99
        {shown}; echo $? > kept/status
        find disk -type f > kept/left
        mount -o remount,size=100m disk
        {shown}; echo $? > kept/again
        cp -r disk/out kept
    """
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    done = call(namespace, tmp_path, cwd=tmp_path)
    root = tmp_path / "disk" / "out"
    assert done.stderr == f"bigcode: error[output]: {root}: No space left on device\n"
    assert (tmp_path / "kept" / "status").read_text() == "3\n"
    left = (tmp_path / "kept" / "left").read_text().splitlines()
    assert [name for name in left if "/_parts/" in name]
    assert not [name for name in left if ".tmp" in name or name.endswith("_SUCCESS")]
    assert (tmp_path / "kept" / "again").read_text() == "0\n"
    found = files_of(tmp_path / "kept" / "out")
    assert found == {"b.parquet": files_of(undisturbed())["sub/b.parquet"]}


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
        ("score", (*DATA_OPTIONS, "--threads=1")),
        ("classify", DATA_OPTIONS),
        ("tag", (*DATA_OPTIONS, "--redact", "--labels=KEY,EMAIL")),
        ("complete", (*DATA_OPTIONS, *GENERATION_OPTIONS)),
        ("infill", (*DATA_OPTIONS, *GENERATION_OPTIONS, "--suffix-column=suffix")),
    ],
)
def test_data_that_are_missing(job: str, options: tuple[str, ...], tmp_path: Path) -> None:
    """Every option is taken, and the data are looked at before Ray starts."""
    missing = str(tmp_path / "missing")
    shown = call_without_ray([BIGCODE, "corpus", job, "--help"], tmp_path).stdout.decode()
    known = [word for word in options if word.partition("=")[0] in shown]
    assert {"--output=out", "--where=tokens > 1"} <= set(known)
    done = call_without_ray([BIGCODE, "corpus", job, missing, *known], tmp_path)
    assert (done.status, done.stdout) == (3, b"")
    assert f"{missing}: No such file or directory" in done.stderr
