"""stdout is the result, byte for byte; a terminal is shown control characters, not given them."""

import array
import fcntl
import json
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bigcode_cli.framework.output import Notes, Result, safe, visible
from program import BIGCODE, TIMEOUT_SECONDS, Run

NASTY = "x = a[i][/b]  # [red]\x1b[31m\x07\x9b2J \u202e中😀é \r\n" + "y" * 120 + "\t \r."
SHOWN = "x = a[i][/b]  # [red]^[[31m^G<U+009B>2J <U+202E>中😀é \r\n" + "y" * 120 + "\t ^M."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [/foo] é中😀", "plain [/foo] é中😀"),
        ("a\nb\tc\r\x7f\x00", "a^Jb^Ic^M^?^@"),
        ("\x1b]0;title\x07", "^[]0;title^G"),
        ("\x85\x9b", "<U+0085><U+009B>"),
        ("a\u2028b\u2029c", "a<U+2028>b<U+2029>c"),
        ("\u202e\u2066\u200f", "<U+202E><U+2066><U+200F>"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("\ud800", "<U+D800>"),
    ],
)
def test_messages_are_one_clean_line(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_terminals_keep_their_lines() -> None:
    assert visible(NASTY) == SHOWN


def test_the_pieces_of_a_stream_are_shown_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the text is cut, a carriage return is judged by what follows it."""
    expected = (SHOWN + "\n").replace("\n", "\r\n").encode()  # the terminal itself adds one
    for cut in range(len(NASTY) + 1):
        master, slave = pty.openpty()
        with os.fdopen(slave, "w", encoding="utf-8") as terminal:
            monkeypatch.setattr("sys.stdout", terminal)
            result = Result()
            for piece in (NASTY[:cut], NASTY[cut:]):
                result.write(piece)
            result.close()
            shown = b""
            while len(shown) < len(expected):
                shown += os.read(master, 4096)
        os.close(master)
        assert shown == expected


def test_any_locale_gives_the_same_bytes(run: Run, scripted: Callable[..., Path]) -> None:
    model = scripted(NASTY)
    for env in (
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "cp1252", "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "TERM": "dumb"},
    ):
        done = run("complete", "-m", model, "--max-tokens", "999", input=b"#\n", env=env)
        assert (done.status, done.stdout, done.stderr) == (0, NASTY.encode(), "")


def test_a_terminal_is_shown_what_it_would_obey(run: Run, scripted: Callable[..., Path]) -> None:
    model = scripted(NASTY)
    (run.folder / "a.py").write_text("#\n", "utf-8")
    shown, status = _in_a_terminal(run, "complete", "-m", str(model), "--max-tokens=999", "a.py")
    assert status == 0
    assert shown == SHOWN.replace("\r\n", "\r\r\n") + "\n"
    assert "\x1b" not in shown


@pytest.mark.timing
@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_a_terminal_as_stdin_is_a_usage_error_at_once(arguments: tuple[str], run: Run) -> None:
    started = time.monotonic()
    shown, status = _in_a_terminal(run, "complete", *arguments)
    assert time.monotonic() - started < 5
    assert status == 2
    assert shown.splitlines() == [
        "bigcode: error[usage]: no FILE given, and stdin is a terminal",
        "hint: bigcode complete FILE, or pipe the text in",
    ]


def _in_a_terminal(run: Run, *arguments: str, **variables: str) -> tuple[str, int]:
    """Run with all three streams at a terminal; give what it showed, and the status."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [BIGCODE, *arguments],
        cwd=run.folder,
        env={**run.environment, **variables},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    while select.select([master], [], [], TIMEOUT_SECONDS)[0]:
        try:
            data = os.read(master, 4096)
        except OSError:  # the other side has closed
            break
        shown += data
    os.close(master)
    text = shown.decode().replace("\r\r\n", "\0").replace("\r\n", "\n").replace("\0", "\r\r\n")
    return text, process.wait(TIMEOUT_SECONDS)


@pytest.mark.parametrize("command", ["complete -m MODEL --max-tokens 3", "--help", "--version"])
@pytest.mark.parametrize(
    ("redirection", "reason"),
    [
        pytest.param("> /dev/full", "stdout: No space left on device", id="full"),
        pytest.param(">&-", "stdout is closed", id="closed"),
    ],
)
def test_a_stdout_that_takes_nothing(
    command: str, redirection: str, reason: str, run: Run, checkpoint: Path
) -> None:
    words = command.replace("MODEL", str(checkpoint))
    done = run(program=("sh", "-c", f"{BIGCODE} {words} {redirection}"), input=b"#\n")
    assert (done.status, done.stderr) == (3, f"bigcode: error[output]: {reason}\n")


def test_a_closed_stderr_changes_nothing(run: Run, checkpoint: Path) -> None:
    script = f"{BIGCODE} complete -v -m {checkpoint} --max-tokens 9 2>&-"
    done = run(program=("sh", "-c", script), input=b"#\n")
    assert (done.status, done.stdout) == (0, b"lue_0 = 0")


@pytest.mark.timing
def test_the_reader_of_a_pipe_may_go(run: Run, checkpoint: Path) -> None:
    """`| head -c1` ends a long completion at once, silently, with 141."""
    script = (
        f"{BIGCODE} complete -m {checkpoint} --max-tokens 8000 a.py | head -c1; "
        'echo " ${PIPESTATUS[0]}"'
    )
    (run.folder / "a.py").write_text("#\n", "utf-8")
    whole = time.monotonic()
    done = run(program=("bash", "-c", script), env={"PYTHONUNBUFFERED": "1"})
    assert (done.stdout, done.stderr) == (b"l 141\n", "")
    assert time.monotonic() - whole < 30


def test_pipes_that_do_not_block(run: Run, checkpoint: Path) -> None:
    """Some programs hand their children pipes that give up instead of waiting."""
    read_in, write_in = os.pipe()
    read_out, write_out = os.pipe()
    for end in (read_in, write_out):
        os.set_blocking(end, False)
    fcntl.fcntl(write_out, fcntl.F_SETPIPE_SZ, 4096)
    streams: Any = {"stdin": read_in, "stdout": write_out, "stderr": subprocess.PIPE}
    process = run.start("complete", "--echo", "--max-tokens=1", "-m", checkpoint, **streams)
    os.close(read_in)
    os.close(write_out)
    time.sleep(0.5)  # it finds its input empty
    text = b"x" * 50_000
    with os.fdopen(write_in, "wb") as stream:
        stream.write(text)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while array.array("i", fcntl.ioctl(read_out, termios.FIONREAD, bytes(4)))[0] < 4096:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)  # it finds its output full
    with os.fdopen(read_out, "rb") as stream:
        written = stream.read()
    _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    assert (process.returncode, written[:50_000] == text, len(written)) == (0, True, 50_001)
    assert stderr.startswith(b"bigcode: note: the text is too long")


def test_help_may_be_cut_too(run: Run) -> None:
    script = f'{BIGCODE} complete --help | true; echo "${{PIPESTATUS[0]}}"'
    done = run(program=("bash", "-c", f"sleep 0; {script}"))
    assert done.stdout in (b"0\n", b"141\n")
    assert done.stderr == ""


def test_notes(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for notes in (Notes(quiet=True, verbose=True), Notes(), Notes(verbose=True)):
        notes.note("note")
        notes.detail("detail")
        notes.remark("remark")  # for a terminal only
    assert capfd.readouterr().err == "bigcode: note: note\n" * 2 + "bigcode: note: detail\n"
    monkeypatch.setattr("sys.stderr", None)
    Notes().note("nobody listens")


def test_json_is_ascii_and_strict(capfd: pytest.CaptureFixture[str]) -> None:
    document = {"text": NASTY, "number": 1.5}
    Result().write_json(document, indent=None)
    written = capfd.readouterr().out
    assert json.loads(written) == document
    assert written.isascii()
    assert written.count("\n") == 1
    with pytest.raises(ValueError, match="not JSON compliant"):
        Result().write_json({"number": float("nan")}, indent=2)


@pytest.mark.parametrize("columns", [20, 80, 200])
def test_a_table_never_breaks_a_name_or_a_path(run: Run, columns: int) -> None:
    """Folded at its edge, it could be neither read nor copied."""
    shown, status = _in_a_terminal(run, "models", "list", "--available", COLUMNS=str(columns))
    assert status == 0
    for word in ("granite-20b-code-base", "ibm-granite/granite-20b-code-base", "HF_TOKEN", "164M"):
        assert f" {word} " in f" {shown} ".replace("\n", " ")
    shown, status = _in_a_terminal(run, "cache", "list", COLUMNS=str(columns))
    assert status == 0
    assert "bigcode/prefixes" in shown
