"""How a server starts, ends and is replaced; the numbers are those of the catalogue of attacks."""

import http.client
import json
import os
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from bigcode_cli import __version__
from program import TIMEOUT_SECONDS, Run
from served import Server, Start

BODY = {"prompt": "def f(x):\n", "max_tokens": 400, "stream": True}


def test_104_the_socket_is_this_users_alone(server: Server) -> None:
    folder = server.socket.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "serve.lock").stat().st_mode) == 0o600


@pytest.mark.parametrize("value", ["", "relative", "open", "missing"])
def test_104_a_runtime_folder_that_is_not_private_is_not_used(
    server: Server, folder: Path, value: str
) -> None:
    from bigcode_cli.server import paths

    (folder / "open").mkdir()
    (folder / "open").chmod(0o755)  # whatever the umask is
    named = str(folder / value) if value in ("open", "missing") else value
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", named)
        patch.setenv("HOME", str(folder))
        patch.delenv("XDG_STATE_HOME", raising=False)
        assert paths.runtime_folder() == folder / ".local/state/bigcode/run"


def test_104_a_path_that_is_too_long_is_named(server: Server, folder: Path) -> None:
    long = folder / ("x" * 90)
    long.mkdir(mode=0o700)
    done = server.run(folder)("serve", env={"XDG_RUNTIME_DIR": str(long)})
    assert done.status == 2
    assert "107 bytes" in done.stderr


def test_105_a_second_server_says_who_is_there(server: Server, warm: Run) -> None:
    done = warm("serve")
    assert done.status == 3
    assert f"already running (process {server.process.pid})" in done.stderr


def test_105_a_killed_server_blocks_nobody(start: Start) -> None:
    server = start()
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    assert server.socket.is_socket()
    server.restart()
    assert server.ask("GET", "/health")[0] == 200


@pytest.mark.parametrize("kind", ["file", "link"])
def test_105_what_is_no_socket_is_never_removed(
    server: Server, folder: Path, runtime: Path, kind: str
) -> None:
    (runtime / "bigcode").mkdir(mode=0o700)
    way = runtime / "bigcode" / "serve.sock"
    (folder / "important").write_text("text", "utf-8")
    if kind == "file":
        way.write_text("text", "utf-8")
    else:
        way.symlink_to(folder / "important")
    done = server.run(folder)("serve", env={"XDG_RUNTIME_DIR": str(runtime)})
    assert (done.status, "no socket" in done.stderr) == (3, True)
    assert way.read_text("utf-8") == "text"


def test_114_a_model_that_cannot_be_loaded_ends_the_start(
    server: Server, folder: Path, runtime: Path
) -> None:
    (folder / "broken").mkdir()
    (folder / "broken" / "config.json").write_text("{}", "utf-8")
    done = server.run(folder)("serve", "-m", "./broken", env={"XDG_RUNTIME_DIR": str(runtime)})
    assert done.status == 3
    assert not list((runtime / "bigcode").glob("*.sock"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_115_a_signal_ends_streams_with_an_error(
    start: Start, number: signal.Signals, status: int
) -> None:
    soon = "import bigcode_cli.commands.serve.run as run; run.SHUTDOWN_SECONDS = 0.5"
    server = start(statements=soon)
    with _stream(server, {**BODY, "max_tokens": 100_000, "stop": ["never"]}) as lines:
        next(lines)
        # Read on meanwhile: what nobody reads fills the socket, and the last event with it.
        with ThreadPoolExecutor(1) as pool:
            rest = pool.submit(list, lines)
            assert server.end(number) == status
            last = rest.result()[-1]
    assert last["event"] in ("error", "done")
    assert not server.socket.exists()


def test_116_a_server_that_dies_while_it_answers(start: Start, folder: Path) -> None:
    """What was written stays, and the call says that it is not all."""
    server = start()
    (folder / "a.py").write_text("def f(x):\n", "utf-8")
    killer = threading.Thread(target=_kill_at_work, args=(server,))
    killer.start()
    done = server.run(folder)("complete", "a.py", "--max-tokens", "1500", "--temperature", "1")
    killer.join()
    assert done.status in (0, 3)
    if done.status == 3:
        assert "error[server]: the answer is not complete" in done.stderr


def _kill_at_work(server: Server) -> None:
    server.await_requests()
    sleep(0.5)
    server.process.kill()


def test_k5_another_version_is_not_used(server: Server, folder: Path) -> None:
    status, answer = server.ask("POST", "/bigcode/v1/complete", BODY, Bigcode_Version="0.0.0")
    assert (status, answer["error"]["type"]) == (409, "version")
    status, answer = server.ask("POST", "/bigcode/v1/complete", {**BODY, "threads": 77})
    assert (status, answer["error"]["type"]) == (409, "threads")


@pytest.mark.parametrize("reply", ["silence", "end", "garbage", "other version"])
def test_k5_a_server_that_cannot_be_used_costs_one_note(
    server: Server, folder: Path, runtime: Path, reply: str
) -> None:
    (runtime / "bigcode").mkdir(mode=0o700)
    (folder / "a.py").write_text("def f(x):\n", "utf-8")
    run = Run(folder, {**server.environment, "XDG_RUNTIME_DIR": str(runtime)})
    soon = (
        "from bigcode_cli.server.client.connection import Connection\n"
        "Connection.__init__.__kwdefaults__['timeout'] = 0.5"
    )
    with _false_server(runtime / "bigcode" / "serve.sock", reply):
        done = run("complete", "a.py", "--max-tokens", "4", "-v", statements=soon)
    assert done.status == 0
    (note,) = [line for line in done.stderr.splitlines() if "the server" in line]
    assert "the server is not used" in note
    assert done.stdout == server.run(folder)("complete", "a.py", "--max-tokens", "4").stdout


@contextmanager
def _false_server(path: Path, reply: str) -> Iterator[None]:
    answer = {"error": {"message": f"the server is of version 9, the client of {__version__}"}}
    body = json.dumps(answer).encode()
    replies = {
        "end": b"",
        "garbage": b"SSH-2.0-OpenSSH\r\n",
        "other version": b"HTTP/1.1 409 Conflict\r\nContent-Length: %d\r\n\r\n%b"
        % (len(body), body),
    }
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        done = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                if reply == "silence":
                    done.wait(TIMEOUT_SECONDS)
                else:
                    connection.sendall(replies[reply])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        done.set()
        thread.join(TIMEOUT_SECONDS)


def test_ps_and_stop(start: Start, folder: Path) -> None:
    server = start()
    run = server.run(folder)
    server.ask("POST", "/bigcode/v1/complete", {"prompt": "x", "max_tokens": 1})
    state = run("ps", "--format", "json").json
    assert state["running"] is True
    assert [model["model"] for model in state["models"]] == ["pocket-coder"]
    assert run("ps").stdout.startswith(b"MODEL")
    assert run("stop", "no-such").status == 3
    assert run("stop", "--quiet", "pocket-coder").stderr == ""
    assert run("ps", "--format", "json").json["models"] == []
    assert run("stop").status == 0
    assert server.process.wait(TIMEOUT_SECONDS) == 0
    assert run("ps", "--format", "json").json == {"running": False, "models": []}
    assert run("ps", "--quiet").stderr == ""
    assert run("stop").status == 0


def test_in_the_background(server: Server, folder: Path, runtime: Path) -> None:
    environment = {"XDG_RUNTIME_DIR": str(runtime)}
    run = server.run(folder)
    started = run("serve", "--background", env=environment)
    assert started.status == 0, started
    try:
        assert run("ps", "--format", "json", env=environment).json["running"]
        again = run("serve", "--background", env=environment)
        assert (again.status, "already running" in again.stderr) == (3, True)
        assert again.stderr.endswith("hint: bigcode ps shows it, bigcode stop ends it\n")
    finally:
        assert run("stop", env=environment).status == 0


def test_auto_starts_a_server_for_a_model_that_is_not_built_in(
    server: Server, folder: Path, runtime: Path
) -> None:
    from bigcode_cli.models.resolve import find_model

    (folder / "model").symlink_to(find_model(None).directory)
    (folder / "a.py").write_text("def f(x):\n", "utf-8")
    environment = {"XDG_RUNTIME_DIR": str(runtime), "BIGCODE_SERVER": "auto"}
    environment |= {"BIGCODE_KEEP_ALIVE": "2"}
    run = Run(folder, {**server.environment, **environment})
    call = ("complete", "a.py", "--max-tokens", "4", "-v")
    assert "no server is running" in run(*call).stderr
    try:
        done = run(*call, "-m", "./model")
        assert "answered by the server" in done.stderr
        assert done.stdout == run(*call, "-m", "./model", "--server", "off").stdout
    finally:
        deadline = monotonic() + TIMEOUT_SECONDS
        while run("ps", "--format", "json").json["running"]:  # it ends by itself
            assert monotonic() < deadline
            sleep(0.5)


def test_limits_are_kept(start: Start) -> None:
    """A server of many limits: it computes as it was told, and ends by itself."""
    server = start(
        *("--parallel", "1", "--queue", "3", "--keep-alive", "5s", "--exit-when-idle", "--quiet"),
        *("--max-memory", "8G", "--prefix-memory", "1Mi", "--device", "cpu"),
        *("--precision", "float32", "--threads", "1"),
    )
    for number in range(4):
        body = {"prompt": f"# {number}\n" * 100, "max_tokens": 1, "temperature": 0}
        assert server.ask("POST", "/v1/completions", body)[0] == 200
    (model,) = server.ask("GET", "/bigcode/v1/ps")[1]["models"]
    assert model["bytes"] < 29_267_496 + (1 << 20)
    assert model["expires_seconds"] <= 5
    assert server.process.wait(TIMEOUT_SECONDS) == 0
    assert "listening" not in server.log.read_text("utf-8")


def test_models_that_do_not_fit_are_refused(start: Start) -> None:
    server = start("--max-memory", "30M")
    body = {"files": [{"text": "x = 1\n"}]}
    assert server.ask("POST", "/bigcode/v1/tag", body)[0] == 200  # the idle one makes room
    models = server.ask("GET", "/bigcode/v1/ps")[1]["models"]
    assert "pocket-coder" not in [model["model"] for model in models]
    server.close()
    small = start("--quiet", "--max-memory", "30M")
    assert small.ask("POST", "/bigcode/v1/score", body)[0] in (200, 503)


@contextmanager
def _stream(server: Server, body: Any) -> Iterator[Iterator[Any]]:
    """The events of a request."""
    connection = http.client.HTTPConnection("localhost", timeout=TIMEOUT_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(TIMEOUT_SECONDS)
    connection.sock.connect(os.fspath(server.socket))
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/bigcode/v1/complete", json.dumps(body), headers)
    response = connection.getresponse()
    try:
        yield (json.loads(line) for line in response if line.strip())
    finally:
        connection.close()
