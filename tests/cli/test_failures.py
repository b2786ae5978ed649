"""Every error becomes one line, an exit status and at most one hint."""

import errno
from collections.abc import Iterator

import pytest

from bigcode_cli.framework import errors as shown_errors
from bigcode_cli.framework.errors import ExitStatus, Failure, UsageFailure, report
from gpt_bigcode import errors
from program import Run


def _family(kind: type[errors.GPTBigCodeError]) -> Iterator[type[errors.GPTBigCodeError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _family(child)


@pytest.mark.parametrize("kind", list(_family(errors.GPTBigCodeError)))
def test_every_library_error_is_in_the_table(
    kind: type[errors.GPTBigCodeError], capfd: pytest.CaptureFixture[str]
) -> None:
    status = shown_errors.LIBRARY_STATUS[kind]
    assert status in (ExitStatus.USAGE, ExitStatus.FAILED)
    assert report(kind("a.bin: broken", hint="try b.bin")) is status
    expected = f"bigcode: error[{kind.slug}]: a.bin: broken\nhint: try b.bin\n"
    assert capfd.readouterr() == ("", expected)


def test_the_table_names_only_errors_of_the_library() -> None:
    assert set(shown_errors.LIBRARY_STATUS) == set(_family(errors.GPTBigCodeError))


@pytest.mark.parametrize(
    ("error", "line", "status"),
    [
        pytest.param(Failure("busy", "a: b"), "error[busy]: a: b\n", 3, id="failure"),
        pytest.param(UsageFailure("a: b"), "error[usage]: a: b\n", 2, id="usage"),
        pytest.param(errors.ContextError("a: b"), "error[context]: a: b\n", 2, id="context"),
        pytest.param(errors.OptionError("a: b"), "error[option]: a: b\n", 2, id="option"),
        pytest.param(MemoryError(), "error[memory]: ", 3, id="memory"),
        pytest.param(
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"),
            "error[memory]: ",
            3,
            id="torch-memory",
        ),
        pytest.param(
            OSError(errno.ENOSPC, "No space left on device"),
            "error[output]: stdout: No space left on device\n",
            3,
            id="disk-full",
        ),
        pytest.param(KeyError("x"), "error[internal]: KeyError: 'x'\nhint: ", 3, id="bug"),
        pytest.param(ValueError("\x1b[2J\n"), "ValueError: ^[[2J^J\nhint: ", 3, id="escape"),
    ],
)
def test_an_error_is_one_line(
    error: BaseException, line: str, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert report(error) == status
    stdout, stderr = capfd.readouterr()
    assert stdout == ""
    assert stderr.startswith("bigcode: error[")
    assert line in stderr
    assert stderr.count("\n") == 1 + stderr.count("\nhint: ")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(KeyboardInterrupt(), ExitStatus.INTERRUPTED, id="ctrl-c"),
        pytest.param(BrokenPipeError(), ExitStatus.PIPE_CLOSED, id="pipe"),
    ],
)
def test_what_needs_no_words(
    error: BaseException, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert report(error) == status
    assert capfd.readouterr() == ("", "")


def test_the_traceback_is_shown_on_request_only(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BIGCODE_DEBUG", "1")
    assert report(KeyError("x")) == ExitStatus.FAILED
    assert capfd.readouterr().err.startswith("KeyError: 'x'\n")  # it was never raised
    monkeypatch.setenv("BIGCODE_DEBUG", "0")
    assert report(KeyError("x")) == ExitStatus.FAILED
    assert capfd.readouterr().err.startswith("bigcode: error[internal]: ")


def test_the_exit_statuses_are_those_of_the_contract() -> None:
    assert sorted(ExitStatus) == [0, 1, 2, 3, 130, 141, 143]
    assert all(status.meaning for status in ExitStatus)


@pytest.mark.parametrize("arguments", [("-m", "no/model"), ("no-file",), ("--no-option",)])
def test_debugging_shows_where_but_no_secret(arguments: tuple[str, ...], run: Run) -> None:
    env = {"BIGCODE_DEBUG": "1", "HF_TOKEN": "hf_SENTINEL", "HUGGING_FACE_HUB_TOKEN": "hf_SENTINEL"}
    done = run("complete", *arguments, input=b"x", env=env)
    assert done.status in (2, 3)
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert "\nbigcode: error[" in done.stderr
    assert "hf_SENTINEL" not in done.stderr + done.stdout.decode()
