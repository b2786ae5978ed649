"""`bigcode classify`: gates and exit codes, which models it takes, and what a terminal shows."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from program import BIGCODE, TIMEOUT_SECONDS, Outcome, Run, on_terminal
from scripted_models import write_classifier

ENDINGS = {"Python": b"p", "C": b"c", "größer": b"g"}
Classify = Callable[..., Outcome]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classifier(tmp_path_factory.mktemp("models") / "languages", ENDINGS)


@pytest.fixture
def classify(run: Run, model: Path) -> Classify:
    return lambda *arguments, **options: run("classify", "-m", model, *arguments, **options)


@pytest.fixture
def built_in(model: Path, tmp_path: Path) -> dict[str, str]:
    """An environment in which the classifier is the built-in one."""
    shutil.copytree(model, tmp_path / "packages" / "pocket_languages")
    return {"PYTHONPATH": str(tmp_path / "packages")}


def _write(run: Run, **files: str) -> None:
    for name, text in files.items():
        path = run.folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


@pytest.mark.parametrize(
    ("options", "status", "finding"),
    [
        pytest.param(["--expect", "Python"], 0, "", id="right"),
        pytest.param(["--expect", "C"], 1, "; not C", id="wrong"),
        pytest.param(["--expect=C", "--expect=Python"], 0, "", id="any"),
        pytest.param(["--expect=C", "--expect=größer"], 1, "; not C or größer", id="none-of"),
        pytest.param(["--min-score", "0.9"], 0, "", id="sure"),
        pytest.param(["--min-score", "0.97"], 1, "; score 0.965 is below 0.97", id="unsure"),
        pytest.param(
            ["--expect=Python", "--min-score=1"], 1, "; score 0.965 is below 1", id="both"
        ),
        pytest.param(
            ["--expect=C", "--min-score=0.99"], 1, "; not C; score 0.965 is", id="neither"
        ),
    ],
)
def test_h3_gates(
    options: list[str], status: int, finding: str, classify: Classify, run: Run
) -> None:
    _write(run, a="x p", empty="")
    done = classify("a", "empty", *options)
    assert done.status == status
    line = done.stdout.decode()
    label = (
        "unknown (best guess: Python 0.965)"
        if "below" in finding or "score" in finding
        else "Python 0.965"
    )
    assert line.startswith(f"a: {label}{finding}")
    assert finding or line == "a: Python 0.965\n"
    summary = classify("a", *options, "--format", "json").json
    assert summary["summary"]["failed"] == status
    assert summary["files"][0]["verdict"] == ("fail" if status else "pass")
    assert len(summary["files"][0]["findings"]) == finding.count(";")


def test_h3_an_error_beats_a_finding_and_stops_nothing(classify: Classify, run: Run) -> None:
    _write(run, a="p", b="c")
    done = classify("a", "gone", "b", "--expect", "Python", "--format", "jsonl")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.status == 3
    assert [line["status"] for line in lines] == ["ok", "error", "ok"]
    assert [line.get("verdict") for line in lines] == ["pass", None, "fail"]
    assert done.stderr == "bigcode: error[input]: gone: No such file or directory\n"


def test_h3_a_label_that_does_not_exist_is_a_usage_error(
    classify: Classify, run: Run, model: Path
) -> None:
    _write(run, a="p")
    done = classify("a", "--expect", "pyhton")
    assert (done.status, done.stdout) == (2, b"")
    assert done.stderr == (
        f"bigcode: error[usage]: --expect: 'pyhton' is not a label of {model}\n"
        "hint: did you mean Python?\n"
    )
    assert "hint: its labels are Python, C, größer" in classify("a", "--expect", "?").stderr
    for bad in ("1.5", "-1", "nan", "x"):
        assert classify("a", f"--min-score={bad}").status == 2


@pytest.mark.timing
def test_h3_without_a_model_it_fails_at_once_with_no_network(run: Run) -> None:
    _write(run, a="p")
    began = time.monotonic()
    done = run("classify", "-m", "no-such/model", "a", program=("unshare", "-rn", BIGCODE))
    assert time.monotonic() - began < 5
    assert (done.status, done.stdout) == (3, b"")
    assert "error[model-missing]: no-such/model: not in the local cache" in done.stderr
    assert "hint: bigcode models pull no-such/model" in done.stderr


def test_h2_many_files_load_one_model_once(classify: Classify, run: Run) -> None:
    names = [f"f{number}" for number in range(200)]
    _write(run, **dict.fromkeys(names, "x p"))
    done = classify(*names, "-v", "--expect", "Python")
    assert done.status == 0
    assert done.stdout.count(b": Python 0.965\n") == 200
    assert done.stdout.endswith(b"200 files: Python 200\n")
    failed = classify(*names, "--expect", "C")
    assert failed.status == 1
    assert failed.stdout.endswith(b"200 files: Python 200; 200 failed\n")
    assert done.stderr.count(" s to load") == 1


def test_h2_a_second_run_loads_no_model_and_says_the_same(classify: Classify, run: Run) -> None:
    _write(run, a="x p", b="x c " * 40, empty="")
    arguments = ("a", "b", "empty", "--windows", "--format", "json", "-v")
    first, second = classify(*arguments), classify(*arguments)
    assert first.stderr.count(" s to load") == 1
    assert (second.status, second.stdout, second.stderr.count(" s to load")) == (0, first.stdout, 0)
    assert "2 of 3 files had been classified before" in second.stderr
    fresh = classify(*arguments, "--no-cache")
    assert (fresh.stdout, fresh.stderr.count(" s to load")) == (first.stdout, 1)
    _write(run, a="x c")
    assert classify("a", "b", "--windows", "-v").stderr.count(" s to load") == 1
    program = (sys.executable, "-X", "importtime", "-m", "bigcode_cli")
    done = classify(*arguments[:-1], program=program)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"torch", "tokenizers"} & imported == set()


def test_h3_findings_can_be_told_without_failing(classify: Classify, run: Run) -> None:
    _write(run, a="x p")
    told = classify("a", "--expect", "C", "--exit-zero")
    assert (told.status, told.stdout) == (0, classify("a", "--expect", "C").stdout)
    assert classify("a", "missing", "--exit-zero").status == 3


def test_checkpoints_of_another_kind_are_refused_by_name(
    run: Run, model: Path, checkpoint: Path
) -> None:
    _write(run, a="p")
    tagger = run.folder / "tagger"
    shutil.copytree(model, tagger)
    tensors = load_file(tagger / "model.safetensors")
    tensors["classifier.weight"] = tensors.pop("score.weight")
    save_file(tensors, tagger / "model.safetensors")
    for name, kind in (
        (str(checkpoint), "a language model"),
        ("pocket-coder", "a language model"),
        ("./tagger", "a classifier of single tokens"),
    ):
        done = run("classify", "-m", name, "a")
        assert (done.status, done.stdout) == (3, b"")
        error = (
            f"bigcode: error[model-mismatch]: {name}: is {kind}, not a classifier of whole texts"
        )
        assert done.stderr.startswith(error)
        assert "\nhint: bigcode models list shows which models can classify\n" in done.stderr


def test_a_wrong_or_missing_tokenizer_is_refused(run: Run, model: Path) -> None:
    _write(run, a="p")
    shutil.copytree(model, run.folder / "model")
    path = run.folder / "model" / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    tokenizer["model"]["vocab"]["extra"] = 999
    path.write_text(json.dumps(tokenizer), "utf-8")
    done = run("classify", "-m", "./model", "a")
    assert (done.status, done.stdout) == (3, b"")
    assert "error[tokenizer-corrupt]: " in done.stderr
    assert "id 999, but the model's vocabulary has 275 tokens" in done.stderr
    path.unlink()
    assert "error[model-missing]: " in run("classify", "-m", "./model", "a").stderr


def test_the_built_in_classifier(run: Run, built_in: dict[str, str]) -> None:
    _write(run, a="c")
    for arguments in ([], ["-m", "pocket-languages"]):
        done = run("classify", "a", *arguments, "--format", "json", env=built_in)
        assert (done.status, done.stderr) == (0, "")
        assert done.json["files"][0]["label"] == "C"
        assert done.json["summary"]["model"] == "pocket-languages"
    listed = run("models", "list", "--format", "json", env=built_in).json["models"]
    entry = next(entry for entry in listed if entry["name"] == "pocket-languages")
    assert (entry["source"], entry["tasks"]) == ("builtin", ["classify"])
    shown = run("models", "show", "pocket-languages", "--format", "json", env=built_in).json
    assert (shown["source"], shown["tasks"]) == ("builtin", ["classify"])
    assert shown["architecture"] == "GPTBigCodeForSequenceClassification"


def test_the_model_that_writes_text_is_another_setting(
    run: Run, model: Path, built_in: dict[str, str]
) -> None:
    """BIGCODE_MODEL is for completion; what classifies is set by a variable of its own."""
    _write(run, a="c")
    label = write_classifier(run.folder / "other", {"Other": b"c"} | ENDINGS)
    writes = {**built_in, "BIGCODE_MODEL": "no-such/model"}
    assert run("classify", "a", env=writes).stdout == b"a: C 0.965\n"
    config = Path(run.environment["HOME"]) / ".config" / "bigcode" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'model = "no-such/model"\nclassify-model = "{label}"\n', "utf-8")
    said = run("classify", "a", env=built_in).stdout
    assert said == b"a: unknown (best guess: Other 0.491)\n"
    chosen = {**built_in, "BIGCODE_CLASSIFY_MODEL": str(model)}
    assert run("classify", "a", env=chosen).stdout == b"a: C 0.965\n"
    done = run("classify", "a", "-m", label, env=chosen)
    assert done.stdout.startswith(b"a: unknown (best guess: Other ")


def test_a_classifier_becomes_the_default_of_its_command(run: Run, model: Path) -> None:
    _write(run, a="c")
    done = run("models", "default", model, "--format", "json")
    assert (done.status, done.json["setting"]) == (0, "classify-model")
    assert run("classify", "a").stdout == b"a: C 0.965\n"
    defaults = dict(
        line.rsplit(maxsplit=1) for line in run("models", "default").stdout.decode().splitlines()
    )
    assert defaults["complete, infill, score"].strip() == "pocket-coder"
    assert defaults["classify"] == str(model)


def test_every_engine_gives_the_same_labels(classify: Classify, run: Run) -> None:
    _write(run, a="x" * 100 + "p", b="g")
    options = ("--device", "cpu", "--precision", "bfloat16", "--threads", "1", "--offline", "-q")
    heavy = classify("a", "b", "gone", *options, "--format", "json")
    assert heavy.status == 3
    assert heavy.stderr == "bigcode: error[input]: gone: No such file or directory\n"
    plain = classify("a", "b", "--format", "json").json["files"]
    for entry, expected in zip(heavy.json["files"], plain, strict=False):
        assert entry["label"] == expected["label"]
        assert entry["score"] == pytest.approx(expected["score"], abs=0.02)
    assert classify("a", "--device", "cuda:99").status == 3


def test_a_terminal_gets_a_table_of_folders(run: Run, model: Path) -> None:
    _write(run, src__a="p", src__b="p", src__c="c", docs__x="g", top="c", src__deep__d="p")
    paths = ("src", "docs", "top")
    status, said = on_terminal(run, "classify", "-m", str(model), *paths, stream="stdout")
    assert status == 0
    lines, _, table = said.partition("\n\n")
    assert len(lines.splitlines()) == 6
    plain = re.sub(r"\x1b\[[0-9;]*m", "", table)
    assert [line.rstrip().split(maxsplit=2) for line in plain.splitlines()] == [
        ["FOLDER", "FILES", "LABELS"],
        [".", "1", "C 1"],
        ["docs", "1", "größer 1"],
        ["src", "3", "Python 2, C 1"],
        ["src/deep", "1", "Python 1"],
        ["total", "6", "Python 3, C 2, größer 1"],
    ]
    assert b"FOLDER" not in run("classify", "-m", model, *paths).stdout


def test_a_table_of_many_folders_is_short(run: Run, model: Path) -> None:
    _write(run, **{f"d{n % 3}__s{n}__f": "p" for n in range(60)})
    _, said = on_terminal(run, "classify", "-m", str(model), ".", stream="stdout")
    table = said.partition("\n\n")[2].splitlines()
    assert [line.split() for line in table[1:]] == [
        *(["d0", "20", "Python", "20"], ["d1", "20", "Python", "20"]),
        *(["d2", "20", "Python", "20"], ["total", "60", "Python", "60"]),
    ]


def test_long_work_shows_how_far_it_is(run: Run, model: Path) -> None:
    _write(run, a="word word " * 20_000)
    status, said = on_terminal(run, "classify", "-m", str(model), "a", stream="stderr")
    assert status == 0
    assert "classifying: " in said
    assert said.endswith("\r\x1b[K")
    call = ("classify", "-m", model, "-q", "a")
    assert "classifying: " not in on_terminal(run, *call, stream="stderr")[1]


def test_a_terminal_is_not_waited_for(run: Run, model: Path) -> None:
    master, slave = pty.openpty()
    done = run("classify", "-m", model, stdin=slave)
    os.close(master)
    os.close(slave)
    assert done.status == 2
    assert "no PATH given, and stdin is a terminal" in done.stderr
    assert "hint: bigcode classify PATH, or pipe the text in" in done.stderr


def test_head_ends_the_work(run: Run, model: Path) -> None:
    _write(run, **{f"a{number}": "x" * 640 for number in range(400)})
    command = f"'{BIGCODE}' classify -m '{model}' --windows a* | head -1"
    done = run(program=("bash", "-c", f"set -o pipefail; {command}"))
    assert (done.status, done.stdout.count(b"\n"), done.stderr) == (141, 1, "")


def test_ctrl_c_keeps_what_was_written(run: Run, model: Path) -> None:
    _write(run, a="p", b="word " * 1_000_000)
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with run.start("classify", "-m", model, "a", "b", stdin=subprocess.DEVNULL, **pipes) as process:
        assert process.stdout is not None
        first = process.stdout.read(16)
        process.send_signal(signal.SIGINT)
        rest, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    assert (process.returncode, first + rest, stderr) == (130, b"a: Python 0.965\n", b"")


def test_nothing_heavy_before_the_model(run: Run) -> None:
    program = (sys.executable, "-X", "importtime", "-m", "bigcode_cli")
    for arguments in (["classify", "--help"], ["classify", "-m", "no-such-model", "x"]):
        done = run(*arguments, program=program)
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        heavy = {"torch", "numpy", "tokenizers", "safetensors", "rich", "pydantic"}
        assert {name.partition(".")[0] for name in imported} & heavy == set()


@pytest.mark.parametrize("label", ["python", "PYTHON", "py", "Python"])
def test_labels_are_expected_in_any_case_and_by_their_usual_names(
    label: str, classify: Classify, run: Run
) -> None:
    _write(run, a="x p", b="x c")
    assert classify("a", "--expect", label).status == 0
    assert classify("b", "--expect", label).stdout == b"b: C 0.965; not Python\n"
