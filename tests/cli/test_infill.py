"""`bigcode infill`: what its options do, in real processes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bigcode_cli.app import main
from infill_program import Infill
from program import BIGCODE, Run
from scripted_models import encode, numbered_lines, write_checkpoint


@pytest.fixture
def infill(run: Run) -> Infill:
    return Infill(run)


def test_the_answer_and_nothing_else(infill: Infill) -> None:
    done = infill("x = |\ny = 2\n", "1")
    assert (done.status, done.stdout, done.stderr) == (0, b"1", "")


def test_c8_an_empty_answer_is_an_answer(infill: Infill) -> None:
    done = infill("x = |\n", "")
    assert (done.status, done.stdout, done.stderr) == (0, b"", "")
    choice = infill("x = |\n", "", "--format=json").json["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("", "stop")
    assert infill("x = |\n", " \n\t").stdout == b" \n\t"


@pytest.mark.parametrize(
    ("text", "written", "trimmed"),
    [
        pytest.param("foo(|)\n", "a, b)\nbar()\n", "a, b", id="c3-bracket"),
        pytest.param("print(|)\n", "f(a))", "f(a)", id="c3-balanced"),
        pytest.param("f() {\n    |\n    }\n", "x = 1;\n    }", "x = 1;", id="c3-block"),
        pytest.param("if x\n  |\nend   \n", "go\nend", "go", id="c3-trailing-blanks"),
        pytest.param("o|ther\n", "ther", "", id="c3-everything"),
        pytest.param("foo(bar(|)\n", "x)", "x)", id="c3-rightly-twice"),
    ],
)
def test_trim_and_no_trim(text: str, written: str, trimmed: str, infill: Infill) -> None:
    assert infill(text, written).stdout.decode() == trimmed
    assert infill(text, written, "--no-trim", "--until=file").stdout.decode() == written
    choice = infill(text, written, "--format=json").json["choices"][0]
    assert choice["text"] == trimmed
    assert choice["finish_reason"] == ("suffix" if trimmed != written else "stop")


def test_json_is_the_contract_s(infill: Infill) -> None:
    document = infill("foo(|)\n", "é)\n", "--format=json").json
    timings = document.pop("timings")
    assert (timings.pop("drafted_tokens"), timings.pop("accepted_tokens")) == (0, 0)
    assert set(timings) == {"load_seconds", "prefill_seconds", "decode_seconds"}
    choice = document["choices"][0]
    assert choice.pop("logprob") == pytest.approx(0, abs=1e-3)
    assert Path(document.pop("model")).name.startswith("model-")
    assert document == {
        "revision": None,
        "prompt_tokens": 3 + len("foo()\n"),
        "dropped_prefix_tokens": 0,
        "dropped_suffix_tokens": 0,
        "dropped_context_tokens": 0,
        "choices": [{"index": 0, "text": "é", "finish_reason": "suffix", "completion_tokens": 4}],
    }
    lines = infill("foo(|)\n", "é)\n", "--format=jsonl")
    assert lines.stdout.count(b"\n") == 1
    assert lines.json["choices"][0]["text"] == "é"


def test_spm_reads_as_much_and_the_suffix_first(infill: Infill, run: Run) -> None:
    """A model that looks at its last token: P in SPM order, a sentinel in PSM order."""
    for order in ("psm", "spm"):
        document = infill("foo(|)\n", "a)", f"--order={order}", "--format=json").json
        assert document["prompt_tokens"] == 3 + len("foo()\n")
        assert document["choices"][0]["text"] == "a"
    echo = _echo_model(run.folder.parent / "echo")
    infill.write(b"ab")
    arguments = ("infill", "-m", echo, "--offset=1", "--max-tokens=1", "--no-trim", "a.py")
    assert run(*arguments, "--order=spm", "--no-healing").stdout == b"a"
    assert run(*arguments, "--order=psm").stdout == b""


def _echo_model(folder: Path) -> Path:
    """Predicts the token that it has just read, whatever the position."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    write_checkpoint(folder, script=[])
    tensors = load_file(folder / "model.safetensors")
    tensors["transformer.wpe.weight"] = np.zeros_like(tensors["transformer.wpe.weight"])
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("marks", [0, 1, 2])
def test_one_byte_order_mark_is_left_out(marks: int, infill: Infill) -> None:
    text = b"\xef\xbb\xbf" * marks + b"x = |\n"
    document = infill(text, "1", "--format=json").json
    assert document["prompt_tokens"] == 3 + len("x = \n") + 3 * max(marks - 1, 0)
    assert document["choices"][0]["text"] == "1"


@pytest.mark.parametrize("literal", ["<fim_middle>", "<|endoftext|>", "<fim_suffix>"])
def test_b3_special_tokens_in_a_file_are_text(literal: str, infill: Infill) -> None:
    text = f"a {literal}|\n{literal}\n"
    document = infill(text, "<fim_pad>", "--format=json").json
    assert document["prompt_tokens"] == 3 + len(text) - 1
    assert document["choices"][0]["text"] == "<fim_pad>"  # c2: spelled, so a text


def test_b2_a_model_that_cannot_infill(infill: Infill, run: Run) -> None:
    model = infill.model("x", b"a")
    path = model / "tokenizer.json"
    path.write_text(path.read_text("utf-8").replace("<fim_", "<mif_"), "utf-8")
    infill.write(b"a")
    done = run("infill", "-m", model, "--at=1:1", "a.py")
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr == (
        f"bigcode: error[no-infill]: {model}: cannot infill: its tokenizer has no sentinel tokens\n"
        "hint: use a model that was trained to infill, such as SantaCoder or StarCoder\n"
    )


def test_santacoder_s_spelling(infill: Infill, run: Run) -> None:
    model = infill.model("1", b"x = \n")
    path = model / "tokenizer.json"
    path.write_text(path.read_text("utf-8").replace("<fim_", "<fim-"), "utf-8")
    infill.write(b"x = \n")
    assert run("infill", "-m", model, "--at=1:5", "a.py").stdout == b"1"


SOURCE = "    x = 1\n    return x\n\ny = f(2)\n\ndef g():\n    pass\n"


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        pytest.param("line", "    x = 1", id="c4-line"),
        pytest.param("block", "    x = 1\n    return x", id="c1-block"),
        pytest.param("function", "    x = 1\n    return x", id="c1-function"),
        pytest.param("file", SOURCE, id="file"),
    ],
)
def test_c4_c1_until_a_scope(until: str, expected: str, infill: Infill) -> None:
    done = infill("def f(a):\n|\n\nf(3)\n", SOURCE, f"--until={until}")
    assert done.stdout.decode().rstrip("\n") == expected.rstrip("\n")


@pytest.mark.parametrize(
    ("stops", "expected"),
    [
        pytest.param(["d;"], "a;\nb;\nc;\n", id="c5-one"),
        pytest.param(["c;", ";\nb"], "a", id="c5-first-of-two"),
        pytest.param(["zz"], "a;\nb;\nc;\nd;\n", id="c5-none"),
        pytest.param(["d;\nx"], "a;\nb;\nc;\nd;\n", id="c5-held-text-comes"),
    ],
)
def test_c5_stop_texts(stops: list[str], expected: str, infill: Infill) -> None:
    done = infill("{\n|\n}\n", "a;\nb;\nc;\nd;\n", *(f"--stop={stop}" for stop in stops))
    assert done.stdout.decode() == expected


@pytest.mark.parametrize("unit", ["\t", "  ", "    ", "   "])
def test_c6_right_indentation_is_left_alone(unit: str, infill: Infill) -> None:
    written = f"{unit}if a:\n{unit}{unit}b()\n \t{unit}c()\n"
    done = infill(f"def f():\n|\n{unit}return total\n", written + f"{unit}return total\n")
    assert done.stdout.decode() == written.rstrip("\n")


def test_c1_a_loop_is_cut(infill: Infill) -> None:
    choice = infill("a\n|\nz()\n", "go(x)\n" * 30, "--format=json").json["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("go(x)\ngo(x)", "repetition")


def test_c7_no_repetition_penalty_unless_asked_for(infill: Infill, run: Run) -> None:
    infill.write(b"x\n")
    model = infill.model("aba", b"x\n", sharp=0.5)  # a soft choice, which the penalty can turn
    arguments = ("infill", "-m", model, "--at=1:2", "--max-tokens=3", "a.py")
    assert run(*arguments).stdout == b"aba"
    assert run(*arguments, "--repetition-penalty=100").stdout != b"aba"


def test_max_tokens_and_samples(infill: Infill) -> None:
    assert infill("x = |\n", "12345", "--max-tokens=3").stdout == b"123"
    choice = infill("x = |\n", "12345", "--max-tokens=3", "--format=json").json["choices"][0]
    assert choice["finish_reason"] == "length"
    done = infill("foo(|)\n", "a)", "--samples=2")
    assert done.stdout == b"==> 1/2 <==\na\n==> 2/2 <==\na\n"
    choices = infill("foo(|)\n", "a)", "--samples=2", "--format=json").json["choices"]
    assert [(choice["index"], choice["text"]) for choice in choices] == [(0, "a"), (1, "a")]
    assert all(choice["logprob"] == pytest.approx(0, abs=1e-3) for choice in choices)


def test_sampling_options(infill: Infill, run: Run) -> None:
    infill.write(b"x\n")
    model = write_checkpoint(run.folder.parent / "unsure", script=[], sharp=0.05)
    shared = ("infill", "-m", model, "--at=1:2", "--max-tokens=24", "--format=json", "--no-trim")

    def draw(*arguments: str) -> Any:
        return [choice["text"] for choice in run(*shared, *arguments, "a.py").json["choices"]]

    first = draw("--temperature=1", "--seed=1")
    assert first == draw("--temperature=1", "--seed=1")
    several = draw("--temperature=1", "--seed=1", "--samples=3")
    assert several[0] == first[0]
    assert len(set(several)) == 3
    greedy = draw()
    for only in ("--top-k=1", "--top-p=0.000001", "--min-p=1"):
        assert draw("--temperature=1", only) == greedy
    assert draw("--min-confidence=0.5") == [""]


def test_a_time_budget_returns_what_there_is(run: Run, checkpoint: Path) -> None:
    (run.folder / "a.py").write_text("#\n", "utf-8")
    arguments = ("--time-budget=0.2", "--max-tokens=8000", "--format=json", "--at=1:2")
    choice = run("infill", "-m", checkpoint, *arguments, "--until=file", "a.py").json["choices"][0]
    assert choice["finish_reason"] == "time"
    assert 0 < choice["completion_tokens"] < 8000
    assert choice["text"] in numbered_lines(600)


def test_d2_too_long_a_text_keeps_both_sides_of_the_gap(infill: Infill, run: Run) -> None:
    model = write_checkpoint(run.folder.parent / "short", script=encode("x" * 200), positions=128)
    text = "a = 1\n" * 500
    infill.write(text.encode())
    arguments = ("infill", "-m", model, "--at=250:1", "--max-tokens=8", "--no-trim", "a.py")
    done = run(*arguments, "--format=json")
    read = done.json["prompt_tokens"]
    before, behind = done.json["dropped_prefix_tokens"], done.json["dropped_suffix_tokens"]
    assert read <= 120
    assert read - 3 + before + behind == len(text)
    assert 249 * 6 - before > 2 * (251 * 6 - behind) > 0  # what was kept: three to one, in lines
    sides = f"dropped {before:,} before and {behind:,} after the gap"
    message = f"bigcode: note: the text is too long: kept {read:,} tokens, {sides}\n"
    assert done.stderr == message
    streamed = run(*arguments)
    assert streamed.stderr == message
    assert streamed.stdout.decode() == done.json["choices"][0]["text"]
    assert run(*arguments, "-q").stderr == ""
    refused = run(*arguments, "--no-truncate")
    assert (refused.status, refused.stdout) == (2, b"")
    assert refused.stderr.startswith("bigcode: error[context]: the text has 3000 tokens")


def test_context_files_are_read(infill: Infill, run: Run) -> None:
    infill.write(b"ONE = 1\n", "one.py")
    infill.write(b"x = \n")
    extra = len("one.py\nONE = 1\na.py\n") + 2
    model = infill.model("1", b"x = \n", extra=extra)
    arguments = ("infill", "-m", model, "--at=1:5", "--context=one.py", "--format=json", "a.py")
    document = run(*arguments).json
    assert document["prompt_tokens"] == 3 + len("x = \n") + extra
    assert document["choices"][0]["text"] == "1"
    assert document["dropped_context_tokens"] == 0


def test_model_options_and_notes(infill: Infill) -> None:
    done = infill("x = |\n", "1", "-v", "--threads=1", "--device=cpu", "--offline")
    assert done.stdout == b"1"
    assert "completion: 1 tokens, stop" in done.stderr
    assert "prompt: 8 tokens in" in done.stderr
    assert infill("x = |\n", "1", "-v", "-q").status == 2
    assert infill("x = |\n", "1", "--precision=bfloat16").stdout == b"1"
    done = infill("x = |\n", "1", "--device=cuda:99")
    assert (done.status, done.stdout) == (3, b"")


def test_from_standard_input(infill: Infill, run: Run) -> None:
    model = infill.model("1", b"x = \n")
    for arguments in ((), ("-",)):
        done = run("infill", "-m", model, "--at=1:5", *arguments, input=b"x = \n")
        assert (done.status, done.stdout, done.stderr) == (0, b"1", "")
    done = run("infill", "-m", model, "--at=1:5", "--print=file", input=b"x = \n")
    assert done.stdout == b"x = 1\n"
    done = run("infill", "-m", model, "--at=1:5", "--print=diff", input=b"x = \n")
    assert done.stdout == b"--- stdin\n+++ stdin\n@@ -1 +1 @@\n-x = \n+x = 1\n"


def test_an_answer_is_shown_as_it_arises(run: Run, checkpoint: Path) -> None:
    """`| head` ends the work: a model that would write on for 8,000 tokens is left at once."""
    (run.folder / "a.py").write_text("#\n", "utf-8")
    script = '"$0" "$@" | head -c 20; status=${PIPESTATUS[0]}; echo; echo $status'
    program = ("bash", "-c", script, BIGCODE)
    arguments = ("--max-tokens=8000", "--until=file", "--at=1:2", "a.py")
    done = run("infill", "-m", checkpoint, *arguments, program=program)
    text, status = done.stdout.decode().rsplit("\n", 2)[:2]
    assert text in numbered_lines(600)
    assert (status, done.stderr) == ("141", "")


def test_streamed_text_is_that_of_json(infill: Infill) -> None:
    written = numbered_lines(8)
    text = "a\n|\nvalue_5 = 25\nz\n"
    streamed = infill(text, written, "--max-tokens=500")
    document = infill(text, written, "--max-tokens=500", "--format=json").json
    assert streamed.stdout.decode() == document["choices"][0]["text"]
    assert streamed.stdout.decode() == numbered_lines(5).removesuffix("\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "nothing says where the gap is", id="nowhere"),
        pytest.param(["--at=1:1", "--offset=0"], "more than one option says", id="two-ways"),
        pytest.param(["--marker=x", "--suffix-file=a"], "more than one option", id="file-too"),
        pytest.param(["--at=1:"], "--at: '1:' is not LINE:COLUMN", id="no-column"),
        pytest.param(["--at=end"], "--at: 'end' is not LINE:COLUMN", id="lower-case"),
        pytest.param(["--at=0:1"], "--at: '0:1' is not LINE:COLUMN", id="line-0"),
        pytest.param(["--at=1:0"], "--at: '1:0' is not LINE:COLUMN", id="column-0"),
        pytest.param(["--at=1:²"], "--at: '1:²' is not LINE:COLUMN", id="no-digit"),
        pytest.param(["--offset=-1"], "--offset: '-1' is not a whole number", id="negative"),
        pytest.param(["--marker="], "--marker: a marker cannot be empty", id="empty-marker"),
        pytest.param(["--marker=\udcff"], "--marker: a marker must be valid UTF-8", id="bytes"),
        pytest.param(["--prefix-file=a"], "--suffix-file is missing", id="no-suffix"),
        pytest.param(["--suffix-file=a"], "--prefix-file is missing", id="no-prefix"),
        pytest.param(
            ["--prefix-file=-", "--suffix-file=-"], "cannot both be standard input", id="both-stdin"
        ),
        pytest.param(
            ["--prefix-file=a", "--suffix-file=b", "c"], "c: FILE does not go with", id="three"
        ),
        pytest.param(
            ["--prefix-file=a", "--suffix-file=b", "--in-place"], "--in-place needs", id="no-file"
        ),
        pytest.param(
            ["--prefix-file=a", "--suffix-file=b", "--print=diff"], "--print diff needs", id="diff"
        ),
        pytest.param(["--at=1:1", "--order=mps"], "--order: 'mps' is not one of", id="order"),
        pytest.param(["--at=1:1", "--print=all"], "--print: 'all' is not one of", id="print"),
        pytest.param(["--at=1:1", "--in-place"], "--in-place needs a FILE", id="stdin"),
        pytest.param(["--at=1:1", "--in-place", "-"], "--in-place needs a FILE", id="dash"),
        pytest.param(["--at=1:1", "--in-place", "--print=file"], "with --print", id="in-place"),
        pytest.param(["--at=1:1", "--in-place", "--samples=2"], "with --samples", id="samples"),
        pytest.param(["--at=1:1", "."], ".: is a folder", id="folder"),
    ],
)
def test_usage(arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["infill", *arguments]) == 2
    stdout, stderr = capfd.readouterr()
    assert stdout == ""
    assert stderr.startswith("bigcode: error[usage]: ")
    assert message in stderr


def test_the_environment_may_not_say_where(infill: Infill, run: Run) -> None:
    model = infill.model("1", b"x = \n")
    infill.write(b"x = \n")
    env = {"BIGCODE_AT": "1:5", "BIGCODE_PRINT": "file", "BIGCODE_NO_TRIM": "1"}
    done = run("infill", "-m", model, "a.py", env=env)
    assert (done.status, done.stdout) == (2, b"")
    assert "nothing says where the gap is" in done.stderr
    done = run("infill", "-m", model, "--at=1:5", "a.py", env=env)
    assert (done.status, done.stdout) == (0, b"1")
    assert "BIGCODE_PRINT is ignored: --print is taken from the command line alone" in done.stderr


def test_nothing_heavy_is_imported_for_a_usage_error(run: Run) -> None:
    code = (
        "import sys; from bigcode_cli.app import main; status = main(sys.argv[1:]);"
        "heavy = {'torch', 'numpy', 'tokenizers', 'rich', 'pydantic'} & set(sys.modules);"
        "print(status, sorted(heavy))"
    )
    for arguments in (("--help",), ("a.py",), ("--at=1:1", "no-such-file")):
        done = run("infill", *arguments, program=(sys.executable, "-c", code))
        assert done.stdout.splitlines()[-1] in (b"0 []", b"2 []", b"3 []")


def test_json_is_ascii(infill: Infill) -> None:
    done = infill("x = '|'\n", "中😀", "--format=json")
    assert done.stdout.isascii()
    assert json.loads(done.stdout)["choices"][0]["text"] == "中😀"


@pytest.mark.parametrize(
    ("data", "slug"),
    [
        pytest.param(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary", id="png"),
        pytest.param(b"\xa7\r\r\n\0\0\0\0", "binary", id="pyc"),
        pytest.param(b"\x1f\x8b\x08\x08\xff\xfe", "input-encoding", id="gzip"),
        pytest.param("x = 1".encode("utf-16"), "input-encoding", id="utf-16"),
    ],
)
def test_d4_what_is_no_text_is_refused(data: bytes, slug: str, infill: Infill, run: Run) -> None:
    infill.write(data)
    done = run("infill", "-m", infill.model("x", b""), "--in-place", "--offset=0", "a.py")
    assert (done.status, done.stdout) == (3, b"")
    assert f"error[{slug}]: a.py: " in done.stderr
    assert (run.folder / "a.py").read_bytes() == data
