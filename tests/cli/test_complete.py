"""`bigcode complete`: what its options do; most tests share one process, through main()."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bigcode_cli.app import main
from program import BIGCODE, Outcome, Run
from scripted_models import numbered_lines, write_checkpoint

TEXT = numbered_lines(600)[2:]  # what `checkpoint` writes after "#\n"
Scripted = Callable[..., Path]


@pytest.fixture
def complete(
    run: Run, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Callable[..., Outcome]:
    """`complete("--seed=1", text="#\\n", model=...)`, in this process and an empty folder."""
    for name in [name for name in os.environ if name.startswith("BIGCODE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", run.environment["HOME"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("BIGCODE_NO_HEALING", "1")
    monkeypatch.chdir(run.folder)

    def start(*arguments: str, model: Path, text: str | bytes = "#\n") -> Outcome:
        data = text.encode() if isinstance(text, str) else text
        (run.folder / "a.py").write_bytes(data)
        status = main(["complete", "--model", str(model), *arguments, "a.py"])
        stdout, stderr = capfdbinary.readouterr()
        return Outcome(status, stdout, stderr.decode())

    return start


Complete = Callable[..., Outcome]


def test_the_text_and_nothing_else(complete: Complete, scripted: Scripted) -> None:
    done = complete(model=scripted("  pass"))
    assert (done.status, done.stdout, done.stderr) == (0, b"  pass", "")


@pytest.mark.parametrize("prompt", ["#\n", "def f():\r\n", "é"])
def test_a_healed_token_is_not_written_again(
    prompt: str, complete: Complete, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BIGCODE_NO_HEALING")
    model = scripted("  pass", after=prompt.replace("\r", ""))
    healed = complete("--format=json", model=model, text=prompt).json
    plain = complete("--format=json", "--no-healing", model=model, text=prompt).json
    assert healed["choices"][0]["text"] == plain["choices"][0]["text"] == "  pass"
    assert healed["prompt_tokens"] == plain["prompt_tokens"] - 1


def test_an_empty_prompt_is_not_ended_at_once(complete: Complete, tmp_path: Path) -> None:
    """After an end token the likeliest one may be another; a file was asked for."""
    model = write_checkpoint(tmp_path / "ends", script=[], at=0)
    done = complete("--max-tokens=4", "--format=json", model=model, text=b"")
    assert done.json["prompt_tokens"] == 1
    assert done.json["choices"][0]["completion_tokens"] >= 1
    done = complete("--max-tokens=4", "--format=json", model=model, text=b"a")
    assert done.status == 0


def test_an_empty_answer_is_an_answer(complete: Complete, scripted: Scripted) -> None:
    done = complete(model=scripted(""))
    assert (done.status, done.stdout, done.stderr) == (0, b"", "")


@pytest.mark.parametrize(
    ("prompt", "data"),
    [
        pytest.param("", b"", id="empty"),
        pytest.param("\n", b"\n", id="one-newline"),
        pytest.param("def", b"\xef\xbb\xbfdef", id="byte-order-mark"),
        pytest.param("\ufeffdef", b"\xef\xbb\xbf\xef\xbb\xbfdef", id="only-one-mark"),
        pytest.param("a\t \n", b"a\t \n", id="trailing-blanks"),
    ],
)
def test_what_the_model_reads(
    prompt: str, data: bytes, complete: Complete, scripted: Scripted
) -> None:
    """The script begins after the prompt: a token more or less would show."""
    done = complete("--format=json", model=scripted("xyz", after=prompt), text=data)
    assert done.json["prompt_tokens"] == 1 + len(prompt.encode())
    assert done.json["choices"][0]["text"] == "xyz"


@pytest.mark.parametrize("literal", ["<fim_middle>", "<|endoftext|>", "<fim_prefix>x<fim_suffix>"])
def test_special_tokens_in_a_file_are_text(
    literal: str, complete: Complete, scripted: Scripted
) -> None:
    model = scripted(f"a{literal}b", after=literal)
    done = complete("--format=json", model=model, text=literal)
    assert done.json["prompt_tokens"] == 1 + len(literal)
    assert done.json["choices"][0]["text"] == f"a{literal}b"


def test_line_ends_come_back_as_they_were(complete: Complete, scripted: Scripted) -> None:
    done = complete(model=scripted("b\nc\n", after="a\n"), text="a\r\n")
    assert done.stdout == b"b\r\nc\r\n"


def test_json(complete: Complete, scripted: Scripted) -> None:
    done = complete("--format=json", "--max-tokens=2", model=scripted("é\n"), text="#\n")
    document = done.json
    timings = document.pop("timings")
    assert (timings.pop("drafted_tokens"), timings.pop("accepted_tokens")) == (0, 0)
    assert set(timings) == {"load_seconds", "prefill_seconds", "decode_seconds"}
    assert all(value > 0 for value in timings.values())
    choice = document["choices"][0]
    assert choice.pop("logprob") == pytest.approx(0, abs=1e-3)
    assert document == {
        "model": str(Path(document["model"])),
        "revision": None,
        "prompt_tokens": 3,
        "dropped_prefix_tokens": 0,
        "dropped_suffix_tokens": 0,
        "dropped_context_tokens": 0,
        "choices": [{"index": 0, "text": "é", "finish_reason": "length", "completion_tokens": 2}],
    }
    assert done.stderr == ""


def test_jsonl_is_the_same_on_one_line(complete: Complete, scripted: Scripted) -> None:
    model = scripted("x\ny")
    lines = complete("--format=jsonl", model=model)
    assert lines.stdout.count(b"\n") == 1
    assert lines.stdout.endswith(b"}\n")
    whole = complete("--format=json", model=model)
    assert whole.stdout.count(b"\n") > 10
    assert lines.json["choices"] == whole.json["choices"]


def test_streamed_text_is_that_of_json(complete: Complete, checkpoint: Path) -> None:
    streamed = complete("--max-tokens=100", model=checkpoint)
    document = complete("--max-tokens=100", "--format=json", model=checkpoint).json
    assert streamed.stdout.decode() == document["choices"][0]["text"] == TEXT[:100]
    assert document["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("stops", "expected", "reason"),
    [
        pytest.param(["_3"], TEXT[: TEXT.index("_3")], "stop", id="one"),
        pytest.param(["= 16", "_3", "zzz"], TEXT[: TEXT.index("_3")], "stop", id="first-of-three"),
        pytest.param(["1\n"], TEXT[: TEXT.index("1\n")], "stop", id="newline"),
        pytest.param(["_3 = 8"], TEXT[:100], "length", id="only-a-beginning"),
        pytest.param(["l"], "", "stop", id="at-once"),
    ],
)
def test_stop_texts_end_it_and_are_not_written(
    stops: list[str], expected: str, reason: str, complete: Complete, checkpoint: Path
) -> None:
    arguments = ["--max-tokens=100", *(f"--stop={stop}" for stop in stops)]
    assert complete(*arguments, model=checkpoint).stdout.decode() == expected
    choice = complete(*arguments, "--format=json", model=checkpoint).json["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == (expected, reason)


SOURCE = "    x = 1\n    return x\n\ny = f(2)\n\ndef g():\n    pass\n"


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        ("line", "    x = 1"),
        ("block", "    x = 1\n    return x"),
        ("function", "    x = 1\n    return x"),
        ("file", SOURCE),
    ],
)
def test_until(until: str, expected: str, complete: Complete, scripted: Scripted) -> None:
    prompt = "def f(a):\n"
    done = complete(f"--until={until}", model=scripted(SOURCE, after=prompt), text=prompt)
    assert done.stdout.decode().rstrip("\n") == expected.rstrip("\n")


def test_samples_stand_under_headings(complete: Complete, scripted: Scripted) -> None:
    done = complete("--samples=2", model=scripted("x = 1"))
    assert done.stdout == b"==> 1/2 <==\nx = 1\n==> 2/2 <==\nx = 1\n"
    choices = complete("--samples=3", "--format=json", model=scripted_again(done)).json["choices"]
    assert [(choice["index"], choice["text"]) for choice in choices] == [
        (index, "x = 1") for index in range(3)
    ]


def scripted_again(_done: Outcome) -> Path:
    """The checkpoint that the command line of this test has written before."""
    return Path("../scripted").resolve()


def test_echo_writes_the_bytes_of_the_prompt(complete: Complete, scripted: Scripted) -> None:
    data = b"\xef\xbb\xbf# \xc3\xa9 \r\n"
    model = scripted("b\n", after="# é \n")
    assert complete("--echo", model=model, text=data).stdout == data + b"b\r\n"
    document = complete("--echo", "--format=json", model=model, text=data).json
    assert document["choices"][0]["text"].encode() == data + b"b\r\n"
    headed = complete("--echo", "--samples=2", model=model, text=data).stdout
    assert headed == b"".join(b"==> %d/2 <==\n%sb\r\n" % (i, data) for i in (1, 2))


def _draw(complete: Complete, model: Path, *arguments: str) -> Any:
    drawn = complete("--temperature=1", "--max-tokens=24", "--format=json", *arguments, model=model)
    return [choice["text"] for choice in drawn.json["choices"]]


@pytest.fixture
def unsure(tmp_path: Path) -> Path:
    """A checkpoint whose next token is anybody's guess."""
    return write_checkpoint(tmp_path / "unsure", script=[], sharp=0.05)


def test_a_seed_draws_the_same_text(complete: Complete, unsure: Path) -> None:
    first = _draw(complete, unsure, "--seed=1")
    assert first == _draw(complete, unsure, "--seed=1")
    assert first != _draw(complete, unsure, "--seed=2")
    several = _draw(complete, unsure, "--seed=1", "--samples=3")
    assert several[0] == first[0]
    assert len(set(several)) == 3


@pytest.mark.parametrize("filters", [["--top-k=1"], ["--top-p=0.000001"], ["--min-p=1"]])
def test_filters_that_leave_one_token_are_greedy(
    filters: list[str], complete: Complete, unsure: Path
) -> None:
    greedy = complete("--max-tokens=24", "--format=json", model=unsure).json["choices"][0]["text"]
    assert _draw(complete, unsure, *filters, "--seed=3") == [greedy]


def test_a_repetition_penalty_changes_what_was_written(
    complete: Complete, scripted: Scripted
) -> None:
    model = scripted("aba", sharp=0.5)  # a soft choice, which the penalty can turn
    assert complete(model=model).stdout == b"aba"
    assert complete("--repetition-penalty=100", "--max-tokens=3", model=model).stdout != b"aba"


def test_too_little_confidence_writes_nothing(
    complete: Complete, unsure: Path, checkpoint: Path
) -> None:
    done = complete("--min-confidence=0.5", "--max-tokens=9", model=unsure)
    assert (done.status, done.stdout) == (0, b"")
    done = complete("--min-confidence=0.5", "--max-tokens=9", model=checkpoint)
    assert done.stdout.decode() == TEXT[:9]


def test_a_time_budget_returns_what_there_is(complete: Complete, checkpoint: Path) -> None:
    arguments = ("--time-budget=0.2", "--max-tokens=8000", "--format=json")
    choice = complete(*arguments, model=checkpoint).json["choices"][0]
    assert choice["finish_reason"] == "time"
    assert 0 < choice["completion_tokens"] < 8000
    assert TEXT.startswith(choice["text"])


def test_too_long_a_text_keeps_its_end_and_says_so(complete: Complete, tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "short", script=[], positions=64)
    done = complete("--max-tokens=8", "--format=json", model=model, text="x = 1\n" * 50)
    kept, dropped = done.json["prompt_tokens"], done.json["dropped_prefix_tokens"]
    assert kept <= 64 - 8
    assert kept + dropped in (300, 301)  # <|endoftext|> stands before a whole text only
    assert done.stderr == (
        f"bigcode: note: the text is too long: kept its last {kept} tokens, dropped {dropped}\n"
    )
    assert complete("-q", "--max-tokens=8", model=model, text="x" * 99).stderr == ""
    refused = complete("--no-truncate", "--max-tokens=8", model=model, text="x" * 99)
    assert (refused.status, refused.stdout) == (2, b"")
    assert refused.stderr.startswith("bigcode: error[context]: ")


def test_context_files_stand_before_the_prompt(
    complete: Complete, checkpoint: Path, run: Run
) -> None:
    (run.folder / "lib").mkdir()
    (run.folder / "lib" / "one two.py").write_text("ONE = 1\n", "utf-8")
    plain = complete("--format=json", "--max-tokens=1", model=checkpoint).json
    arguments = ("--format=json", "--max-tokens=1", "--context=lib/one two.py")
    more = complete(*arguments, model=checkpoint).json
    assert more["prompt_tokens"] >= plain["prompt_tokens"] + len("ONE = 1\n")
    assert more["dropped_context_tokens"] == 0
    missing = complete("--context=nowhere.py", model=checkpoint)
    assert (missing.status, missing.stdout) == (3, b"")
    assert missing.stderr == "bigcode: error[input]: nowhere.py: No such file or directory\n"


def test_verbose_tells_model_tokens_and_times(complete: Complete, scripted: Scripted) -> None:
    done = complete("-v", model=scripted("x"))
    assert done.stdout == b"x"
    lines = done.stderr.splitlines()
    assert all(line.startswith("bigcode: note: ") for line in lines)
    assert all(
        word in done.stderr
        for word in ("to load", "completion: 1 tokens, stop", "prompt: 3 tokens in")
    )


@pytest.mark.parametrize("device", ["cuda:99"])
def test_a_device_that_is_not_here(device: str, complete: Complete, scripted: Scripted) -> None:
    done = complete(f"--device={device}", model=scripted("x"))
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr.startswith("bigcode: error[device]: ")


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
def test_precisions(precision: str, complete: Complete, scripted: Scripted) -> None:
    done = complete(f"--precision={precision}", "--threads=1", model=scripted("x = 1\n"))
    assert (done.status, done.stdout) == (0, b"x = 1\n")


def test_a_huge_line_and_no_network(run: Run, checkpoint: Path) -> None:
    """50 MB of one line in a process without any network interface, from a file and a pipe."""
    huge = run.folder / "huge.py"
    huge.write_bytes(b"x" * 50_000_000)
    script = f'exec unshare -rn "$0" "$@" --format json --max-tokens 4 --offline < {huge}'
    for arguments in (("-",), (str(huge),)):
        done = run(
            "complete",
            "-m",
            checkpoint,
            *arguments,
            program=("sh", "-c", script, BIGCODE),
        )
        assert (done.status, len(done.stderr.splitlines())) == (0, 1)
        counted = done.json["prompt_tokens"] + done.json["dropped_prefix_tokens"]
        assert counted == pytest.approx(50_000_000, rel=0.01)


def test_the_same_bytes_cold_and_again(run: Run, checkpoint: Path) -> None:
    """Two processes, two ways in; and JSON on stdout is all that is there."""
    (run.folder / "a.py").write_text("#\n", "utf-8")
    by_name = run("complete", "-m", checkpoint, "--", "a.py", env={"PYTHONWARNINGS": "always"})
    by_pipe = run("complete", "--model", checkpoint, "--format", "json", "-", input=b"#\n")
    assert by_name.stdout.decode() == by_pipe.json["choices"][0]["text"] == TEXT[:128]
    assert (by_name.stderr, by_pipe.stderr) == ("", "")
    assert json.dumps(by_pipe.json)


def test_offline_completes_as_ever(run: Run, checkpoint: Path) -> None:
    arguments = ("complete", "-m", checkpoint, "--max-tokens=12")
    plain, offline = (run(*arguments, *more, input=b"#\n") for more in ((), ("--offline",)))
    assert (offline.status, offline.stderr) == (0, "")
    assert offline.stdout == plain.stdout != b""
