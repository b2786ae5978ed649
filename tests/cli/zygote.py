"""A parent process that has imported everything once, and forks a `bigcode` for every call.

A call of the program costs its imports (PyTorch alone two seconds) before it does any work. The
processes forked here are real: own pid, arguments, environment, folder and descriptors; only the
interpreter's start is shared. Tests of start-up, imports and signals start the installed program.
A fork copies the tables of all memory, so only calls that will use PyTorch have a parent with it.
"""

import array
import gc
import io
import json
import os
import pkgutil
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

READY = b"ready"
NUMBER = struct.Struct("!i")
_DESCRIPTORS = 4  # the standard streams, and a pipe for the pid and the exit status
_PIPE_BYTES = 1 << 16
TORCH = (
    "safetensors.torch",
    "gpt_bigcode.backends.torch_decoder",
    "gpt_bigcode.backends.torch_loading",
)
_MODULES = (
    *("numpy", "tokenizers", "typer", "filelock"),
    *("gpt_bigcode.completion.text_model", "gpt_bigcode.scoring.text_scorer"),
    *("gpt_bigcode.labeling.text_classifier", "gpt_bigcode.labeling.text_tagger"),
    *("gpt_bigcode.completion.fim", "gpt_bigcode.stopping.scope", "gpt_bigcode.stopping.suffix"),
    # What huggingface_hub and httpx2 import; huggingface_hub itself reads the environment then.
    *(
        "httpcore2",
        "yaml",
        "truststore",
        "platformdirs.unix",
        "encodings.idna",
        "anyio.streams.tls",
    ),
)
_LEFT_OUT = ("bigcode_cli.__main__", "bigcode_cli.distributed", "bigcode_cli.commands.corpus")


def serve(descriptor: int, more: Sequence[str] = ()) -> None:
    """Import, then fork a process for each request until the other end of the socket closes."""
    for name in (*_MODULES, *_modules_of_the_program(), *more):
        import_module(name)
    gc.collect()
    gc.freeze()
    running: dict[int, int] = {}
    ended, end = os.pipe()
    os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(end)
    with socket.socket(fileno=descriptor) as channel, selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        channel.send(READY)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not channel:
                    os.read(ended, _PIPE_BYTES)
                    _report(running)
                elif (request := _receive(channel)) is None:
                    return
                else:
                    pid, status = _fork(*request, close=(channel.fileno(), *running.values()))
                    running[pid] = status


def _modules_of_the_program() -> Iterator[str]:
    """All but the entry point, and what runs on Ray, which takes a second to import."""
    import bigcode_cli

    for module in pkgutil.walk_packages(bigcode_cli.__path__, "bigcode_cli."):
        if not module.name.startswith(_LEFT_OUT):
            yield module.name


def _fork(call: dict[str, Any], descriptors: list[int], *, close: Sequence[int]) -> tuple[int, int]:
    """Fork one process and tell its pid; where its exit status is to be written."""
    *streams, status = descriptors
    child = os.fork()
    if child == 0:
        for number in (*close, status):
            os.close(number)
        _become(call, streams)
    for number in streams:
        os.close(number)
    os.write(status, NUMBER.pack(child))
    return child, status


def _report(running: dict[int, int]) -> None:
    """Tell the exit status of every process that has ended."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        pipe = running.pop(pid)
        with suppress(BrokenPipeError):  # nobody waits for it any more
            os.write(pipe, NUMBER.pack(os.waitstatus_to_exitcode(status)))
        os.close(pipe)


def _receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    numbers = array.array("i")
    size, control, _, _ = channel.recvmsg(
        NUMBER.size, socket.CMSG_SPACE(_DESCRIPTORS * numbers.itemsize)
    )
    if not size:
        return None
    for _, _, data in control:
        numbers.frombytes(data)
    (length,) = NUMBER.unpack(size)
    return json.loads(_read(channel, length)), list(numbers)


def _become(call: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Turn the forked process into the program that was asked for; never returns."""
    status = 70
    try:
        for target, number in enumerate(descriptors):
            os.dup2(number, target)
        for number in descriptors:
            if number >= len(descriptors):
                os.close(number)
        signal.set_wakeup_fd(-1)
        for kind in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(kind, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        os.umask(call["umask"])
        os.chdir(call["cwd"])
        os.environ.clear()
        os.environ.update(call["env"])
        sys.argv = ["bigcode", *(os.fsdecode(word.encode("latin-1")) for word in call["arguments"])]
        _open_streams()
        from bigcode_cli.framework import process_clock

        process_clock._IMPORTED = time.monotonic()  # the zygote's is of long ago
        exec(call["statements"], {})  # noqa: S102  # what a test changes in the program
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


def _read(channel: socket.socket, size: int) -> bytes:
    text = b""
    while len(text) < size:
        part = channel.recv(size - len(text))
        if not part:
            raise EOFError("the zygote is gone")
        text += part
    return text
