"""Starts the installed program and keeps what it left behind. Knows no command."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zygote

BIGCODE = str(Path(sys.executable).with_name("bigcode"))
TIMEOUT_SECONDS = 600  # only a hang takes so long, on any machine
_OUR_LINES = ("bigcode: ", "hint: ")
# Variables that the interpreter or a library reads once, at its start.
_DECIDED_AT_THE_START = ("PYTHON", "OMP_", "OPENBLAS", "MKL", "LD_", "LC_", "LANG", "TORCH")


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


def forked(
    command: Sequence[str | bytes | Path],
    environment: Mapping[str, str],
    usual: Mapping[str, str],
    options: Mapping[str, Any],
) -> subprocess.CompletedProcess[bytes] | None:
    """Run the program in a process forked by the zygote; None if this call must not be.

    What decides how the interpreter or its libraries start is left to a real start.
    """
    words = [os.fsencode(word) for word in command]
    changed = {name for name, value in environment.items() if usual.get(name) != value}
    if (
        words[0] != os.fsencode(BIGCODE)
        or set(options) - {"input", "stdin", "cwd"}
        or any(name.startswith(_DECIDED_AT_THE_START) for name in changed)
        or any(word.startswith(b"--threads") for word in words)
    ):
        return None
    return zygote.run(words[1:], environment, timeout_seconds=TIMEOUT_SECONDS, **options)


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
        **options: Any,
    ) -> Outcome:
        if "stdin" not in options:
            options.setdefault("input", b"")
        options.setdefault("cwd", self.folder)
        environment = {**self.environment, **(env or {})}
        done = forked([*program, *arguments], environment, self.environment, options)
        if done is None:
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
