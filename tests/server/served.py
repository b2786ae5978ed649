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

from program import BIGCODE, Run

START_SECONDS = 120.0


def amounts(usual: int, full: int) -> list[int]:
    """How much a test of load does: the full amount where BIGCODE_FULL_TESTS is set."""
    return [full if os.environ.get("BIGCODE_FULL_TESTS") else usual]


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

    def __init__(self, *arguments: str, runtime: Path, home: Path) -> None:
        self.runtime, self.home = runtime, home
        self.environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "OMP_NUM_THREADS": "1",
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "100",
            "XDG_RUNTIME_DIR": str(runtime),
        }
        self.arguments = arguments
        self.loudness = () if "--quiet" in arguments else ("-v",)
        self.log = runtime / "log"
        self.process: subprocess.Popen[bytes] = self._start()

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

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [BIGCODE, "serve", *self.loudness, *self.arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = monotonic() + START_SECONDS
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
        self, method: str, path: str, body: Any = None, *, timeout: float = 120, **headers: str
    ) -> tuple[int, Any]:
        """Status and parsed answer of a request over the socket."""
        status, data = self.ask_raw(method, path, body, timeout=timeout, **headers)
        return status, json.loads(data)

    def ask_raw(
        self, method: str, path: str, body: Any = None, *, timeout: float = 120, **headers: str
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

    def is_idle(self) -> bool:
        """Whether no request computes or waits."""
        state = self.ask("GET", "/bigcode/v1/ps")[1]
        return not state["active_requests"] and not state["waiting_requests"]

    def await_idle(self, seconds: float) -> None:
        """Wait until nothing is computed any more."""
        deadline = monotonic() + seconds
        while not self.is_idle():
            assert monotonic() < deadline, self.ask("GET", "/bigcode/v1/ps")
            sleep(0.05)

    def run(self, folder: Path) -> Run:
        """The program, in the environment of the server."""
        return Run(folder, self.environment)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(20)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


Start = Callable[..., Server]
