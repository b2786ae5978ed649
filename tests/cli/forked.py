"""Programs that the zygote forks, with the face of `subprocess`."""

import array
import atexit
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Self

from zygote import NUMBER, READY, TORCH

_CHUNK_BYTES = 1 << 16
_END_SECONDS = 60.0
_NEEDS_TORCH = (b"--precision", b"--device", b"convert", b"--convert", b"BIGCODE_PRECISION")


@dataclass(frozen=True)
class Call:
    """Which program is wanted: its arguments, and where it runs.

    Attributes:
        statements: Python that is executed in the process before the program.
    """

    arguments: Sequence[bytes]
    env: Mapping[str, str]
    cwd: Path | str
    statements: str = ""

    def needs_torch(self) -> bool:
        """Whether it will import PyTorch, as far as its words tell; a wrong answer costs time."""
        words = [*self.arguments, *map(os.fsencode, self.env)]
        return any(word.startswith(_NEEDS_TORCH) for word in words)

    def document(self) -> bytes:
        """What the zygote is sent."""
        fields = {
            "arguments": [word.decode("latin-1") for word in self.arguments],
            "env": dict(self.env),
            "cwd": str(self.cwd),
            "statements": self.statements,
            "umask": _umask(),
        }
        return json.dumps(fields).encode()


class Process:
    """A program that the zygote has forked, with what tests use of `subprocess.Popen`.

    Attributes:
        pid: its number.
        returncode: its exit status as Popen gives it; None while it was not seen to end.
        stdin, stdout, stderr: our ends of the pipes that were asked for.
    """

    def __init__(
        self, call: Call, *, stdin: Any = None, stdout: Any = None, stderr: Any = None
    ) -> None:
        self.args = [*call.arguments]
        self.returncode: int | None = None
        self._statuses, status = os.pipe()
        theirs, ours = [], []
        for number, stream in enumerate((stdin, stdout, stderr)):
            their_end, our_end = _ends(number, stream)
            theirs.append(their_end)
            ours.append(our_end)
        try:
            _zygote(needs_torch=call.needs_torch()).ask(call, (*theirs, status))
        finally:
            for number in (status, *theirs):
                os.close(number)
        (self.pid,) = NUMBER.unpack(self._next_number())
        self.stdin, self.stdout, self.stderr = ours

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:  # a test that failed must not wait for it
            self.kill()
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        self.wait(_END_SECONDS)

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the exit status."""
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._statuses, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            (self.returncode,) = NUMBER.unpack(self._next_number())
            os.close(self._statuses)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(
        self, given: bytes = b"", *, timeout: float | None = None
    ) -> tuple[bytes, bytes]:
        """Write to it, read to the end of both its streams and wait for its end.

        Raises:
            subprocess.TimeoutExpired: it took longer, and was killed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        said = {stream: bytearray() for stream in (self.stdout, self.stderr) if stream}
        rest = memoryview(given)
        with self, selectors.DefaultSelector() as selector:
            for stream in said:
                selector.register(stream, selectors.EVENT_READ)
            if self.stdin is not None:
                selector.register(self.stdin, selectors.EVENT_WRITE)
            while selector.get_map():
                ready = selector.select(_left(deadline))
                if not ready:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
                for key, _ in ready:
                    pipe: Any = key.fileobj
                    if key.events & selectors.EVENT_WRITE:
                        rest = _feed(pipe, rest)
                        done = not rest
                    else:
                        chunk = os.read(pipe.fileno(), _CHUNK_BYTES)
                        said[pipe] += chunk
                        done = not chunk
                    if done:
                        selector.unregister(pipe)
                        with suppress(BrokenPipeError):
                            pipe.close()
            self.wait(_left(deadline))
        out, err = (bytes(said[s]) if s else b"" for s in (self.stdout, self.stderr))
        return out, err

    def _next_number(self) -> bytes:
        number = os.read(self._statuses, NUMBER.size)
        if not number:
            raise EOFError("the zygote is gone")
        return number


def _ends(number: int, stream: Any) -> tuple[int, BinaryIO | None]:
    """The descriptor of a standard stream, for the process to have, and our end of a pipe."""
    if stream == subprocess.PIPE:
        read, write = os.pipe()
        if number == 0:
            return read, os.fdopen(write, "wb", 0)
        return write, os.fdopen(read, "rb")
    if stream == subprocess.DEVNULL:
        return os.open(os.devnull, os.O_RDWR), None
    if stream is None:
        return os.dup(number), None
    return os.dup(stream if isinstance(stream, int) else stream.fileno()), None


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)


def _feed(stream: BinaryIO, data: memoryview) -> memoryview:
    """Write what a pipe that is ready takes for sure; what is left of the data."""
    try:
        return data[os.write(stream.fileno(), data[: select.PIPE_BUF]) :]
    except BrokenPipeError:
        return data[:0]


class _Zygote:
    """The other end: asks for processes."""

    def __init__(self, more: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._channel, theirs = socket.socketpair()
        folder = str(Path(__file__).parent)
        script = (
            f"import sys; sys.path.insert(0, {folder!r}); "
            f"from zygote import serve; serve({theirs.fileno()}, {[*more]})"
        )
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", script], env=environment, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        if self._channel.recv(len(READY)) != READY:
            raise RuntimeError("the zygote did not start")

    def ask(self, call: Call, descriptors: Sequence[int]) -> None:
        """Have a process forked that gets these descriptors."""
        text = call.document()
        rights = array.array("i", descriptors)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
        with self._lock:
            self._channel.sendmsg([NUMBER.pack(len(text))], ancillary)
            self._channel.sendall(text)

    def stop(self) -> None:
        """End it."""
        self._channel.close()
        self._process.wait(10)


def run(
    call: Call,
    *,
    timeout_seconds: float,
    input: bytes = b"",  # noqa: A002  # as subprocess.run calls it
    stdin: Any = subprocess.PIPE,
) -> subprocess.CompletedProcess[bytes]:
    """Run one process to its end."""
    process = Process(call, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stdout, stderr = process.communicate(input, timeout=timeout_seconds)
    return subprocess.CompletedProcess(process.args, process.wait(), stdout, stderr)


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


@cache
def _zygote(*, needs_torch: bool) -> _Zygote:
    started = _Zygote(TORCH if needs_torch else ())
    atexit.register(started.stop)
    return started
