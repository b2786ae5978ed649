"""What strangers, web pages and broken clients send; the numbers are those of the catalogue."""

import json
import os
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from program import TIMEOUT_SECONDS, Run
from served import Server, Start

JSON = b"Content-Type: application/json\r\n"


def _raw(server: Server, data: bytes) -> bytes:
    """The reply to some bytes; nothing where the server closes without one."""
    received = b""
    address = ("127.0.0.1", server.port)
    with socket.create_connection(address, timeout=TIMEOUT_SECONDS) as connection:
        with suppress(ConnectionError):
            connection.sendall(data)
        with suppress(ConnectionError):
            while not _is_whole(received) and (chunk := connection.recv(1 << 16)):
                received += chunk
    return received


def _is_whole(reply: bytes) -> bool:
    """Whether a reply has the length that its header gives."""
    head, end, body = reply.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return bool(end) and length is not None and len(body) >= int(length[1])


def _request(head: bytes, body: bytes = b"", *, path: bytes = b"/v1/completions") -> bytes:
    length = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    return b"POST " + path + b" HTTP/1.1\r\n" + head + length + body


def _status(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1]) if reply.startswith(b"HTTP/1.1 ") else 0


BODY = json.dumps({"prompt": "x", "max_tokens": 1}).encode()
HOST = b"Host: localhost\r\n"


def test_100_other_machines_need_a_key(server: Server, folder: Path) -> None:
    done = server.run(folder)("serve", "--port", "0", "--host", "0.0.0.0")  # noqa: S104
    assert (done.status, "--api-key-file" in done.stderr) == (2, True)
    listening = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
    mine = f":{server.port:04X}"
    addresses = [line.split()[1] for line in listening if line.split()[1].endswith(mine)]
    assert addresses
    assert all(address.startswith("0100007F") for address in addresses)


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        ([b"localhost"], 200),
        ([b"127.0.0.1:80"], 200),
        ([b"[::1]:8012"], 200),
        ([b"LOCALHOST:1"], 200),
        ([b"0.0.0.0"], 403),
        ([b"localhost.evil.com"], 403),
        ([b"127.0.0.1.evil.com"], 403),
        ([b"evil.example"], 403),
        ([b"printer.local"], 403),
        ([b"10.0.0.1"], 403),
        ([b""], 403),
        ([], 400),
        ([b"localhost", b"localhost"], 400),
    ],
)
def test_101_a_name_that_is_not_the_loopback(
    server: Server, hosts: list[bytes], status: int
) -> None:
    head = b"".join(b"Host: " + host + b"\r\n" for host in hosts)
    assert _status(_raw(server, _request(head + JSON, BODY))) == status


def test_101_another_host_in_the_request_line(server: Server) -> None:
    reply = _raw(server, _request(HOST + JSON, BODY, path=b"http://evil.example/v1/completions"))
    assert _status(reply) == 400


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Origin: http://evil.example\r\n" + JSON, 403),
        (b"Origin: null\r\n" + JSON, 403),
        (b"Sec-Fetch-Site: cross-site\r\n" + JSON, 403),
        (b"Content-Type: text/plain\r\n", 415),
        (b"Content-Type: application/x-www-form-urlencoded\r\n", 415),
        (b"", 415),
        (b"Content-Type: application/json; charset=utf-8\r\n", 200),
    ],
)
def test_102_web_pages(server: Server, head: bytes, status: int) -> None:
    reply = _raw(server, _request(HOST + head, BODY))
    assert _status(reply) == status
    assert b"access-control" not in reply.lower()


def test_102_no_preflight(server: Server) -> None:
    head = b"OPTIONS /v1/completions HTTP/1.1\r\n" + HOST + b"Connection: close\r\n"
    assert _status(_raw(server, head + b"\r\n")) == 405
    assert _status(_raw(server, head + b"Origin: http://evil.example\r\n\r\n")) == 403


def test_102_103_allowed_origins_and_keys(start: Start, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n", "ascii")
    page = "http://page.example"
    server = start("--port", "0", "--cors", page, "--api-key-file", str(tmp_path / "key"))
    origin = b"Origin: " + page.encode() + b"\r\n"
    key = b"Authorization: Bearer s3cret\r\n"
    reply = _raw(server, _request(HOST + origin + key + JSON, BODY))
    assert _status(reply) == 200
    assert b"access-control-allow-origin: " + page.encode() in reply.lower()
    for wrong in (
        *(b"", b"Authorization: Bearer\r\n", b"Authorization: Bearer wrong\r\n"),
        *(b"Authorization: bearer s3cret\r\n", b"Authorization: s3cret\r\n", key + key),
        b"Authorization: Bearer " + b"x" * 60_000 + b"\r\n",
    ):
        assert _status(_raw(server, _request(HOST + wrong + JSON, BODY))) == 401
    health = b"GET /health HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"
    assert _status(_raw(server, health)) == 200
    assert server.ask("POST", "/v1/completions", json.loads(BODY))[0] == 200  # over the socket
    assert "s3cret" not in server.log.read_text("utf-8")
    assert b"s3cret" not in Path(f"/proc/{server.process.pid}/cmdline").read_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET / HTTP/1.1\rHost: localhost\r\r",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 300,
        b"POST /infill HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /infill HTTP/1.1\r\nHost: localhost\r\nContent-Length: ten\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /infill HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /infill HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    ],
)
def test_106_what_is_no_request(hasty: Server, data: bytes) -> None:
    reply = _raw(hasty, data)
    assert _status(reply) in (0, 400, 404, 405, 408, 415, 431, 501)
    assert hasty.ask("GET", "/health")[0] == 200


def test_107_bodies_that_are_too_large_or_too_short(server: Server, hasty: Server) -> None:
    head = b"POST /infill HTTP/1.1\r\n" + HOST + JSON
    large = head + b"Content-Length: 10000000000\r\n\r\n"
    assert _status(_raw(server, large)) == 413
    chunk = b"%x\r\n" % (1 << 20) + b"x" * (1 << 20) + b"\r\n"
    endless = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 18
    assert _status(_raw(server, endless)) in (0, 413)
    short = head + b"Content-Length: 100\r\n\r\n" + b"x" * 10
    assert _status(_raw(hasty, short)) == 408


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b'"x"', b"3", b'{"prompt":NaN}', b'{"top_p":1e999}'),
        *(b"[" * 100_000, b'{"a":' * 100_000, b'{"prompt":"x","seed":' + b"9" * 5000 + b"}"),
        *(b'\xef\xbb\xbf{"prompt":"x"}', '{"prompt":"x"}'.encode("utf-16"), b'{"prompt":"\xff"}'),
        *(b'{"prompt":"\\ud800"}', b'{"prompt":true}', b'{"prompt":"x","max_tokens":true}'),
        *(b'{"prompt":"x","stop":[1]}', b'{"prompt":"x","stream":"yes"}'),
    ],
)
@pytest.mark.parametrize("path", [b"/v1/completions", b"/completion", b"/bigcode/v1/complete"])
def test_108_json_that_means_nothing(server: Server, path: bytes, body: bytes) -> None:
    body = body.replace(b"max_tokens", b"n_predict") if path == b"/completion" else body
    reply = _raw(server, _request(HOST + JSON, body, path=path))
    told = json.loads(reply.partition(b"\r\n\r\n")[2])
    assert (_status(reply), bool(told["error"]["message"])) == (400, True)


def test_108_unknown_fields_and_the_last_of_two_count(server: Server) -> None:
    body = b'{"prompt":"x","max_tokens":5,"max_tokens":1,"unknown":{"a":[1]}}'
    reply = _raw(server, _request(HOST + JSON, body))
    assert _status(reply) == 200
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["usage"]["completion_tokens"] <= 1


def test_109_slow_headers_and_slow_bodies(hasty: Server) -> None:
    """Clients that never finish do not keep others from being served, and are cut off."""
    slow = [socket.create_connection(("127.0.0.1", hasty.port)) for _ in range(50)]
    for one in slow:
        one.sendall(b"POST /infill HTTP/1.1\r\nHost: local")
    assert hasty.ask("GET", "/health")[0] == 200
    for one in slow:
        one.settimeout(TIMEOUT_SECONDS)
        assert one.recv(100).startswith(b"HTTP/1.1 408")
        one.close()


@pytest.mark.parametrize("stream", [True, False])
def test_110_a_client_that_leaves_ends_the_work(server: Server, stream: bool) -> None:  # noqa: FBT001
    body = {"prompt": "def f(x):\n", "max_tokens": 1900, "stream": stream, "temperature": 1}
    data = _request(HOST + JSON, json.dumps(body).encode(), path=b"/bigcode/v1/complete")
    descriptors = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(data)
            server.await_requests()
        server.await_idle()
    assert len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())) <= descriptors + 1


def test_110_queued_requests_of_gone_clients_are_not_served(start: Start) -> None:
    server = start("--parallel", "1")
    body = {"prompt": "def f(x):\n", "max_tokens": 1900, "temperature": 1}
    data = _request(HOST + JSON, json.dumps(body).encode(), path=b"/bigcode/v1/complete")
    connections = []
    for _ in range(5):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(server.socket))
        connection.sendall(data)
        connections.append(connection)
    server.await_requests(waiting=4)
    for connection in connections:
        connection.close()
    server.await_idle()


def test_111_more_requests_than_there_is_room_for(start: Start) -> None:
    """Every client gets one well-formed answer: the text, or 503 with a time to try again."""
    server = start("--parallel", "2", "--queue", "4")
    body = {"prompt": "def f(x):\n", "max_tokens": 4, "temperature": 0}

    def ask(_: int) -> tuple[int, Any]:
        return server.ask("POST", "/v1/completions", body)

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(ask, range(120)))
    texts = {answer["choices"][0]["text"] for status, answer in answers if status == 200}
    assert {status for status, _ in answers} == {200, 503}
    assert len(texts) == 1
    refused = [answer["error"]["type"] for status, answer in answers if status == 503]
    assert set(refused) == {"overloaded"}
    server.await_idle()


def test_112_the_newest_request_of_a_slot_counts(server: Server) -> None:
    body = {"input_prefix": "def f(x):\n", "input_suffix": "", "n_predict": 1900, "id_slot": 3}
    body |= {"temperature": 1, "stop": []}
    older: list[Any] = []
    thread = threading.Thread(
        target=lambda: older.append(server.ask("POST", "/infill", body)), daemon=True
    )
    thread.start()
    server.await_requests()
    assert server.ask("POST", "/infill", {**body, "n_predict": 2})[0] == 200
    thread.join(TIMEOUT_SECONDS)
    ((status, answer),) = older
    assert status == 200
    assert answer["tokens_predicted"] < 1900


@pytest.mark.parametrize(
    "path", ["/../../etc/passwd", "//etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/infill%00"]
)
def test_117_paths_lead_nowhere(server: Server, path: str) -> None:
    status, data = server.ask_raw("GET", path)
    assert (status, b"root:" in data) == (404, False)


@pytest.mark.parametrize("name", ["/etc", "./model", "../x", "~root", "-m", "a\x00b", "x" * 9999])
def test_117_names_of_models_are_no_paths(server: Server, name: str) -> None:
    body = json.dumps({"prompt": "x", "max_tokens": 1, "model": name}).encode()
    assert _status(_raw(server, _request(HOST + JSON, body))) in (400, 404)


def test_118_the_log_holds_no_text_and_one_line_a_request(server: Server) -> None:
    before = len(server.log.read_text("utf-8").splitlines())
    secret = "correct-horse-battery-staple"  # noqa: S105
    server.ask("POST", "/v1/completions", {"prompt": secret, "max_tokens": 2})
    server.ask("POST", "/v1/completions", {"prompt": [secret]})
    server.ask_raw("GET", f"/{'a' * 3000}%0abigcode:%1b[31m")
    log = server.log.read_text("utf-8")
    assert secret not in log
    assert "\x1b" not in log
    lines = log.splitlines()[before:]
    assert all(len(line) < 300 for line in lines)


@pytest.mark.parametrize("kind", ["pipe", "device", "large"])
def test_103_a_key_file_that_is_none(kind: str, cold: Run, folder: Path) -> None:
    """It is refused at once, and not waited for."""
    file = folder / "key"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    else:
        file.write_bytes(b"x" * 5000)
    done = cold("serve", "--port", "0", "--api-key-file", "key")
    assert done.status == 3
    assert "error[input]: --api-key-file: key: is " in done.stderr


@pytest.mark.parametrize("digits", [400, 4000])
@pytest.mark.parametrize("field", ["temperature", "max_tokens", "seed"])
def test_108_a_number_too_large_for_any_type(server: Server, field: str, digits: int) -> None:
    body = b'{"prompt":"x","%b":1%b}' % (field.encode(), b"0" * digits)
    assert _status(_raw(server, _request(HOST + JSON, body))) == 400


def test_108_a_device_that_is_none(server: Server) -> None:
    body = {"prompt": "x", "max_tokens": 1, "device": "\r\n"}
    assert server.ask("POST", "/bigcode/v1/complete", body)[0] == 400
