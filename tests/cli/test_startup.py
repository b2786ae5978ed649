"""What costs nothing: help, version, usage errors; and what is never imported."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from program import BIGCODE, TIMEOUT_SECONDS, Run, read_terminal

HEAVY = {"torch", "numpy", "tokenizers", "safetensors", "huggingface_hub", "rich", "pydantic"}
HEAVY |= {"pyarrow", "ray"}
MODULE = (sys.executable, "-m", "bigcode_cli")
CANARIES = (
    *("torch", "json", "typing", "typer", "signal", "numpy", "platformdirs", "tokenizers"),
    *("gc", "resource", "select"),
)
COMMANDS = {"bench", "classify", "complete", "infill", "models", "score", "tag"}


def test_version(run: Run) -> None:
    done = run("--version")
    assert (done.status, done.stderr) == (0, "")
    assert re.fullmatch(rb"bigcode \d+\.\d+\.\d+\n", done.stdout)


def test_the_program_alone_shows_its_help_as_an_error(run: Run) -> None:
    done = run(program=MODULE)
    assert (done.status, done.stdout) == (2, b"")
    assert "Commands:\n  complete  Continue the text" in done.stderr


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_options_with_ranges_and_examples(run: Run, flag: str) -> None:
    done = run("complete", flag)
    assert (done.status, done.stderr) == (0, "")
    text = done.stdout.decode()
    for part in (
        "--top-p P",
        "NAME|PATH|REPO[@REVISION]",
        "[default: 128; 1 to 100000]",
        "[default: 1; above 0, up to 1]",
        "$ bigcode complete ",
    ):
        assert part in text
    assert not re.search(r"<\w+(\[\w+\])?>|\{\w+\}|<=x", text)


@pytest.mark.parametrize("words", [("complete",), ("score",), ("models", "pull"), ("models",), ()])
def test_help_on_a_terminal_has_the_same_words_in_panels(run: Run, words: tuple[str, ...]) -> None:
    plain = run(*words, "--help").stdout.decode()
    shown = _on_terminal(run, *words, "--help")
    assert "╭─" in shown
    assert "╭─" not in plain
    assert "\x1b[" in shown
    flags = set(re.findall(r"--[a-z][a-z-]+", plain))
    assert flags
    assert flags <= set(re.findall(r"--[a-z][a-z-]+", shown))
    assert "╭─" not in _on_terminal(run, *words, "--help", TERM="dumb")


def _on_terminal(run: Run, *arguments: str, **variables: str) -> str:
    master, slave = pty.openpty()
    environment = {**run.environment, "TERM": "xterm-256color", **variables}
    child = subprocess.Popen([BIGCODE, *arguments], env=environment, stdout=slave, stderr=slave)
    os.close(slave)
    shown = read_terminal(master).decode()
    assert child.wait(TIMEOUT_SECONDS) == 0
    return shown


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        pytest.param(["--help"], 0, id="help"),
        pytest.param(["--version"], 0, id="version"),
        pytest.param(["complete", "--help"], 0, id="help-of-a-command"),
        pytest.param(["corpus", "score", "--help"], 0, id="help-of-corpus"),
        pytest.param(["complete", "--no-such-option"], 2, id="unknown-option"),
        pytest.param(["complete", "--top-p", "7"], 2, id="bad-value"),
        pytest.param(["complete", "-m", "no-such-model"], 3, id="missing-model"),
        pytest.param(["complete", "no-such-file"], 3, id="missing-file"),
    ],
)
def test_nothing_heavy_is_imported(run: Run, arguments: list[str], status: int) -> None:
    program = (sys.executable, "-X", "importtime", "-m", "bigcode_cli")
    done = run(*arguments, program=program)
    assert done.status == status
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert {name.partition(".")[0] for name in imported} & HEAVY == set()


def test_the_likeliest_tokens_import_neither_torch_nor_random_numbers(run: Run) -> None:
    program = (sys.executable, "-X", "importtime", "-m", "bigcode_cli")
    for temperature, expected in (("0", {"numpy"}), ("0.5", {"numpy", "numpy.random"})):
        options = ("--max-tokens=2", f"--temperature={temperature}")
        done = run("complete", *options, input=b"def f(", program=program)
        assert done.status == 0
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert imported & {"torch", "numpy", "numpy.random"} == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["--help"], set(), id="help"),
        pytest.param(["--version"], set(), id="version"),
        pytest.param([], set(), id="nothing"),
        pytest.param(["models", "--help"], {"models"}, id="help-of-a-group"),
        pytest.param(["complete", "--help"], {"complete"}, id="help-of-a-command"),
        pytest.param(["score", "no-such-file"], {"score"}, id="a-call"),
    ],
)
def test_only_the_command_that_is_named_is_imported(
    run: Run, arguments: list[str], expected: set[str]
) -> None:
    program = (
        "import sys; from bigcode_cli.app import main; main(sys.argv[1:]); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = run(*arguments, program=(sys.executable, "-c", program))
    imported = set(done.stderr.splitlines()[-1].split())
    modules = {name.split(".")[2] for name in imported if name.startswith("bigcode_cli.commands.")}
    assert modules & COMMANDS == expected
    assert ("bigcode_cli.framework.options" in imported) == bool(expected)


@pytest.mark.parametrize("words", [(), ("models",)])
def test_a_list_of_commands_tells_what_their_own_help_tells(
    run: Run, words: tuple[str, ...]
) -> None:
    wide = {"COLUMNS": "200"}
    shown = run(*words, "--help", env=wide).stdout.decode()
    rows = re.findall(r"^  (\w+)  +(\S.*)$", shown.partition("Commands:\n")[2], re.MULTILINE)
    assert len(rows) > 5
    for name, summary in rows:
        own = run(*words, name, "--help", env=wide).stdout.decode().split("\n")[2].strip()
        assert own.startswith(summary.removesuffix("..."))


@pytest.fixture
def trapped_folder(tmp_path: Path) -> Path:
    """A folder whose modules leave a mark when they are imported."""
    folder = tmp_path / "trap"
    folder.mkdir()
    for name in CANARIES:
        (folder / f"{name}.py").write_text("open('imported', 'w').close()\n", "utf-8")
    return folder


@pytest.mark.parametrize(
    ("program", "environment"),
    [
        pytest.param((BIGCODE,), {}, id="script"),
        pytest.param(MODULE, {}, id="python-m"),
        pytest.param(MODULE, {"PYTHONPATH": ":"}, id="python-m-with-an-empty-pythonpath-item"),
    ],
)
def test_modules_of_the_current_folder_are_never_imported(
    run: Run,
    trapped_folder: Path,
    program: tuple[str, ...],
    environment: dict[str, str],
    checkpoint: Path,
) -> None:
    arguments = ("complete", "--max-tokens=1", "--precision=bfloat16", "-m", checkpoint)
    done = run(*arguments, program=program, cwd=trapped_folder, env=environment, input=b"#\n")
    assert (done.status, done.stdout) == (0, b"l")
    assert not (trapped_folder / "imported").exists()
