"""Starts the installed program and keeps what it left behind. Knows no command."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BIGCODE = str(Path(sys.executable).with_name("bigcode"))
TIMEOUT_SECONDS = 60


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


def _refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


@dataclass(frozen=True)
class Run:
    """`run("complete", "a.py", input=b"")` in a folder and an environment of its own."""

    folder: Path
    environment: Mapping[str, str]

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
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            [*program, *arguments],
            env={**self.environment, **(env or {})},
            capture_output=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
            **options,
        )
        stderr = done.stderr.decode()
        assert ("Traceback" in stderr) <= ("BIGCODE_DEBUG" in (env or {}))
        assert "\x1b" not in stderr
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
