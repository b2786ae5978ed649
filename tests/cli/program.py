"""Starts the installed program and keeps what it left behind. Knows no command."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked

BIGCODE = str(Path(sys.executable).with_name("bigcode"))
TIMEOUT_SECONDS = 240  # only a hang takes so long, on any machine; pytest waits 300
_OUR_LINES = ("bigcode: ", "hint: ")
# Variables that the interpreter or a library reads once, at its start.
_DECIDED_AT_THE_START = ("PYTHON", "OMP_", "OPENBLAS", "MKL", "LD_", "LC_", "LANG", "TORCH")

_SEVERAL_THREADS = re.compile(rb"--threads[= ](?!1(?!\d))")  # the zygote's libraries have one


@dataclass(frozen=True)
class Outcome:
    """What a process left behind."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def json(self) -> Any:
        """The JSON on stdout, refused if it is not strict."""
        return json.loads(self.stdout, parse_constant=_refuse_constant)

    @property
    def by_path(self) -> dict[str, Any]:
        """The entries of a JSON report by path."""
        return {entry["path"]: entry for entry in self.json["files"]}

    @property
    def spans(self) -> list[tuple[str, int, int]]:
        """Label, start and end of every finding of a JSON report."""
        return [(s["label"], s["start"], s["end"]) for f in self.json["files"] for s in f["spans"]]


def forkable(
    command: Sequence[str | bytes | Path],
    environment: Mapping[str, str],
    usual: Mapping[str, str],
    options: Mapping[str, Any],
) -> bool:
    """Whether a call may run in a process forked by the zygote.

    What decides how the interpreter or its libraries start is left to a real start.
    """
    words = [os.fsencode(word) for word in command]
    changed = {name for name, value in environment.items() if usual.get(name) != value}
    return not (
        words[0] != os.fsencode(BIGCODE)
        or set(options) - {"input", "stdin", "cwd"}
        or any(name.startswith(_DECIDED_AT_THE_START) for name in changed)
        or _SEVERAL_THREADS.search(b" ".join(words))
    )


def assert_failed(done: Outcome, slug: str) -> None:
    """The work could not be done, for this reason."""
    assert (done.status, done.stdout) == (3, b"")
    assert f"bigcode: error[{slug}]: " in done.stderr


def _refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


@dataclass(frozen=True)
class Run:
    """`run("complete", "a.py", input=b"")` in a folder and an environment of its own."""

    folder: Path
    environment: Mapping[str, str]

    def write(self, name: str | bytes, data: str | bytes) -> Path:
        """Write a file, and the folders that it is in."""
        path = self.folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def __call__(
        self,
        *arguments: str | bytes | Path,
        program: Sequence[str | bytes] = (BIGCODE,),
        env: Mapping[str, str] | None = None,
        statements: str = "",
        **options: Any,
    ) -> Outcome:
        """Run it to its end; `statements` are executed in its process before the program."""
        if "stdin" not in options:
            options.setdefault("input", b"")
        options.setdefault("cwd", self.folder)
        environment = {**self.environment, **(env or {})}
        forks = forkable([*program, *arguments], environment, self.environment, options)
        if statements and not forks:
            raise ValueError("statements are executed in forked processes only")
        if forks:
            call = self._call(arguments, env, statements, options.pop("cwd"))
            done = forked.run(call, timeout_seconds=TIMEOUT_SECONDS, **options)
        else:
            done = subprocess.run(
                [*program, *arguments],
                env=environment,
                capture_output=True,
                check=False,
                timeout=TIMEOUT_SECONDS,
                **options,
            )
        stderr = done.stderr.decode()
        assert "\x1b" not in stderr
        if "BIGCODE_DEBUG" not in environment:
            assert "Traceback" not in stderr
            if tuple(program) == (BIGCODE,):
                lines = stderr.splitlines()
                assert [line for line in lines if not line.startswith(_OUR_LINES)] == []
        return Outcome(done.returncode, done.stdout, stderr)

    def start(
        self,
        *arguments: str | bytes | Path,
        env: Mapping[str, str] | None = None,
        statements: str = "",
        cwd: Path | None = None,
        **streams: Any,
    ) -> forked.Process:
        """Start it, as `subprocess.Popen` would."""
        call = self._call(arguments, env, statements, cwd or self.folder)
        return forked.Process(call, **streams)

    def _call(
        self,
        arguments: Sequence[str | bytes | Path],
        env: Mapping[str, str] | None,
        statements: str,
        cwd: Path | str,
    ) -> forked.Call:
        words = [os.fsencode(word) for word in arguments]
        return forked.Call(words, {**self.environment, **(env or {})}, cwd, statements)


def on_terminal(
    run: Run, *arguments: str | Path, stream: str, statements: str = "", **variables: str
) -> tuple[int, str]:
    """Run it with one of its streams, stdout or stderr, at a terminal.

    Returns:
        The exit status, and what the terminal was shown, with plain line ends.
    """
    master, slave = pty.openpty()
    others: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    env = {"TERM": "xterm", **variables}
    streams = {**others, stream: slave}
    with run.start(*arguments, env=env, statements=statements, **streams) as process:
        os.close(slave)
        shown = read_terminal(master).decode().replace("\r\n", "\n")
        return process.wait(TIMEOUT_SECONDS), shown


def read_terminal(master: int) -> bytes:
    """All that is written to a pseudo-terminal, until its other end is closed; closes this one."""
    said = b""
    while True:
        try:
            chunk = os.read(master, 4096)
        except OSError:  # Linux: everybody has closed the other end
            chunk = b""
        if not chunk:
            break
        said += chunk
    os.close(master)
    return said
