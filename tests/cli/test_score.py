"""`bigcode score`: files, folders and pipes; values, formats, gates and exit codes."""

import csv
import io
import json
import math
import os
import pty
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from program import BIGCODE, Outcome, Run, on_terminal
from scripted_models import numbered_lines

VOCABULARY = 275
BITS = math.log2(VOCABULARY)  # a byte, each of them a token, where all logits are equal
GOOD = numbered_lines(8)  # what the numbered model expects
BAD = "@@ %^&*() ~~\n" * 3
Score = Callable[..., Outcome]


@pytest.fixture
def score(run: Run, uniform: Path) -> Score:
    return lambda *arguments, **options: run("score", "-m", uniform, *arguments, **options)


def test_the_values_of_a_file(score: Score, run: Run) -> None:
    run.write("a.py", "x = 1\r\n\ty")
    done = score("a.py", "--format", "jsonl")
    assert (done.status, done.stderr) == (0, "")
    assert done.json == {
        "path": "a.py",
        "status": "ok",
        "tokens": 9,
        "bytes": 9,
        "nll": pytest.approx(9 * math.log(VOCABULARY), rel=1e-12),
        "bits_per_byte": pytest.approx(BITS, rel=1e-12),
        "perplexity": pytest.approx(VOCABULARY, rel=1e-12),
        "windows": 1,
    }
    assert score("a.py").stdout == b"a.py: 8.103 bits/byte, perplexity 275, 9 tokens\n"


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_standard_input(arguments: list[str], score: Score) -> None:
    done = score(*arguments, "--format", "jsonl", input=b"x = 1\n")
    assert (done.json["path"], done.json["bytes"]) == ("-", 6)


@pytest.mark.parametrize(
    ("name", "data", "slug", "where"),
    [
        pytest.param("a.bin", b"ab\0c", "binary", "offset 2", id="binary"),
        pytest.param("b.txt", b"x" * 70_000 + b"\0", "binary", "offset 70000", id="late"),
        pytest.param("c.txt", b"caf\xe9 x", "input-encoding", "0xe9 at offset 3", id="latin1"),
        pytest.param("d.txt", b"x" * 65_535 + b"\xc3", "input-encoding", "65535", id="cut"),
        pytest.param("e.txt", "x".encode("utf-16"), "input-encoding", "is UTF-16", id="utf16"),
    ],
)
def test_d4_what_is_no_text_is_refused_alone_and_skipped_among_others(
    name: str, data: bytes, slug: str, where: str, score: Score, run: Run
) -> None:
    run.write(name, data)
    run.write("good.py", "x = 1\n")
    alone = score(name, "--format", "json")
    assert alone.status == 3
    assert f"error[{slug}]: {name}: " in alone.stderr
    assert where in alone.stderr
    assert alone.json["files"][0]["status"] == "error"
    run.write("other.py", "x = 1\n")
    many = score("good.py", name, "other.py", "--format", "json")
    assert many.status == 0
    assert [entry["status"] for entry in many.json["files"]] == ["ok", "skipped", "ok"]
    assert many.json["files"][1]["reason"] == slug
    assert where in many.json["files"][1]["detail"]
    assert f"note: {name}: skipped: " in many.stderr
    assert many.json["summary"]["skipped"] == 1


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf"])
def test_nothing_to_score_is_null(data: bytes, score: Score, run: Run) -> None:
    run.write("empty", data)
    done = score("empty", "--format", "json", "--max-bits-per-byte", "0")
    assert done.status == 0
    entry = done.json["files"][0]
    assert (entry["status"], entry["reason"]) == ("skipped", "empty")
    for values in (entry, done.json["summary"]):
        assert values["tokens"] == 0
        assert values["nll"] is values["bits_per_byte"] is values["perplexity"] is None
    assert score(input=data).status == 0


def test_h3_one_bad_file_does_not_stop_the_others(score: Score, run: Run) -> None:
    run.write("a.py", "x\n")
    run.write("b.py", "x\n")
    done = score("a.py", "gone.py", "b.py", "--format", "jsonl", "--max-bits-per-byte", "1")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.status == 3
    assert [line["status"] for line in lines] == ["ok", "error", "ok"]
    assert done.stderr == "bigcode: error[input]: gone.py: No such file or directory\n"


def test_a_byte_order_mark_is_not_scored(score: Score, run: Run) -> None:
    run.write("a.py", "\ufeffab\ncd\n")
    done = score("a.py", "--format", "jsonl", "--lines", "--tokens").json
    assert done["bytes"] == 6
    assert [(line["start"], line["end"]) for line in done["lines"]] == [(0, 6), (6, 9)]
    assert [token["start"] for token in done["token_scores"]] == [3, 4, 5, 6, 7, 8]


def test_f2_files_in_any_order_have_the_same_values(expect: Score, run: Run) -> None:
    names = []
    for number in range(6):
        names.append(f"{number}.py")
        run.write(names[-1], numbered_lines(3 * number + 1)[number:])
    together = expect(*names, "--format", "json").by_path
    backwards = expect(*reversed(names), "--format", "json").by_path
    assert together == backwards
    for name in names:
        assert expect(name, "--format", "jsonl").json == together[name]


def test_f3_the_sum_of_files_is_pooled(score: Score, expect: Score, run: Run) -> None:
    run.write("a.py", GOOD)
    run.write("b.py", BAD)
    done = expect("a.py", "b.py", "--format", "json").json
    files, summary = done["files"], done["summary"]
    for name in ("nll", "bytes", "tokens"):
        assert summary[name] == pytest.approx(files[0][name] + files[1][name])
    expected = summary["nll"] / summary["bytes"] / math.log(2)
    assert summary["bits_per_byte"] == pytest.approx(expected)
    text = score("a.py", "b.py").stdout.decode().splitlines()
    count = len(GOOD) + len(BAD)
    assert text[-1] == f"2 files: 8.103 bits/byte, perplexity 275, {count} tokens"


@pytest.mark.parametrize(
    ("options", "windows"),
    [
        pytest.param([], 1 + math.ceil(136 / 32), id="default"),
        pytest.param(["--stride", "64"], 4, id="stride"),
        pytest.param(["--stride", "1"], 137, id="one-by-one"),
        pytest.param(["--window", "disjoint"], 4, id="disjoint"),
        pytest.param(["--window", "strided", "--stride", "40"], 5, id="forty"),
    ],
)
def test_f3_a_long_file_is_scored_once(
    options: list[str], windows: int, score: Score, run: Run
) -> None:
    run.write("a.py", "0123456789" * 20)
    done = score("a.py", *options, "--format", "json").json
    assert (done["files"][0]["tokens"], done["files"][0]["windows"]) == (200, windows)
    assert done["files"][0]["perplexity"] == pytest.approx(VOCABULARY, rel=1e-12)
    assert done["summary"]["context_length"] == 64
    disjoint = "disjoint" in options
    assert done["summary"]["window"] == ("disjoint" if disjoint else "strided")
    stride = int(options[-1]) if "--stride" in options else 32
    assert done["summary"]["stride"] == (None if disjoint else stride)


def test_f3_full_refuses_what_does_not_fit(score: Score, run: Run) -> None:
    run.write("a.py", "x" * 64)
    run.write("b.py", "x" * 65)
    done = score("a.py", "b.py", "--window", "full", "--format", "json")
    assert done.status == 3
    assert [entry["status"] for entry in done.json["files"]] == ["ok", "error"]
    assert "error[context]: b.py: the text has " in done.stderr


def test_f4_lines_point_into_the_file(expect: Score, run: Run) -> None:
    lines = GOOD.splitlines(keepends=True)
    text = "".join([*lines[:3], "?" * (len(lines[3]) - 1) + "\n", *lines[4:]])
    run.write("a.py", text)
    done = expect("a.py", "--lines", "--format", "jsonl").json
    worst = max(done["lines"], key=lambda line: line["bits_per_byte"])
    assert worst["line"] == 4
    assert text.encode()[worst["start"] : worst["end"]].startswith(b"????")
    assert sum(line["nll"] for line in done["lines"]) == pytest.approx(done["nll"])
    shown = expect("a.py", "--lines").stdout.decode().splitlines()
    assert shown[3].startswith("a.py:4: ")
    assert shown[-1].startswith("a.py: ")
    assert len(shown) == 9


def test_tokens_tile_the_file(score: Score, run: Run) -> None:
    run.write("a.py", "é\n😀")
    tokens = score("a.py", "--tokens", "--format", "jsonl").json["token_scores"]
    assert [(t["start"], t["end"]) for t in tokens] == [(n, n + 1) for n in range(7)]
    assert [token["line"] for token in tokens] == [1, 1, 1, 2, 2, 2, 2]
    assert [token["logprob"] for token in tokens] == pytest.approx([-math.log(VOCABULARY)] * 7)
    shown = score("a.py", "--tokens").stdout.decode().splitlines()
    assert shown[0] == "a.py:1: bytes 0-1: 8.10 bits"


def test_csv_tables(score: Score, run: Run) -> None:
    run.write('a,"b".py', "x\ny\n")
    run.write("bad", b"\0")

    def table(*options: str) -> list[dict[str, str]]:
        done = score('a,"b".py', "bad", "--format", "csv", *options)
        return list(csv.DictReader(io.StringIO(done.stdout.decode())))

    files = table()
    assert [row["status"] for row in files] == ["ok", "skipped"]
    assert float(files[0]["perplexity"]) == pytest.approx(VOCABULARY)
    assert files[1]["nll"] == ""
    lines = table("--lines")
    assert [(row["path"], row["line"]) for row in lines] == [('a,"b".py', "1"), ('a,"b".py', "2")]
    assert [row["start"] for row in table("--tokens")] == ["0", "1", "2", "3"]


def test_names_of_every_kind(score: Score, run: Run) -> None:
    names = [b"a b", b"new\nline", b"-x", b"[/foo]", b"\xff", b"\x1b[31m", b"x" * 255, b"0:x"]
    for name in names:
        run.write(name, "x = 1\n")
    done = score("--format", "json", "--", *names)
    assert done.status == 0
    assert [os.fsencode(entry["path"]) for entry in done.json["files"]] == names
    assert done.json["files"][4]["path_b64"] == "/w=="
    shown = score("--", *names).stdout
    assert b"\x1b" not in shown
    assert shown.count(b"\n") == len(names) + 1


def test_a_pipe_by_name_is_read(score: Score, run: Run) -> None:
    read, write = os.pipe()
    os.write(write, b"x = 1\n")
    os.close(write)
    done = score(f"/dev/fd/{read}", "--format", "jsonl", pass_fds=(read,))
    os.close(read)
    assert done.json["bytes"] == 6


def test_what_never_ends_is_refused(score: Score, run: Run) -> None:
    os.mkfifo(run.folder / "fifo")
    run.write("a.py", "x")
    done = score("/dev/zero", "fifo", "a.py", "--format", "json")
    reasons = [entry.get("reason") for entry in done.json["files"]]
    assert (done.status, reasons) == (3, ["input", "input", None])


def test_d3_a_file_beyond_the_limit_is_skipped(score: Score, run: Run) -> None:
    with (run.folder / "big").open("wb") as file:
        file.write(b"x" * (100 * 10**6 + 1))
    run.write("a.py", "x")
    done = score("big", "a.py", "--format", "json")
    assert done.by_path["big"]["reason"] == "too-large"
    assert done.status == 0


def test_h3_without_a_model_nothing_is_read(run: Run) -> None:
    done = run("score", "-m", "no-such/model", "gone.py")
    assert (done.status, done.stdout) == (3, b"")
    assert "error[model-missing]" in done.stderr


def test_h2_many_files_load_one_model_once(expect: Score, run: Run) -> None:
    names = [f"{number}.py" for number in range(200)]
    for name in names:
        run.write(name, "x = 1\n")
    done = expect(*names, "--format", "jsonl", "-v")
    assert done.status == 0
    assert done.stdout.count(b"\n") == 200
    assert done.stderr.count(" s to load") == 1


def test_a_terminal_is_not_waited_for(run: Run, uniform: Path) -> None:
    master, slave = pty.openpty()
    done = run("score", "-m", uniform, stdin=slave)
    os.close(master)
    os.close(slave)
    assert done.status == 2
    assert "no PATH given, and stdin is a terminal" in done.stderr


def test_head_ends_the_work(run: Run, uniform: Path) -> None:
    for number in range(400):
        run.write(f"{number}.py", "x" * 200)
    command = f"'{BIGCODE}' score -m '{uniform}' --tokens . | head -1"
    script = f"set -o pipefail; {command}"
    done = run(program=("bash", "-c", script))
    assert (done.status, done.stdout.count(b"\n"), done.stderr) == (141, 1, "")


def test_progress_is_for_terminals_alone(run: Run, uniform: Path) -> None:
    run.write("a.py", "word word " * 10_000)
    for term, shown in (("xterm", True), ("dumb", False)):
        call = ("score", "-m", uniform, "a.py")
        status, said = on_terminal(run, *call, stream="stderr", TERM=term)
        assert status == 0
        assert ("scoring: " in said) is shown
        assert said.endswith("\r\x1b[K") is shown


@pytest.mark.parametrize("command", ["score", "classify", "tag"])
def test_verbose_tells_the_time(command: str, run: Run) -> None:
    run.write("a.py", GOOD)
    done = run(command, "-v", "a.py")
    assert re.search(r"^bigcode: note: model .* \d\.\d\d s to load$", done.stderr, re.MULTILINE)
    assert re.search(r"^bigcode: note: 1 file in \d+\.\d\d s$", done.stderr, re.MULTILINE)


def test_progress_counts_what_was_scored(run: Run, uniform: Path) -> None:
    """A file is read at once, and scored for a long time."""
    run.write("a.py", "word word " * 2000)
    eager = (
        "import bigcode_cli.files.progress as progress",
        "progress._FIRST_AFTER_SECONDS = progress._EVERY_SECONDS = 0.0",
    )
    call = ("score", "-m", uniform, "a.py")
    _, said = on_terminal(run, *call, stream="stderr", statements="\n".join(eager))
    shares = [int(share) for share in re.findall(r"(\d+) %", said)]
    assert shares == sorted(shares)
    assert len(set(shares)) > 3
    assert shares[-1] == 100


def test_nothing_heavy_before_the_model(run: Run) -> None:
    program = (sys.executable, "-X", "importtime", "-m", "bigcode_cli")
    for arguments in (["score", "--help"], ["score", "-m", "no-such-model", "x"]):
        done = run(*arguments, program=program)
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        heavy = {"torch", "numpy", "tokenizers", "safetensors", "rich", "pydantic"}
        assert {name.partition(".")[0] for name in imported} & heavy == set()


def test_f2_every_engine_gives_the_same_values(score: Score, expect: Score, run: Run) -> None:
    run.write("a.py", GOOD + BAD)
    plain = expect("a.py", "--format", "jsonl").json
    options = ("--device", "cpu", "--precision", "bfloat16", "--threads", "1", "--offline", "-q")
    run.write("b.py", GOOD + BAD)
    heavy = expect("a.py", "b.py", *options, "--format", "json")
    assert (heavy.status, heavy.stderr) == (0, "")
    for entry in heavy.json["files"]:
        assert entry["tokens"] == plain["tokens"]
        assert entry["nll"] == pytest.approx(plain["nll"], rel=0.05)
    assert "bigcode: note: model " in score("a.py", "--verbose").stderr


def test_the_worst_lines_come_with_their_text_and_blank_ones_do_not(score: Score, run: Run) -> None:
    run.write("a.py", "\n\n\nx = 1\n    \t     \nvalue = 'é'\n")
    run.write("b.py", "zzzzzzzzzzzz\n")
    done = score("a.py", "b.py", "--worst", "2")
    lines = done.stdout.decode().splitlines()
    assert [line.replace("8.103", "8.104") for line in lines[2:4]] == [
        "a.py:6: 8.104 bits/byte: value = 'é'",
        "b.py:1: 8.104 bits/byte: zzzzzzzzzzzz",
    ]
    worst = score("a.py", "b.py", "--worst", "5", "--format", "json").json["summary"]["worst"]
    assert [(line["path"], line["line"], line["text"]) for line in worst] == [
        ("a.py", 6, "value = 'é'"),
        ("b.py", 1, "zzzzzzzzzzzz"),
    ]
    table = score("a.py", "b.py", "--worst", "1", "--format", "csv").stdout.decode().splitlines()
    assert table[0].endswith(",bits_per_byte,text")
    assert len(table) == 2
    assert score("a.py", "--worst", "1", "--format", "jsonl").status == 2


def test_sort_puts_the_most_surprising_first(run: Run, checkpoint: Path) -> None:
    for name, text in {"a": numbered_lines(4), "b": "@@@@@@@@\n\n~\n", "c": "\0"}.items():
        run.write(name, text)
    done = run("score", "-m", checkpoint, "a", "b", "c", "--sort", "--lines", "--format", "json")
    assert [entry["path"] for entry in done.json["files"]] == ["b", "a", "c"]
    lines = done.json["files"][0]["lines"]
    assert [line["line"] for line in lines] in ([1, 3], [3, 1])
    bits = [line["bits_per_byte"] for line in lines]
    assert bits == sorted(bits, reverse=True)


def test_no_cell_of_a_csv_is_a_formula(score: Score, run: Run) -> None:
    for name in ("=1+1", "@x", "+a", "-b"):
        run.write(name, "x = 1\n")
    done = score("--format", "csv", "--", "=1+1", "@x", "+a", "-b", "-", input=b"x")
    cells = [row["path"] for row in csv.DictReader(io.StringIO(done.stdout.decode()))]
    assert cells == ["'=1+1", "'@x", "'+a", "'-b", "-"]
