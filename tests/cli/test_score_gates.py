"""When `bigcode score` says that files are too surprising, and what its exit status means."""

from collections.abc import Callable
from pathlib import Path

import pytest

from program import Outcome, Run
from scripted_models import numbered_lines

GOOD = numbered_lines(8)  # what the numbered model expects
BAD = "@@ %^&*() ~~\n" * 3
Score = Callable[..., Outcome]


@pytest.fixture
def score(run: Run, uniform: Path) -> Score:
    return lambda *arguments, **options: run("score", "-m", uniform, *arguments, **options)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--stride", "4", "--window", "disjoint"], id="stride-of-disjoint"),
        pytest.param(["--stride", "65"], id="stride-beyond-the-context"),
        pytest.param(["--stride", "0"], id="stride-0"),
        pytest.param(["--format", "csv", "--lines", "--tokens"], id="two-tables"),
        pytest.param(["--format", "sarif"], id="format"),
        pytest.param(["--max-bits-per-byte", "nan"], id="nan"),
        pytest.param(["--max-rise", "-1"], id="rise"),
    ],
)
def test_h3_usage_errors(arguments: list[str], score: Score, run: Run) -> None:
    run.write("a.py", "x")
    done = score("a.py", *arguments)
    assert (done.status, done.stdout) == (2, b"")


def test_f4_the_gate_fails_exactly_the_files_above_it(expect: Score, run: Run) -> None:
    for name, text in {"a.py": GOOD, "b.py": BAD, "c.py": GOOD, "short": "@@@"}.items():
        run.write(name, text)
    arguments = ("a.py", "b.py", "c.py", "short", "--max-bits-per-byte", "1")
    done = expect(*arguments, "--format", "json")
    verdicts = {path: entry["verdict"] for path, entry in done.by_path.items()}
    assert verdicts == {"a.py": "pass", "b.py": "fail", "c.py": "pass", "short": "too-short"}
    assert (done.status, done.json["summary"]["failed"]) == (1, 1)
    shown = expect(*arguments).stdout.decode().splitlines()
    assert shown[1].endswith("; above the limit of 1")
    assert ["above" in line for line in shown] == [False, True, False, False, False]
    assert expect("a.py", "c.py", "--max-bits-per-byte", "1").status == 0
    assert expect(*arguments, "--min-tokens", "3").status == 1
    assert expect(*arguments, "--min-tokens", "1000").status == 0
    short = expect("short", "--max-bits-per-byte", "1", "--min-tokens", "3")
    assert short.status == 1


def test_h3_an_error_beats_a_finding(expect: Score, run: Run) -> None:
    run.write("a.py", BAD)
    assert expect("a.py", "--max-bits-per-byte", "1").status == 1
    assert expect("a.py", "gone", "--max-bits-per-byte", "1").status == 3


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_f4_a_file_that_got_worse_than_in_an_earlier_report(
    kind: str, expect: Score, run: Run
) -> None:
    for name in ("a.py", "b.py"):
        run.write(name, GOOD)
    report = expect("a.py", "./b.py", "--format", kind)
    run.write("report", report.stdout)
    run.write("b.py", GOOD + "@")
    run.write("new.py", BAD)
    rise = expect("b.py", "--format", "jsonl").json["bits_per_byte"]
    assert rise > 0.3
    gate = ("a.py", "b.py", "new.py", "--baseline", "report", "--format", "json")
    done = expect(*gate)
    assert done.status == 1
    verdicts = {path: entry["verdict"] for path, entry in done.by_path.items()}
    assert verdicts == {"a.py": "pass", "b.py": "fail", "new.py": "not-compared"}
    assert "above the baseline (0.000)" in done.by_path["b.py"]["findings"][0]
    assert done.json["summary"]["compared"] == 2
    assert "note: 1 of 3 files not in the baseline" in done.stderr
    assert expect(*gate, "--max-rise", str(rise + 0.01)).status == 0
    assert expect(*gate, "--max-rise", str(rise - 0.01)).status == 1


def test_a_baseline_of_another_model_is_refused(score: Score, expect: Score, run: Run) -> None:
    run.write("a.py", GOOD)
    run.write("report", score("a.py", "--format", "json").stdout)
    done = expect("a.py", "--baseline", "report")
    assert (done.status, done.stdout) == (2, b"")
    assert "was made with the model" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "x", "{}", '{"files": 1}', "\xff", '{"files": [1]}', '{"files": {}}'),
        '{"files": [{"path": "a.py", "status": "ok", "label": "Python", "score": 1}]}',
    ],
)
def test_h3_a_baseline_that_is_none(text: str, score: Score, run: Run) -> None:
    run.write("a.py", GOOD)
    run.write("report", text.encode("latin1"))
    done = score("a.py", "--baseline", "report")
    if text == "":
        assert done.status == 0  # no lines of JSONL: a report of no files
    else:
        assert (done.status, done.stdout) == (3, b"")
        assert "error[baseline]: report: is " in done.stderr
    assert score("a.py", "--baseline", "no-such-file").status == 3


@pytest.mark.parametrize("made_in", ["", "src"])
def test_a_file_is_the_same_file_however_its_path_is_spelled(
    made_in: str, expect: Score, run: Run
) -> None:
    """`made_in`: the folder that the report was made in; its paths start from there."""
    source = run.folder / "src"
    source.mkdir()
    run.write("src/a.py", GOOD)
    (run.folder / "link").symlink_to("src")
    made = expect("." if made_in else "src", "--format", "json", cwd=run.folder / made_in)
    run.write("base.json", made.stdout)
    run.write("src/a.py", BAD)
    spellings = {
        ".": [".", "src", "./src/a.py", "src/../src/a.py", "link/a.py", str(source)],
        "src": [".", "a.py", str(source / "a.py"), "../link"],
        "/": [str(source)],
    }
    for folder, paths in spellings.items():
        for path in paths:
            baseline = f"--baseline={run.folder / 'base.json'}"
            done = expect(baseline, "--format", "json", path, cwd=run.folder / folder)
            assert (done.status, done.json["summary"]["failed"]) == (1, 1), (folder, path)


def test_a_baseline_that_compares_nothing_says_so(expect: Score, run: Run) -> None:
    run.write("a.py", GOOD)
    run.write("b.py", BAD)
    run.write("base.json", expect("a.py", "--format", "json").stdout)
    done = expect("b.py", "--baseline", "base.json")
    assert done.status == 0
    assert "note: nothing was compared: no file is in the baseline" in done.stderr
    done = expect("b.py", "--baseline", "base.json", "--strict")
    assert done.status == 3
    assert "error[not-judged]: --strict: nothing was compared" in done.stderr
    assert expect("a.py", "b.py", "--baseline", "base.json", "--strict").status == 0
    done = expect("a.py", "--max-rise", "1")
    assert "note: --max-rise: nothing is compared without --baseline" in done.stderr


def test_strict_refuses_files_that_were_skipped_but_not_empty_ones(expect: Score, run: Run) -> None:
    run.write("a.py", GOOD)
    run.write("empty.py", "")
    assert expect(".", "--max-bits-per-byte", "1", "--strict").status == 0
    run.write("latin.py", b"\xe9")
    done = expect(".", "--max-bits-per-byte", "1", "--strict")
    assert done.status == 3
    assert "error[not-judged]: --strict: 1 of 3 files skipped (1 not UTF-8)" in done.stderr


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "-1", "true", '"3"', "[]"]
)
def test_a_baseline_holds_finite_numbers(value: str, expect: Score, run: Run) -> None:
    run.write("a.py", GOOD)
    entry = f'{{"path": "a.py", "status": "ok", "bits_per_byte": {value}}}'
    for text in (f'{{"files": [{entry}]}}', entry):
        run.write("base.json", text)
        done = expect("a.py", "--baseline", "base.json")
        assert (done.status, done.stdout) == (3, b"")
        assert "error[baseline]: base.json: is not a report of bigcode score" in done.stderr
        assert len(done.stderr) < 400
    assert expect("a.py", "--baseline", "/dev/zero").status == 3
