"""Values that no option takes: exit status 2, at once, naming the option and its range."""

from pathlib import Path

import pytest

from bigcode_cli.app import main
from program import Run

RANGES = {
    "--max-tokens": ("1 to 100000", ["0", "-1", "1000000000000", "1.5", "x", ""]),
    "--temperature": ("0 to 100", ["-1", "nan", "inf", "-inf", "101", "hot"]),
    "--top-k": ("0 to 1000000", ["-1", "1.5", "nan", "1000001"]),
    "--top-p": ("above 0, up to 1", ["0", "1.1", "-0.1", "nan"]),
    "--min-p": ("0 to 1", ["-0.1", "1.1", "nan"]),
    "--seed": ("0 or more", ["-1", "0.5"]),
    "--repetition-penalty": ("above 0, up to 100", ["0", "-1", "101", "nan", "inf"]),
    "--time-budget": ("above 0, up to 86400", ["0", "-1", "nan", "inf", "86401"]),
    "--samples": ("1 to 128", ["0", "-1", "1000000", "2.5"]),
    "--min-confidence": ("0 to 1", ["-0.1", "1.1", "nan"]),
    "--threads": ("1 to 1024", ["0", "-1", "1025", "many"]),
    "--precision": ("auto, float32, bfloat16, float16, int8, int4", ["int3", "", "FLOAT32"]),
    "--format": ("text, json, jsonl", ["xml", ""]),
    "--until": ("line, block, function, file", ["end"]),
    "--device": ("auto, cpu, cuda, cuda:N", ["gpu", "cuda:", "cuda:x", ""]),
    "--stop": ("1 to 256 bytes", ["", "x" * 257]),
    "--context": ("cannot be empty", [""]),
}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        pytest.param(option, value, id=f"{option}={value[:20]}")
        for option, (_, values) in RANGES.items()
        for value in values
    ],
)
def test_values_out_of_range(option: str, value: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["complete", f"{option}={value}", "no-such-file"]) == 2
    stdout, stderr = capfd.readouterr()
    assert stdout == ""
    assert stderr.startswith("bigcode: error[usage]: ")
    assert f"{option}: " in stderr
    assert RANGES[option][0] in stderr
    assert stderr.endswith("\nhint: try 'bigcode complete --help'\n")


def test_too_many_stop_texts(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["complete", *["--stop=x"] * 17, "no-such-file"]) == 2
    assert "--stop: at most 16 stop texts, not 17" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["complete", "--max-token", "5"], "no such option: --max-token", id="option"),
        pytest.param(["compete"], "no such command 'compete'", id="command"),
        pytest.param(["complete", "--seed"], "option '--seed' requires an argument", id="no-value"),
        pytest.param(["complete", "a", "b"], "got unexpected extra argument", id="two-files"),
        pytest.param(["complete", "."], ".: is a folder, not a file", id="folder"),
        pytest.param(["complete", ""], "FILE: a file's name cannot be empty", id="no-name"),
    ],
)
def test_wrong_calls(arguments: list[str], message: str, run: Run) -> None:
    done = run(*arguments)
    assert (done.status, done.stdout) == (2, b"")
    assert done.stderr.startswith(f"bigcode: error[usage]: {message}")
    assert done.stderr.count("\n") <= 2


@pytest.mark.parametrize(
    "name",
    [
        "a..b",
        "a/../b",
        "-rf",
        "a b",
        "x" * 201,
        "owner/",
        "/".join("abc") + "/..",
        "@main",
        "a@",
        "",
    ],
)
def test_names_that_no_model_has(name: str, run: Run) -> None:
    done = run("complete", "--model", name, input=b"x")
    assert (done.status, done.stdout) == (2, b"")
    assert done.stderr.startswith("bigcode: error[usage]: --model: ")
    assert len(done.stderr) < 500


@pytest.mark.parametrize("revision", ["../x", "a//b", "a/", "a.lock", "-a", "a" * 201, "a b"])
def test_names_that_no_revision_has(revision: str, tmp_path: Path, run: Run) -> None:
    done = run("complete", "--model", f"owner/name@{revision}", input=b"x")
    assert (done.status, done.stdout) == (2, b"")


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("server", "http://[", "is not a URL"),
        ("server", "http://a b/", "is not a URL"),
        ("server", "http://127.0.0.1:99999", "is not a URL"),
        ("server", "ftp://x", "is not auto, off, unix:PATH or a URL"),
        ("server", "unix:", "is not auto, off, unix:PATH or a URL"),
        ("server", "http://me:word@127.0.0.1:1", "keys do not belong in a URL"),
        ("model", "-x", "is not a model's name"),
        ("model", "a/b@../c", "is not a model's name"),
        ("device", "cuda:\u0663", "is not one of auto, cpu, cuda, cuda:N"),
    ],
)
def test_the_place_of_a_wrong_value_is_named(name: str, value: str, why: str, run: Run) -> None:
    """Even where the value is looked at late, or results are cached so that nothing needs it."""
    run.write("a.py", "x = 1\n")
    variable = run("score", "a.py", env={f"BIGCODE_{name.upper()}": value})
    config = Path(run.environment["HOME"]) / ".config" / "bigcode" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'{name} = "{value}"\n', "utf-8")
    setting = run("score", "a.py")
    typed = run("score", "a.py", f"--{name}={value}")
    assert {done.status for done in (variable, setting, typed)} == {2}
    assert f"error[usage]: BIGCODE_{name.upper()}: " in variable.stderr
    assert f"error[usage]: {config}: {name}: " in setting.stderr
    assert f"error[usage]: --{name}" in typed.stderr
    for done in (variable, setting, typed):
        assert why in done.stderr
        assert "word@" not in done.stderr


@pytest.mark.parametrize("value", [2**63, 2**64, 10**19])
def test_a_number_that_is_too_large_is_told_the_limit(value: int, run: Run) -> None:
    done = run("complete", "--seed", str(value), input=b"x")
    assert done.status == 2
    assert f"'{value}' is not a whole number (0 to {2**63 - 1})" in done.stderr
