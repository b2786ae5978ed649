"""`bigcode classify`: files, folders and pipes; labels, formats, gates and exit codes."""

import csv
import io
import json
import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from git_repository import Repository
from program import BIGCODE, Outcome, Run
from scripted_models import write_classifier

ENDINGS = {"Python": b"p", "C": b"c", "größer": b"g"}
CONTEXT, SHARP = 64, 4.0
SURE = math.exp(SHARP) / (math.exp(SHARP) + 2)  # of a window that ends with a label's byte
OTHER = 1 / (math.exp(SHARP) + 2)
EVEN = 1 / 3
Classify = Callable[..., Outcome]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "languages"
    return write_classifier(folder, ENDINGS, positions=CONTEXT, sharp=SHARP)


@pytest.fixture
def classify(run: Run, model: Path) -> Classify:
    return lambda *arguments, **options: run("classify", "-m", model, *arguments, **options)


def test_the_label_of_a_file(classify: Classify, run: Run) -> None:
    run.write("a.py", "x = 1 # p")
    done = classify("a.py", "--format", "jsonl")
    assert (done.status, done.stderr) == (0, "")
    assert done.json == {
        "path": "a.py",
        "status": "ok",
        "label": "Python",
        "score": pytest.approx(SURE, abs=1e-3),
        "scores": {
            "Python": pytest.approx(SURE, abs=1e-3),
            "C": pytest.approx(OTHER, abs=1e-3),
            "größer": pytest.approx(OTHER, abs=1e-3),
        },
        "tokens": 9,
        "bytes": 9,
        "windows": 1,
    }
    assert next(iter(done.json["scores"])) == "Python"
    assert classify("a.py").stdout == b"a.py: Python 0.965\n"


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_standard_input(arguments: list[str], classify: Classify) -> None:
    done = classify(*arguments, "--format", "jsonl", input=b"\xef\xbb\xbfx g")
    assert (done.json["path"], done.json["bytes"], done.json["label"]) == ("-", 3, "größer")
    assert classify(*arguments, input=b"x c").stdout == b"-: C 0.965\n"


def test_g1_files_in_any_order_have_the_same_labels(classify: Classify, run: Run) -> None:
    names = []
    for number in range(8):
        names.append(f"{number}.py")
        run.write(names[-1], "word " * 7 * number + "pcgx"[number % 4])
    together = classify(*names, "--format", "json").by_path
    assert together == classify(*reversed(names), "--format", "json").by_path
    for name in names[:5]:
        assert classify(name, "--format", "jsonl").json == together[name]
    assert [together[name]["label"] for name in names[:3]] == ["Python", "C", "größer"]
    assert together["3.py"]["score"] == pytest.approx(EVEN, abs=1e-3)


def test_g1_special_tokens_in_a_file_are_text(classify: Classify, run: Run) -> None:
    """The file's last token is read even if it looks like the padding token."""
    run.write("a.py", "x p<|endoftext|>")
    entry = classify("a.py", "--format", "jsonl").json
    assert entry["tokens"] == 3 + len("<|endoftext|>")
    assert entry["score"] == pytest.approx(EVEN, abs=1e-3)


def test_g2_every_window_of_a_long_file_counts(classify: Classify, run: Run) -> None:
    """Three windows for one label, at the start, in the middle and at the end; one against it."""
    window = "x" * (CONTEXT - 1)
    run.write("a.py", f"{window}p{window}c{window}p{window}p")
    entry = classify("a.py", "--windows", "--format", "jsonl").json
    assert (entry["windows"], entry["tokens"]) == (4, 4 * CONTEXT)
    parts = entry["window_labels"]
    assert [part["label"] for part in parts] == ["Python", "C", "Python", "Python"]
    assert [(part["start"], part["end"]) for part in parts] == [
        (64 * place, 64 * place + 64) for place in range(4)
    ]
    assert [part["score"] for part in parts] == pytest.approx([SURE] * 4, abs=1e-3)
    # The mean of the logits of windows of equal length.
    weights = [math.exp(SHARP * 3 / 4), math.exp(SHARP / 4), 1]
    expected = {name: value / sum(weights) for name, value in zip(ENDINGS, weights, strict=True)}
    assert entry["scores"] == pytest.approx(expected, abs=1e-3)
    assert "window_labels" not in classify("a.py", "--format", "jsonl").json
    shown = classify("a.py", "--windows").stdout.decode().splitlines()
    assert shown == [
        "a.py: bytes 0-64: Python 0.965",
        "a.py: bytes 64-128: C 0.965",
        "a.py: bytes 128-192: Python 0.965",
        "a.py: bytes 192-256: Python 0.965",
        f"a.py: Python {expected['Python']:.3f}",
    ]


@pytest.mark.parametrize("length", [1, 63, 64, 65, 66, 128, 129, 640])
def test_d1_no_window_exceeds_the_context(length: int, classify: Classify, run: Run) -> None:
    run.write("a.py", "\ufeff" + "x" * (length - 1) + "p")
    entry = classify("a.py", "--windows", "--format", "jsonl").json
    parts = entry["window_labels"]
    assert entry["windows"] == len(parts) == math.ceil(length / CONTEXT)
    sizes = [part["tokens"] for part in parts]
    assert sum(sizes) == entry["tokens"] == length
    assert max(sizes) <= CONTEXT
    assert length <= CONTEXT or min(sizes) >= CONTEXT // 2
    assert (parts[0]["start"], parts[-1]["end"]) == (3, length + 3)
    assert parts[-1]["label"] == "Python"


def test_d2_nothing_is_truncated(classify: Classify, run: Run) -> None:
    """The end of a file a hundred windows long still weighs what its tokens weigh."""
    window = "x" * (CONTEXT - 1)
    run.write("a.py", f"{window}x" * 99 + f"{window}p")
    done = classify("a.py", "--format", "jsonl")
    assert (done.stderr, done.json["windows"]) == ("", 100)
    logit = math.log(done.json["scores"]["Python"] / done.json["scores"]["C"])
    assert logit == pytest.approx(SHARP / 100, abs=1e-4)


def test_d3_a_file_beyond_the_limit_is_skipped(classify: Classify, run: Run) -> None:
    with (run.folder / "big").open("wb") as file:
        file.write(b"x" * (100 * 10**6 + 1))
    run.write("a.py", "p")
    done = classify("big", "a.py", "--format", "json")
    assert done.by_path["big"]["reason"] == "too-large"
    assert done.status == 0


def test_d3_memory_does_not_grow_with_the_file(run: Run, model: Path) -> None:
    peaks = []
    program = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    for name, lines in (("small.py", 1_000), ("large.py", 10_000)):
        (run.folder / name).write_text("x = 1 + 2 # ab\n" * lines, "utf-8")
        command = (BIGCODE, "classify", "-m", model, name)
        done = run(*command, program=(sys.executable, "-c", program))
        assert done.status == 0
        peaks.append(int(done.stdout.splitlines()[-1]))
    assert peaks[1] < peaks[0] + 4 * 1024  # kilobytes


@pytest.mark.parametrize(
    ("name", "data", "slug", "where"),
    [
        pytest.param("a.png", b"\x89PNG\r\n\x1a\n\0", "binary", "offset 8", id="png"),
        pytest.param("b.gz", b"\x1f\x8b\x08\x00", "binary", "offset 3", id="gzip"),
        pytest.param("c.txt", b"x" * 70_000 + b"\0", "binary", "offset 70000", id="late"),
        pytest.param("d.txt", b"caf\xe9 x", "input-encoding", "0xe9 at offset 3", id="latin1"),
        pytest.param("e.txt", "x".encode("utf-16"), "input-encoding", "is UTF-16", id="utf16"),
    ],
)
def test_d4_what_is_no_text_is_refused_alone_and_skipped_among_others(
    name: str, data: bytes, slug: str, where: str, classify: Classify, run: Run
) -> None:
    run.write(name, data)
    run.write("good.py", "p")
    alone = classify(name, "--format", "json")
    assert alone.status == 3
    assert f"error[{slug}]: {name}: " in alone.stderr
    assert where in alone.stderr
    entry = alone.json["files"][0]
    assert (entry["status"], entry["label"], entry["scores"]) == ("error", None, {})
    run.write("other.py", "p")
    many = classify("good.py", name, "other.py", "--format", "json")
    assert many.status == 0
    assert [entry["status"] for entry in many.json["files"]] == ["ok", "skipped", "ok"]
    assert many.json["files"][1]["reason"] == slug
    assert f"note: {name}: skipped: " in many.stderr
    assert classify("good.py", name, "-q").stderr == ""
    assert many.json["summary"]["skipped"] == 1


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_label(data: bytes, classify: Classify, run: Run) -> None:
    run.write("empty", data)
    done = classify("empty", "--format", "json", "--expect", "C")
    assert done.status == 0
    entry = done.json["files"][0]
    assert (entry["status"], entry["reason"]) == ("skipped", "empty")
    assert (entry["label"], entry["score"], entry["scores"]) == (None, None, {})
    assert (entry["windows"], done.json["summary"]["labels"]) == (0, {})
    assert classify(input=data).status == 0
    assert classify("empty").stdout == b""


def test_folders_are_searched_without_what_gitignore_excludes(classify: Classify, run: Run) -> None:
    repository = Repository.create(run.folder)
    for name in ("src/a.py", "src/deep/b.py", "build/x.py", "src/a.log", ".hidden/y.py"):
        run.write(name, "p")
    run.write(".gitignore", "build/\n*.log\n")
    run.write("src/image.png", b"\x89PNG\0")
    before = repository.state()
    done = classify(".", "--format", "json")
    assert (done.status, done.stderr) == (0, "bigcode: note: 1 of 3 files skipped (1 binary)\n")
    assert repository.state() == before
    statuses = {os.path.normpath(path): e["status"] for path, e in done.by_path.items()}
    assert statuses == {"src/a.py": "ok", "src/deep/b.py": "ok", "src/image.png": "skipped"}
    assert "./src/image.png: skipped: NUL byte" in classify(".", "-v").stderr
    assert list(classify("build", "--format", "json").by_path) == ["build/x.py"]
    (run.folder / "nothing").mkdir()
    empty = classify("nothing", "--format", "json")
    assert (empty.status, empty.json["files"]) == (0, [])
    assert empty.stderr == "bigcode: note: no files to classify\n"


def test_the_best_labels(classify: Classify, run: Run) -> None:
    run.write("a.py", "x" * 63 + "p" + "x" * 63 + "g" + "x" * 63 + "p")
    weights = [math.exp(SHARP * 2 / 3), math.exp(SHARP / 3), 1]
    first, second = weights[0] / sum(weights), weights[1] / sum(weights)
    expected = f"a.py: Python {first:.3f}, größer {second:.3f}\n".encode()
    assert classify("a.py", "--top", "2").stdout == expected
    scores = classify("a.py", "--top", "1", "--format", "jsonl").json["scores"]
    assert list(scores) == ["Python"]
    assert len(classify("a.py", "--top", "9", "--format", "jsonl").json["scores"]) == 3
    for bad in ("0", "x", "1.5"):
        assert classify("a.py", "--top", bad).status == 2


def test_csv_tables(classify: Classify, run: Run) -> None:
    run.write('a,"b".py', "x" * 63 + "p" + "x" * 63 + "c" + "x" * 63 + "p")
    run.write("bad", b"\0")

    def table(*options: str) -> list[dict[str, str]]:
        done = classify('a,"b".py', "bad", "--format", "csv", *options)
        return list(csv.DictReader(io.StringIO(done.stdout.decode())))

    files = table("--expect", "C")
    assert [(row["path"], row["status"], row["label"]) for row in files] == [
        *(('a,"b".py', "ok", "Python"), ("bad", "skipped", "")),
    ]
    assert [(row["reason"], row["verdict"], row["windows"]) for row in files] == [
        *(("", "fail", "3"), ("binary", "", "")),
    ]
    assert [row["label"] for row in table("--top", "2")] == ["Python", "C", ""]
    windows = table("--windows")
    assert [(row["start"], row["end"], row["label"]) for row in windows] == [
        *(("0", "64", "Python"), ("64", "128", "C"), ("128", "192", "Python")),
    ]
    assert float(windows[0]["score"]) == pytest.approx(SURE, abs=1e-3)


def test_names_of_every_kind(classify: Classify, run: Run) -> None:
    names = [b"a b", b"new\nline", b"-x", b"[/foo]", b"\xff", b"\x1b[31m", b"x" * 255, b"0:x"]
    for name in names:
        run.write(name, "x = 1 p")
    done = classify("--format", "json", "--", *names)
    assert done.status == 0
    assert [os.fsencode(entry["path"]) for entry in done.json["files"]] == names
    assert done.json["files"][4]["path_b64"] == "/w=="
    shown = classify("--", *names).stdout
    assert b"\x1b" not in shown
    assert shown.count(b"\n") == len(names) + 1


def test_several_labels_may_hold(run: Run, tmp_path: Path) -> None:
    problem: dict[str, Any] = {"problem_type": "multi_label_classification"}
    endings = {"web": b"wb", "test": b"tb", "data": b"d"}
    folder = write_classifier(tmp_path / "topics", endings, sharp=3.0, other=-2.0, **problem)
    for name in ("w", "b", "x"):
        run.write(name, name)
    run.write("long", "x" * 63 + "w" + "x" * 63 + "b")
    yes, no = 1 / (1 + math.exp(-3)), 1 / (1 + math.exp(2))
    done = run("classify", "-m", folder, "w", "b", "x", "long", "--format", "json")
    entries = done.by_path
    expected = {"web": yes, "test": yes, "data": no}
    assert entries["b"]["scores"] == pytest.approx(expected, abs=1e-3)
    assert (entries["b"]["label"], set(entries["b"]["labels"])) in [
        *(("web", {"web", "test"}), ("test", {"web", "test"})),
    ]
    assert (entries["w"]["label"], entries["w"]["labels"]) == ("web", ["web"])
    assert (entries["x"]["label"], entries["x"]["score"], entries["x"]["labels"]) == (
        None,
        None,
        [],
    )
    assert entries["x"]["scores"]["data"] == pytest.approx(no, abs=1e-3)
    half = 1 / (1 + math.exp(-0.5))  # the mean of 3 and -2
    expected = {"web": yes, "test": half, "data": no}
    assert entries["long"]["scores"] == pytest.approx(expected, abs=1e-3)
    assert done.json["summary"]["problem"] == "multi-label"
    shown = run("classify", "-m", folder, "long", "x", "--expect", "test", "--min-score", "0.8")
    assert shown.status == 1
    assert shown.stdout.decode().splitlines()[:2] == [
        f"long: web {yes:.3f}, test {half:.3f}; score {half:.3f} is below 0.8",
        "x: no label; not test",
    ]
    assert run("classify", "-m", folder, "x", "--min-score", "0").status == 1


def test_a_regression_prints_numbers(run: Run, tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "quality", {"quality": b"q"}, sharp=-7.5)
    run.write("a.py", "x" * 63 + "q" + "x" * 63 + "x")
    run.write("b.py", "q")
    done = run("classify", "-m", folder, "a.py", "b.py", "--windows", "--format", "json")
    first, second = done.json["files"]
    assert (first["value"], second["value"]) == pytest.approx((-3.75, -7.5), abs=1e-2)
    assert first["scores"] == {"quality": first["value"]}
    assert (first["label"], first["score"]) == (None, None)
    assert [part["value"] for part in first["window_labels"]] == pytest.approx([-7.5, 0], abs=1e-2)
    assert done.json["summary"]["mean"] == pytest.approx(-5.625, abs=1e-2)
    assert done.json["summary"]["labels"] is None
    shown = run("classify", "-m", folder, "b.py").stdout.decode()
    assert float(shown.removeprefix("b.py: ")) == pytest.approx(-7.5, abs=1e-2)
    for option, value in (("--expect", "quality"), ("--min-score", "0.5"), ("--top", "1")):
        refused = run("classify", "-m", folder, "b.py", option, value)
        assert (refused.status, refused.stdout) == (2, b"")
        assert f"{option}: {folder} predicts numbers, not labels" in refused.stderr


def test_labels_without_names(run: Run, model: Path) -> None:
    shutil.copytree(model, run.folder / "plain")
    path = run.folder / "plain" / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config |= {"id2label": None, "num_labels": 3}
    path.write_text(json.dumps(config), "utf-8")
    run.write("a.py", "c")
    assert run("classify", "-m", "./plain", "a.py").stdout == b"a.py: LABEL_1 0.965\n"
