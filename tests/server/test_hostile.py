"""Other users of the machine, random bytes, and memory that runs out; numbers of the catalogue."""

import json
import os
import random
import resource
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from program import TIMEOUT_SECONDS
from served import Server, Start, amounts

NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
ASK = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(240)
try:
    connection.connect(sys.argv[1])
    connection.sendall(b"GET /bigcode/v1/ps HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    print(len(connection.recv(100)))
except OSError as error:
    print(type(error).__name__)
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def _asked_by_nobody(server: Server) -> str:
    call = [*AS_NOBODY, sys.executable, "-c", ASK, str(server.socket)]
    done = subprocess.run(call, capture_output=True, text=True, check=True, cwd="/")
    return done.stdout.strip()


@as_root
def test_104_another_user_cannot_reach_the_server(start: Start) -> None:
    server = start()
    server.runtime.chmod(0o755)
    assert _asked_by_nobody(server) == "PermissionError"
    # Even where somebody has opened folder and socket, the server answers nobody else.
    server.socket.parent.chmod(0o755)
    server.socket.chmod(0o666)
    assert _asked_by_nobody(server) in ("0", "ConnectionResetError", "BrokenPipeError")
    assert server.ask("GET", "/bigcode/v1/ps")[0] == 200


@as_root
def test_104_another_user_gets_a_server_of_his_own(start: Start) -> None:
    """The socket of somebody else is no server: it is not used, and one's own starts beside it."""
    server = start()
    server.runtime.chmod(0o755)
    home = server.runtime / "other"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    environment = {**server.environment, "HOME": str(home)}
    reading = [*AS_NOBODY, sys.executable, "-c", "import bigcode_cli.app"]
    if subprocess.run(reading, env=environment, capture_output=True, check=False).returncode:
        pytest.skip("the program's files are not readable for others")
    call = [*AS_NOBODY, sys.executable, "-m", "bigcode_cli", "ps"]
    done = subprocess.run(
        call, env=environment, capture_output=True, text=True, check=False, cwd=home
    )
    assert (done.returncode, done.stdout) == (0, "")
    server.runtime.chmod(0o700)  # as the owner's calls require
    mine = server.run(server.runtime)("ps")
    assert b"pocket-coder" in mine.stdout


REQUEST = (
    b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 34\r\n\r\n" + b'{"prompt": "x = ", "max_tokens":1}'
)
PIECES = (
    b"\r\n",
    b"\n",
    b"\0",
    b":",
    b"Transfer-Encoding: chunked\r\n",
    b"\xff\xfe",
    b"GET ",
    b"-",
)


def _mutated(draw: random.Random) -> bytes:
    data = bytearray(REQUEST)
    for _ in range(draw.randint(1, 6)):
        place = draw.randrange(len(data) + 1)
        kind = draw.randrange(5)
        if kind == 0:
            data[place : place + 1] = bytes([draw.randrange(256)])
        elif kind == 1:
            del data[place : place + draw.randint(1, 40)]
        elif kind == 2:
            data[place:place] = draw.choice(PIECES)
        elif kind == 3:
            data[place:place] = data[:place][-draw.randint(1, 60) :]
        else:
            data[place:place] = bytes([draw.randrange(256)]) * draw.randint(1, 3000)
    return bytes(data)


@pytest.mark.parametrize("count", amounts(200, 10_000))
def test_106_random_bytes(server: Server, count: int) -> None:
    """Whatever comes, the answer is no error of the server, and the server lives."""

    def send(number: int) -> int:
        data = _mutated(random.Random(number))
        received = b""
        with socket.create_connection(
            ("127.0.0.1", server.port), timeout=TIMEOUT_SECONDS
        ) as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while chunk := connection.recv(1 << 16):
                    received += chunk
            except ConnectionError:
                pass
        return int(received.split(b" ", 2)[1]) if received.startswith(b"HTTP/1.1 ") else 0

    before = _resident(server)
    with ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(send, range(count)))
    assert 500 not in statuses
    assert 400 in statuses
    server.await_idle()
    body = {"prompt": "x = ", "max_tokens": 1}
    assert server.ask("POST", "/v1/completions", body)[0] == 200
    assert _resident(server) - before < 100_000


def _resident(server: Server) -> int:
    """The server's memory in kB."""
    return _kilobytes(server, "VmRSS")


def _kilobytes(server: Server, name: str) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text("ascii")
    (line,) = [line for line in status.splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1])


@pytest.mark.parametrize("path", ["/v1/completions", "/bigcode/v1/complete", "/infill"])
def test_113_memory_that_runs_out_in_a_request(start: Start, path: str) -> None:
    """That request gets 503, and the next one is answered."""
    server = start()
    text = "value = compute(value)\n" * 300
    small = {"model": "pocket-coder", "prompt": "x = ", "max_tokens": 1, "stream": False}
    sides = {"input_prefix": "x = ", "input_suffix": "\n", "n_predict": 1}
    small |= sides if path == "/infill" else {}
    assert server.ask("POST", path, small)[0] == 200
    large = {**small, "prompt": text, "samples": 100, "n": 100, "n_cmpl": 100}
    limit = (_kilobytes(server, "VmSize") << 10) + (100 << 20)
    pid = server.process.pid
    unlimited = resource.prlimit(pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    status, answer = server.ask("POST", path, large)
    resource.prlimit(pid, resource.RLIMIT_AS, unlimited)
    assert status == 503, answer
    assert "memory" in json.dumps(answer)
    server.await_idle()
    assert server.ask("POST", path, small)[0] == 200
