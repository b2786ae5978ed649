"""Results of texts that have not changed are known without a model (H2), and nothing else is."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bigcode_cli.files import result_cache
from bigcode_cli.files.result_cache import ResultCache, hash_text, model_scope
from bigcode_cli.framework.options import ModelOptions
from gpt_bigcode.hardware import Precision
from program import TIMEOUT_SECONDS, Outcome, Run
from scripted_models import encode, numbered_lines, write_checkpoint

TEXT = numbered_lines(8)
PRIVATE = "name_of_nobody"
LOADED = " s to load"
Score = Callable[..., Outcome]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model", script=encode(numbered_lines(40)), positions=512)


@pytest.fixture
def score(run: Run, model: Path) -> Score:
    return lambda *arguments, **options: run("score", "-v", "-m", model, *arguments, **options)


def _folder(run: Run) -> Path:
    return Path(run.environment["HOME"]) / ".cache" / "bigcode" / "results"


def _kept(run: Run) -> list[Path]:
    return sorted(_folder(run).glob("*.json"))


def test_h2_a_second_run_loads_no_model_and_says_the_same(score: Score, run: Run) -> None:
    names = [f"{number}.py" for number in range(20)]
    for number, name in enumerate(names):
        (run.folder / name).write_text(f"{TEXT}# {number}\n", "utf-8")
    (run.folder / "binary").write_bytes(b"\0")
    (run.folder / "empty").write_bytes(b"")
    arguments = (*names, "binary", "empty", "--lines", "--format", "json")
    first, second = score(*arguments), score(*arguments)
    assert first.stderr.count(LOADED) == 1
    assert second.stderr.count(LOADED) == 0
    assert "20 of 22 files had been scored before" in second.stderr
    assert (second.status, second.stdout) == (0, first.stdout)
    assert score(*arguments, "--no-cache").stdout == first.stdout
    program = (sys.executable, "-X", "importtime", "-m", "bigcode_cli")
    done = score(*arguments, program=program)
    assert done.stdout == first.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"numpy", "torch", "tokenizers", "safetensors"} & imported == set()


def test_h2_only_what_has_changed_is_scored_again(score: Score, run: Run) -> None:
    for name in ("a.py", "b.py", "c.py"):
        (run.folder / name).write_text(f"{TEXT}# {name}\n", "utf-8")
    before = score("a.py", "b.py", "c.py", "--format", "json")
    (run.folder / "b.py").write_text(f"{TEXT}# @@@\n", "utf-8")
    (run.folder / "a.py").rename(run.folder / "d.py")  # the same text has the same value
    after = score("d.py", "b.py", "c.py", "--format", "json")
    assert "2 of 3 files had been scored before" in after.stderr
    assert after.stderr.count(LOADED) == 1
    values = [[entry["nll"] for entry in done.json["files"]] for done in (before, after)]
    assert values[0][0] == values[1][0]
    assert values[0][2] == values[1][2]
    alone = score("b.py", "--no-cache", "--format", "jsonl").json["nll"]
    assert alone == values[1][1] != values[0][1]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(["--window", "disjoint"], id="window"),
        pytest.param(["--stride", "7"], id="stride"),
        pytest.param(["--tokens"], id="tokens"),
        pytest.param(["--threads", "1"], id="threads"),
        pytest.param(["--no-cache"], id="no-cache"),
    ],
)
def test_what_a_value_depends_on_is_part_of_its_name(
    other: list[str], score: Score, run: Run
) -> None:
    (run.folder / "a.py").write_text(TEXT, "utf-8")
    assert LOADED in score("a.py").stderr
    assert LOADED not in score("a.py").stderr
    assert LOADED in score("a.py", *other).stderr


def test_another_model_under_the_same_name_is_another_model(
    score: Score, run: Run, model: Path
) -> None:
    (run.folder / "a.py").write_text(TEXT, "utf-8")
    first = score("a.py", "--format", "jsonl")
    status = (model / "model.safetensors").stat()
    data = bytearray((model / "model.safetensors").read_bytes())
    data[-4:] = b"\0\0\0\x3f"
    (model / "model.safetensors").write_bytes(data)
    os.utime(model / "model.safetensors", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (model / "model.safetensors").stat().st_size == status.st_size
    second = score("a.py", "--format", "jsonl")
    assert LOADED in second.stderr
    assert second.json["nll"] != first.json["nll"]


def test_every_part_of_a_scope_counts(model: Path) -> None:
    scopes = [
        model_scope(model, ModelOptions()),
        model_scope(model, ModelOptions(device="cpu")),
        model_scope(model, ModelOptions(precision=Precision.BFLOAT16)),
        model_scope(model, ModelOptions(threads=3)),
        model_scope(model.parent, ModelOptions()),
        {"job": "score"},
        {"job": "tag"},
    ]
    digests = {ResultCache.open(scope, enabled=False).scope for scope in scopes}
    assert len(digests) == len(scopes)


def test_no_text_is_kept_and_nobody_else_can_read_what_is(
    score: Score, run: Run, umask: Callable[[int], int]
) -> None:
    (run.folder / "a.py").write_text(f'x = "{PRIVATE}"\n' * 4, "utf-8")
    umask(0o022)
    for arguments in ([], ["--lines"], ["--tokens"], ["--heatmap"], ["--html", "page.html"]):
        score("a.py", *arguments)
    kept = _kept(run)
    assert len(kept) == 1  # all views share it
    for path in kept:
        data = path.read_bytes()
        assert PRIVATE.encode() not in data
        assert b'"id"' not in data  # token ids are a text
        assert path.stat().st_mode & 0o077 == 0
        assert PRIVATE not in str(path)
    assert _folder(run).stat().st_mode & 0o777 == 0o700


def test_all_views_share_what_was_computed_once(score: Score, run: Run) -> None:
    """Every view of a file that was scored before shows what it shows without a cache."""
    (run.folder / "a.py").write_text("\ufeff" + TEXT + "é = '日本'\r\n\r\nend", "utf-8")
    assert LOADED in score("a.py").stderr
    views = (
        *(["--lines"], ["--heatmap"], ["--worst", "2"], ["--sort", "--lines"]),
        *(["--lines", "--format", "json"], ["--format", "csv"], ["--html", "page.html"]),
    )
    for view in views:
        done, fresh = score("a.py", *view), score("a.py", *view, "--no-cache")
        assert LOADED not in done.stderr
        assert LOADED in fresh.stderr
        assert done.stdout == fresh.stdout
        if view[0] == "--html":
            page = (run.folder / "page.html").read_bytes()
            score("a.py", *view)
            assert (run.folder / "page.html").read_bytes() == page


def test_what_others_could_have_written_is_not_used(score: Score, run: Run) -> None:
    (run.folder / "a.py").write_text(TEXT, "utf-8")
    score("a.py")
    assert LOADED not in score("a.py").stderr
    _folder(run).chmod(0o777)
    assert LOADED in score("a.py").stderr
    _folder(run).chmod(0o700)
    (entry,) = _kept(run)
    entry.chmod(0o666)
    assert LOADED in score("a.py").stderr


def test_a_folder_that_is_a_link_is_left_alone(score: Score, run: Run, tmp_path: Path) -> None:
    (run.folder / "a.py").write_text(TEXT, "utf-8")
    mine = tmp_path / "mine"
    mine.mkdir()
    mine.chmod(0o755)  # whatever the umask is
    (mine / ".bashrc").write_text("x", "utf-8")
    _folder(run).parent.mkdir(parents=True)
    _folder(run).symlink_to(mine)
    for _ in range(2):
        assert LOADED in score("a.py").stderr
    assert [path.name for path in mine.iterdir()] == [".bashrc"]
    assert mine.stat().st_mode & 0o777 == 0o755


def test_a_damaged_entry_is_computed_again(score: Score, run: Run) -> None:
    (run.folder / "a.py").write_text(TEXT, "utf-8")
    first = score("a.py")
    (entry,) = _kept(run)
    whole = entry.read_bytes()
    for data in (b"", b"{}\n{}", whole[:-1], whole.replace(b'"windows":1', b'"windows":2')):
        assert data != whole
        entry.write_bytes(data)
        done = score("a.py")
        assert done.stdout == first.stdout
        assert LOADED in done.stderr
        assert LOADED not in score("a.py").stderr


@pytest.mark.parametrize("place", ["file", "unwritable"])
def test_without_a_folder_nothing_is_kept_and_nothing_fails(
    place: str, score: Score, run: Run, tmp_path: Path
) -> None:
    (run.folder / "a.py").write_text(TEXT, "utf-8")
    (tmp_path / "file").write_text("x", "utf-8")
    cache = {"file": str(tmp_path / "file"), "unwritable": "/proc/1"}[place]
    for _ in range(2):
        done = score("a.py", env={"XDG_CACHE_HOME": cache})
        assert done.status == 0
        assert LOADED in done.stderr
    assert [path.name for path in run.folder.iterdir()] == ["a.py"]


def test_standard_input_is_scored_every_time(score: Score) -> None:
    for _ in range(2):
        done = score(input=TEXT.encode())
        assert (done.status, done.stderr.count(LOADED)) == (0, 1)


def test_many_processes_at_once(run: Run, model: Path) -> None:
    for number in range(12):
        (run.folder / f"{number}.py").write_text(f"{TEXT}# {number}\n", "utf-8")
    command = ("score", "-m", model, "--format", "json", ".")
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = [run.start(*command, **pipes) for _ in range(4)]
    outputs = [process.communicate(timeout=TIMEOUT_SECONDS) for process in started]
    assert {process.returncode for process in started} == {0}
    assert len(set(outputs)) == 1
    assert outputs[0][1] == b""
    assert len(_kept(run)) == 12
    again = run(*command, "-v")
    assert "12 of 12 files" in again.stderr
    assert again.stdout == outputs[0][0]


def test_the_least_recently_used_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(result_cache, "LIMIT_ENTRIES", 10)
    cache = ResultCache.open({"job": "test"})
    assert cache.files is not None
    hashes = [str(number).encode() for number in range(40)]
    for number, text_hash in enumerate(hashes):
        cache.put(text_hash, {"value": number})
        os.utime(cache.files.file(cache._name(text_hash)), (number, number))
    assert cache.get(hashes[0]) == {"value": 0}  # now it is the newest of all
    cache.close()
    kept = [text_hash for text_hash in hashes if cache.get(text_hash) is not None]
    assert kept == [hashes[0], *hashes[-9:]]


def test_large_results_and_strange_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = ResultCache.open({"job": "test"})
    digest = hash_text()
    digest.update(b"text")
    cache.put(digest.digest(), "x" * result_cache.ENTRY_BYTES)
    assert cache.get(digest.digest()) is None
    values: tuple[Any, ...] = ({"a": [1, 0.1, None, "é"]}, [], "", 0, 1e300)
    for value in values:
        cache.put(digest.digest(), value)
        assert cache.get(digest.digest()) == value
    cache.writable = False
    cache.put(digest.digest(), "new")
    assert cache.get(digest.digest()) == 1e300
    assert ResultCache.open({"job": "other"}).get(digest.digest()) is None
