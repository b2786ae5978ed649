"""`bigcode tag`: where secrets are, and never what they are."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from program import BIGCODE, Run
from scripted_taggers import write_tagger

KEYS = (
    *("QZXWVKJHGFDS", "PLOKMIJNUHBYGVTF", "AAABBBCCCDDDEEE", "ZYXWVUTSRQPONML"),
    "THEQUICKBROWNFOXJUMPS",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger(tmp_path_factory.mktemp("models") / "tagger", scores={"Q": 0.6, "X": 0.6})


def _no_piece(text: bytes) -> bool:
    """Whether no piece of eight characters of any key is there."""
    pieces = [key[at : at + 8] for key in KEYS for at in range(len(key) - 7)]
    return not any(piece.encode() in text for piece in pieces)


def test_a_line_for_every_finding(run: Run, tag: Any) -> None:
    run.write("a.py", f"key = '{KEYS[0]}'\nmail = 12@34, 56@78\n")
    done = tag("a.py")
    assert done.status == 1
    lines = done.stdout.decode().splitlines()
    assert [line.partition(", fingerprint ")[0] for line in lines] == [
        "a.py:1:8: KEY, 12 characters, score 0.99",
        "    key = '****'",
        "a.py:2:8: DIGITS, 5 characters, score 0.99",
        "    mail = ****, ****",
        "a.py:2:15: DIGITS, 5 characters, score 0.99",
        "    mail = ****, ****",
    ]
    prints = [line.partition(", fingerprint ")[2] for line in lines[::2]]
    assert len(set(prints)) == 3
    assert {len(one) for one in prints} == {16}
    count, real, wrong = done.stderr.splitlines()
    assert count == "bigcode: note: 3 findings in 1 file"
    assert real.startswith("bigcode: note: a real secret: remove it and revoke it")
    assert wrong.startswith("bigcode: note: a false positive: add `# bigcode: allow` to its line")
    assert tag("a.py", "-q").stderr == ""


def test_json_follows_the_contract(run: Run, tag: Any) -> None:
    run.write("a.py", f"é {KEYS[0]}\n")
    run.write("b.py", "nothing\n")
    done = tag("--format", "json", "a.py", "b.py")
    first, second = done.json["files"]
    (span,) = first.pop("spans")
    assert first == {"path": "a.py", "status": "ok", "windows": 1, "allowed": 0, "known": 0}
    assert 0.98 < span.pop("score") < 1
    assert len(span.pop("fingerprint")) == 16
    assert span == {
        "label": "KEY",
        "start": 3,
        "end": 15,
        "start_line": 1,
        "start_column": 3,
        "end_line": 1,
        "end_column": 15,
    }
    assert (second["status"], second["spans"]) == ("ok", [])
    summary = done.json["summary"]
    assert (summary["files"], summary["searched"], summary["findings"]) == (2, 2, 1)
    assert summary["labels"] == {"KEY": 1}
    assert summary["model"].endswith("tagger")
    done = tag("--format", "jsonl", "a.py", "b.py")
    assert [json.loads(line)["path"] for line in done.stdout.splitlines()] == ["a.py", "b.py"]


def test_csv_has_a_row_for_every_finding(run: Run, tag: Any) -> None:
    run.write("a,b.py", f"x {KEYS[0]} 1@2\n")
    rows = list(csv.DictReader(io.StringIO(tag("--format=csv", "a,b.py").stdout.decode())))
    assert [(row["path"], row["label"], row["start"], row["end_column"]) for row in rows] == [
        *(("a,b.py", "KEY", "2", "15"), ("a,b.py", "DIGITS", "15", "19"))
    ]


def test_standard_input_is_searched_if_there_is_no_path(tag: Any) -> None:
    for arguments in ((), ("-",)):
        done = tag("--format", "json", *arguments, input=b"x ABCDEF y")
        assert (done.status, done.spans) == (1, [("KEY", 2, 8)])
        assert done.json["files"][0]["path"] == "-"


def test_g2_a_secret_is_found_once_wherever_it_stands(run: Run, tag: Any) -> None:
    """At 0 %, 50 % and 99.9 % of a file of five windows and more, and across each border."""
    size = 48 * 5 + 30
    places = [0, size // 2, size - 6, *range(34, size - 6, 5)]
    for place in places:
        text = "x" * place + "ABCDEF" + "y" * (size - place - 6)
        run.write(f"{place:03}.txt", text)
    done = tag("--format", "json", ".")
    assert len(done.json["files"]) == len(set(places))
    for entry in done.json["files"]:
        place = int(entry["path"][-7:-4])
        assert entry["windows"] == 6
        assert [(s["start"], s["end"]) for s in entry["spans"]] == [(place, place + 6)]


def test_g3_offsets_are_those_of_the_file(run: Run, tag: Any) -> None:
    """Tabs, line ends of both kinds, emoji, combining marks and a byte order mark."""
    text = "\ufeff\tAB\r\n😀 e\u0301 CD\n\r\n👩\u200d💻\t中 EF GH"
    data = text.encode()
    path = run.write("a.txt", data)
    done = tag("--format", "json", path)
    spans = done.json["files"][0]["spans"]
    assert [data[s["start"] : s["end"]] for s in spans] == [b"AB", b"CD", b"EF", b"GH"]
    assert [(s["start_line"], s["start_column"]) for s in spans] == [
        (1, 2),
        (2, 6),
        (4, 7),
        (4, 10),
    ]
    assert [(s["end_line"], s["end_column"]) for s in spans] == [(1, 4), (2, 8), (4, 9), (4, 12)]


def test_g4_one_span_for_a_key_and_two_for_two(run: Run, tmp_path: Path) -> None:
    """With BIO labels: K begins a key, a small x in it was missed."""
    labels = {"B-KEY": "K", "I-KEY": "ABCDEFGHIJLMNOPQRSTUVWYZ"}
    model = write_tagger(tmp_path / "bio", labels)
    done = run("tag", "-m", model, "--format=json", input=b"KABCDExFGHIJL KABC,KDEF")
    assert done.spans == [("KEY", 0, 13), ("KEY", 14, 18), ("KEY", 19, 23)]


@pytest.mark.parametrize("format_", ["text", "json", "jsonl", "csv", "sarif"])
def test_g5_nothing_that_was_found_is_shown(run: Run, tag: Any, format_: str) -> None:
    for number, key in enumerate(KEYS):
        run.write(f"{number}.py", f"x = '{key}'\n" * 3)
    done = tag("--format", format_, "-v", ".", env={"BIGCODE_DEBUG": "1"})
    assert done.status == 1
    assert done.stdout.count(b"KEY") >= 15
    assert _no_piece(done.stdout)
    assert _no_piece(done.stderr.encode())
    home = Path(run.environment["HOME"])
    assert [
        path for path in home.rglob("*") if path.is_file() and not _no_piece(path.read_bytes())
    ] == []


def test_g5_an_error_does_not_quote_the_text(run: Run, model: Path) -> None:
    """Whatever a library puts into its exception, with and without a traceback."""
    code = (
        "import sys; from bigcode_cli.app import main; "
        "from gpt_bigcode.tokenization.tokenizer import *\n"
        "def fail(self, text): raise ValueError(f'cannot read {text}')\n"
        "CodeTokenizer.encode, keep = fail, CodeTokenizer.encode\n"
        "CodeTokenizer._probe = lambda self: None\n"
        f"sys.exit(main(['tag', '-m', {str(model)!r}, *sys.argv[1:]]))\n"
    )
    for debug, arguments in (("0", ()), ("1", ()), ("1", ("--redact",))):
        done = run(
            *("-c", code, *arguments),
            program=(sys.executable,),
            input=f"password = {' '.join(KEYS)}\n".encode(),
            env={"BIGCODE_DEBUG": debug},
        )
        assert (done.status, done.stdout) == (3, b"")
        assert "error[internal]: ValueError in fail, line 2" in done.stderr
        assert ("Traceback" in done.stderr) == (debug == "1")
        assert _no_piece(done.stderr.encode())


def test_folders_are_searched_hidden_files_too(run: Run, tag: Any) -> None:
    for name in ("d/a.py", "d/.env", "d/.github/x.yml", "d/build/y.py", "d/.git/config"):
        run.write(name, "ABCD")
    run.write("d/.gitignore", "build/\n")
    done = tag("--format=json", "d")
    assert [entry["path"] for entry in done.json["files"]] == [
        *("d/.env", "d/.gitignore", "d/a.py", "d/.github/x.yml")
    ]
    assert tag("--format=json", "d/build").json["summary"]["findings"] == 1  # by its name


def test_d4_what_is_no_text(run: Run, tag: Any) -> None:
    run.write("image.png", b"\x89PNG\r\n\0\0")
    run.write("latin1.txt", b"caf\xe9 ABCD")
    run.write("utf16.txt", "ABCD".encode("utf-16"))
    run.write("good.py", "ABCD")
    done = tag("--format", "json", "image.png", "latin1.txt", "utf16.txt", "good.py", "gone.py")
    assert [(e["path"], e["status"], e.get("reason")) for e in done.json["files"]] == [
        ("image.png", "skipped", "binary"),
        ("latin1.txt", "ok", None),
        ("utf16.txt", "ok", None),
        ("good.py", "ok", None),
        ("gone.py", "error", "input"),
    ]
    assert done.status == 3  # an error beats a finding
    assert "bigcode: error[input]: gone.py: No such file" in done.stderr
    alone = tag("image.png")
    assert (alone.status, alone.stdout) == (3, b"")
    assert (
        alone.stderr == "bigcode: error[binary]: image.png: NUL byte at offset 6: a binary file\n"
    )


@pytest.mark.parametrize("data", [b"", b"\n", b"  \t\r\n", b"\xef\xbb\xbf"])
def test_a9_nothing_in_it(tag: Any, data: bytes) -> None:
    done = tag("--format", "json", "-q", input=data)
    assert (done.status, done.spans, done.stderr) == (0, [], "")


def test_d3_a_long_line_is_searched(tag: Any, run: Run, tmp_path: Path) -> None:
    model = write_tagger(tmp_path / "wide", positions=256)
    data = b"x" * 15_000 + b"ABCD" + b" " * 5_000 + b"_" * 5_000 + b"EFGH"
    done = run("tag", "-m", model, "--format=json", input=data)
    assert done.spans == [("KEY", 15_000, 15_004), ("KEY", 25_004, 25_008)]


def test_h3_every_cause_has_its_status(run: Run, tag: Any, model: Path) -> None:
    run.write("clean.py", "nothing")
    run.write("found.py", "ABCD")
    assert tag("clean.py").status == 0
    assert tag("found.py").status == 1
    assert tag("found.py", "--exit-zero").status == 0
    assert tag("found.py", "gone.py", "--exit-zero").status == 3
    assert tag("--no-such-option").status == 2
    done = run("tag", "-m", "no-such/model", "found.py")
    assert (done.status, done.stdout) == (3, b"")
    assert "error[model-missing]: no-such/model" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--labels", "NAME", "a.py"), "'NAME' is not a label of this model: KEY, DIGITS"),
        (("--labels", "KEY=2", "a.py"), "'KEY=2': the score is not a number from 0 to 1"),
        (("--labels", "KEY=nan", "a.py"), "'KEY=nan': the score is not a number from 0 to 1"),
        (("--min-score", "1.5", "a.py"), "'1.5' is not a number (0 to 1)"),
        (
            ("--allow", "(", "a.py"),
            "--allow: no. 1 is not a valid regular expression (character 1)",
        ),
        (("--exclude", "!", "a.py"), "--exclude: "),
        (("--update-baseline", "a.py"), "--update-baseline: needs --baseline FILE"),
        (("--in-place", "a.py"), "--in-place: needs --redact"),
        (("--redact", "--staged"), "--redact: does not go with --staged"),
        (("--redact", "--baseline=b", "--update-baseline"), "does not go with --update-baseline"),
        (("--redact", "a.py", "b.py"), "give one file, or use --in-place"),
        (("--redact", "."), "give one file, or use --in-place"),
        (("--redact", "--format=json"), "does not go with --format json"),
        (("--redact", "--in-place"), "--in-place: needs a PATH"),
        (("--redact", "--in-place", "-"), "--in-place: needs a PATH"),
        (("--staged", "-"), "reads git's index, not standard input"),
        (("--staged", "--baseline=b", "--update-baseline"), "does not go with --staged"),
    ],
)
def test_what_cannot_be_meant(run: Run, tag: Any, arguments: tuple[str, ...], message: str) -> None:
    run.write("a.py", "ABCD")
    done = tag(*arguments)
    assert (done.status, done.stdout) == (2, b"")
    assert message in done.stderr
    assert (run.folder / "a.py").read_bytes() == b"ABCD"


def test_another_kind_of_model_is_named(run: Run, checkpoint: Path) -> None:
    done = run("tag", "-m", checkpoint, input=b"ABCD")
    assert (done.status, done.stdout) == (3, b"")
    assert "error[model-mismatch]" in done.stderr
    assert "a language model" in done.stderr


@pytest.mark.parametrize("tagging", [3, {"read": "thrice"}, {"delay": 999}])
def test_a_configuration_that_means_nothing(run: Run, tmp_path: Path, tagging: Any) -> None:
    model = write_tagger(tmp_path / "odd", tagging=tagging)
    done = run("tag", "-m", model, input=b"ABCD")
    assert (done.status, done.stdout) == (3, b"")
    assert "tagging" in done.stderr


def test_texts_that_are_read_twice_or_with_a_delay(run: Run, tmp_path: Path) -> None:
    text = b"x ABCD " + b"y" * 200 + b" EFGH"
    twice = write_tagger(tmp_path / "twice", tagging={"read": "twice"})
    done = run("tag", "-m", twice, "--format=json", input=text)
    assert done.spans == [("KEY", 2, 6), ("KEY", 208, 212)]
    assert done.json["files"][0]["windows"] == 9
    delayed = write_tagger(tmp_path / "delayed", tagging={"read": "once", "delay": 2})
    done = run("tag", "-m", delayed, "--format=json", input=text)
    assert done.spans == [("KEY", 0, 4), ("KEY", 206, 210)]


def test_names_are_harmless_on_a_terminal_and_exact_in_json(run: Run, tag: Any) -> None:
    names = [b"with space.py", b"new\nline.py", b"esc\x1b[31m.py", b"-rf.py", b"latin\xff.py"]
    for name in names:
        run.write(name, "ABCD")
    done = tag(".")
    assert done.stdout.count(b"\n") == 2 * len(names)  # each with its line
    assert b"\x1b" not in done.stdout
    done = tag("--format", "json", "--", *names)
    assert [os.fsencode(entry["path"]) for entry in done.json["files"]] == names
    assert done.json["files"][-1]["path_b64"] == "bGF0aW7/LnB5"


def test_a_label_cannot_write_to_the_terminal(run: Run, tmp_path: Path) -> None:
    model = write_tagger(tmp_path / "odd", {"K\x1b[31m\nEY": "AB"})
    done = run("tag", "-m", model, input=b"x AB")
    assert done.stdout.startswith(b"-:1:3: K^[[31m^JEY, 2 characters")
    assert run("tag", "-m", model, "--redact", input=b"x AB").stdout == b"x <K__31m_EY>"


def test_a_terminal_is_not_waited_for(run: Run, model: Path) -> None:
    command = f"{BIGCODE} tag -m {model}"
    done = run("-qec", command, os.devnull, program=("script",), stdin=subprocess.DEVNULL)
    assert done.status == 2
    assert b"no PATH given, and stdin is a terminal" in done.stdout
    assert b"bigcode tag PATH" in done.stdout


def test_one_file_alone_or_among_others_in_any_order(run: Run, tag: Any) -> None:
    names = ["a.py", "b.py", "c.py"]
    for name, text in zip(names, ("ABCD " * 40, "x 1@2", "y" * 100 + "QXQX"), strict=True):
        run.write(name, text)
    together = tag("--format=json", *names).json["files"]
    assert together == tag("--format=json", *reversed(names)).json["files"][::-1]
    assert together == [tag("--format=json", name).json["files"][0] for name in names]
