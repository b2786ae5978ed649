"""`bigcode serve` as a process, and ways to ask it."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from amounts import amount
from forked import Call, Process
from program import BIGCODE, TIMEOUT_SECONDS, Run


def amounts(usual: int, full: int) -> list[int]:
    """How much a test of load does, as a parameter that its name shows."""
    return [amount(full=full, usual=usual)]


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Server:
    """`bigcode serve` as a process, and ways to ask it."""

    def __init__(self, *arguments: str, runtime: Path, home: Path, statements: str = "") -> None:
        """Start it; `statements` are executed in its process before the program."""
        self.runtime, self.home = runtime, home
        self.environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "OMP_NUM_THREADS": "1",
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "100",
            "XDG_RUNTIME_DIR": str(runtime),
        }
        self.arguments, self.statements = arguments, statements
        self.loudness = () if "--quiet" in arguments else ("-v",)
        self.log = runtime / "log"
        self.process = self._start()

    @property
    def socket(self) -> Path:
        return self.runtime / "bigcode" / "serve.sock"

    @property
    def port(self) -> int:
        """The port of `--port 0`."""
        lines = self.log.read_text().splitlines()
        (line,) = [line for line in lines if "http://" in line]
        return int(line.rpartition(":")[2])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _start(self) -> subprocess.Popen[bytes] | Process:
        words = ["serve", *self.loudness, *self.arguments]
        with self.log.open("ab") as log:
            streams: Any = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            process: subprocess.Popen[bytes] | Process
            if self.statements:
                call = [*map(os.fsencode, words)]
                forked = Call(call, self.environment, self.runtime, self.statements)
                process = Process(forked, **streams)
            else:
                process = subprocess.Popen([BIGCODE, *words], env=self.environment, **streams)
        deadline = monotonic() + TIMEOUT_SECONDS
        while monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.ask("GET", "/bigcode/v1/ps")[1]["pid"] == process.pid:
                    return process
            assert process.poll() is None, self.log.read_text()
            sleep(0.05)
        process.kill()
        raise AssertionError(self.log.read_text())

    def restart(self) -> None:
        """Start again, after the process has ended."""
        self.process = self._start()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        **headers: str,
    ) -> tuple[int, Any]:
        """Status and parsed answer of a request over the socket."""
        status, data = self.ask_raw(method, path, body, timeout=timeout, **headers)
        return status, json.loads(data)

    def ask_raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        **headers: str,
    ) -> tuple[int, bytes]:
        """Status and bytes of an answer."""
        connection = _SocketConnection(self.socket, timeout)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(
                method, path, body=data, headers={"Content-Type": "application/json", **names}
            )
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def logged(self, text: str) -> int:
        """How often the log has a text."""
        return self.log.read_text("utf-8").count(text)

    def await_log(self, text: str, before: int) -> None:
        """Wait until the log has a text once more: the line of a request follows its answer."""
        deadline = monotonic() + TIMEOUT_SECONDS
        while self.logged(text) <= before:
            assert monotonic() < deadline, self.log.read_text("utf-8")
            sleep(0.01)

    def await_idle(self) -> None:
        """Wait until nothing computes or waits any more."""
        self._await(lambda active, waiting: not active and not waiting)

    def await_requests(self, *, waiting: int = 0) -> None:
        """Wait until something computes, and so many others wait."""
        self._await(lambda active, queued: active > 0 and queued >= waiting)

    def _await(self, wanted: Callable[[int, int], bool]) -> None:
        deadline = monotonic() + TIMEOUT_SECONDS
        while True:
            state = self.ask("GET", "/bigcode/v1/ps")[1]
            if wanted(state["active_requests"], state["waiting_requests"]):
                return
            assert monotonic() < deadline, state
            sleep(0.01)

    def run(self, folder: Path) -> Run:
        """The program, in the environment of the server."""
        return Run(folder, self.environment)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT_SECONDS)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(TIMEOUT_SECONDS)


Start = Callable[..., Server]
