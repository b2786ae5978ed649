"""A parent process that has imported everything once, and forks a `bigcode` for every call.

A call of the program costs its imports (PyTorch alone two seconds) before it does any work. The
processes forked here are real: own pid, arguments, environment, folder and descriptors; only the
interpreter's start is shared. Tests of start-up, imports and signals start the installed program.
"""

import array
import atexit
import contextlib
import gc
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

_READY = b"ready"
_LENGTH, _STATUS = struct.Struct("!I"), struct.Struct("!i")
_BUSY = threading.Lock()
_DESCRIPTORS = 3
_MODULES = (
    *("numpy", "tokenizers", "safetensors.torch", "typer", "torch", "filelock"),
    *("gpt_bigcode.completion.text_model", "gpt_bigcode.scoring.text_scorer"),
    *("gpt_bigcode.labeling.text_classifier", "gpt_bigcode.labeling.text_tagger"),
    *("gpt_bigcode.backends.torch_decoder", "gpt_bigcode.backends.torch_loading"),
)


def serve(descriptor: int) -> None:
    """Import, then fork a process for each request until the other end of the socket closes."""
    for name in _MODULES:
        import_module(name)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=descriptor) as channel:
        channel.send(_READY)
        while request := _receive(channel):
            call, descriptors = request
            child = os.fork()
            if child == 0:
                channel.close()
                _become(call, descriptors)
            for number in descriptors:
                os.close(number)
            channel.sendall(_LENGTH.pack(child))
            _, status = os.waitpid(child, 0)
            channel.sendall(_STATUS.pack(os.waitstatus_to_exitcode(status)))


def _receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    numbers = array.array("i")
    size, control, _, _ = channel.recvmsg(
        _LENGTH.size, socket.CMSG_SPACE(_DESCRIPTORS * numbers.itemsize)
    )
    if not size:
        return None
    for _, _, data in control:
        numbers.frombytes(data)
    (length,) = _LENGTH.unpack(size)
    return json.loads(_read(channel, length)), list(numbers)


def _become(call: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Turn the forked process into the program that was asked for; never returns."""
    status = 70
    try:
        for target, number in enumerate(descriptors):
            os.dup2(number, target)
        for number in descriptors:
            if number >= _DESCRIPTORS:
                os.close(number)
        for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP):
            signal.signal(kind, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        os.umask(call["umask"])
        os.chdir(call["cwd"])
        os.environ.clear()
        os.environ.update(call["env"])
        sys.argv = ["bigcode", *(os.fsdecode(word.encode("latin-1")) for word in call["arguments"])]
        _open_streams()
        from bigcode_cli.__main__ import run

        run()
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else 1
    finally:
        os._exit(status)


def _open_streams() -> None:
    """Give the process the standard streams that the interpreter would have opened."""
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    errors = "surrogateescape"
    for name, number in (("stdout", 1), ("stderr", 2)):
        binary = io.BufferedWriter(io.FileIO(number, "w", closefd=False))
        stream = io.TextIOWrapper(
            binary,
            encoding="utf-8",
            errors="backslashreplace" if number == 2 else errors,
            line_buffering=number == 2 or os.isatty(number),
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


class Zygote:
    """The other end: asks for processes, one after the other."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        folder = str(Path(__file__).parent)
        script = (
            f"import sys; sys.path.insert(0, {folder!r}); "
            f"from zygote import serve; serve({theirs.fileno()})"
        )
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", script], env=environment, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        if self._channel.recv(len(_READY)) != _READY:
            raise RuntimeError("the zygote did not start")

    def start(
        self, arguments: Sequence[bytes], cwd: str, env: Mapping[str, str], streams: Sequence[int]
    ) -> int:
        """Fork a process with these descriptors as stdin, stdout and stderr; return its pid."""
        words = [word.decode("latin-1") for word in arguments]
        call = {"arguments": words, "cwd": cwd, "env": dict(env), "umask": _umask()}
        text = json.dumps(call).encode()
        rights = array.array("i", streams)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
        self._channel.sendmsg([_LENGTH.pack(len(text))], ancillary)
        self._channel.sendall(text)
        (pid,) = _LENGTH.unpack(_read(self._channel, _LENGTH.size))
        return int(pid)

    def wait(self) -> int:
        """The exit status of the process that was started last, as subprocess gives it."""
        (status,) = _STATUS.unpack(_read(self._channel, _STATUS.size))
        return int(status)

    def stop(self) -> None:
        """End it."""
        self._channel.close()
        self._process.wait(10)


def run(
    arguments: Sequence[bytes],
    environment: Mapping[str, str],
    *,
    cwd: Path | str,
    timeout_seconds: float,
    input: bytes = b"",  # noqa: A002  # as subprocess.run calls it
    stdin: Any = None,
) -> subprocess.CompletedProcess[bytes] | None:
    """Run one process to its end; None while another thread's process runs."""
    if not _BUSY.acquire(blocking=False):
        return None
    try:
        return _run(arguments, environment, str(cwd), timeout_seconds, (input, stdin))
    finally:
        _BUSY.release()


def _run(
    arguments: Sequence[bytes],
    environment: Mapping[str, str],
    cwd: str,
    timeout_seconds: float,
    source: tuple[bytes, Any],
) -> subprocess.CompletedProcess[bytes]:
    given, stdin = source
    zygote = _zygote()
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    reads, feed = (None, None) if stdin is not None else os.pipe()
    if reads is None:
        reads = os.open(os.devnull, os.O_RDONLY) if stdin == subprocess.DEVNULL else None
    first = reads if reads is not None else stdin if isinstance(stdin, int) else stdin.fileno()
    pid = zygote.start(arguments, cwd, environment, (first, out_end, err_end))
    for number in (out_end, err_end, *([reads] if reads is not None else [])):
        os.close(number)
    expired = threading.Event()

    def kill() -> None:
        expired.set()
        os.kill(pid, signal.SIGKILL)

    timer = threading.Timer(timeout_seconds, kill)
    timer.start()
    with ThreadPoolExecutor(3) as pool:
        if feed is not None:
            pool.submit(_write, feed, given)
        texts = [pool.submit(_drain, number) for number in (out, err)]
        stdout, stderr = (text.result() for text in texts)
    status = zygote.wait()
    timer.cancel()
    if expired.is_set():
        raise subprocess.TimeoutExpired([*arguments], timeout_seconds)
    return subprocess.CompletedProcess([*arguments], status, stdout, stderr)


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def _write(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), open(descriptor, "wb") as file:
        file.write(data)


def _drain(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        return file.read()


def _read(channel: socket.socket, size: int) -> bytes:
    text = b""
    while len(text) < size:
        part = channel.recv(size - len(text))
        if not part:
            raise EOFError("the zygote is gone")
        text += part
    return text


@cache
def _zygote() -> Zygote:
    started = Zygote()
    atexit.register(started.stop)
    return started
