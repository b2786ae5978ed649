"""Whoever listens where a server was named: answers of another form end in one clear line."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from program import Run, assert_failed

START = {
    "event": "start",
    "prompt_tokens": 1,
    "dropped_prefix_tokens": 0,
    "dropped_suffix_tokens": 0,
    "dropped_context_tokens": 0,
}


def _document(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@contextmanager
def _answering(address: Any, answers: dict[str, bytes]) -> Iterator[int]:
    """A server with one answer for each end of a path; its port, on TCP."""
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family) as listener:
        listener.bind(address)
        listener.listen(16)

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client, client.makefile("rb") as asked:
                    path = asked.readline().split()[1].decode()
                    heads = iter(asked.readline, b"\r\n")
                    sizes = [int(head.split(b":")[1]) for head in heads if b"Length:" in head]
                    asked.read(sum(sizes))
                    body = next((a for end, a in answers.items() if path.endswith(end)), b"")
                    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                    client.sendall(head + body)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1] if family is socket.AF_INET else 0
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def file(folder: Path) -> str:
    (folder / "a.py").write_text("x = 1\ny = 2\n", "utf-8")
    return "a.py"


def _asked(cold: Run, answers: dict[str, bytes], *call: str) -> Any:
    with _answering(("127.0.0.1", 0), answers) as port:
        return cold(*call, "--server", f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    "event",
    [
        *({"choices": 5}, {"choices": ["x"]}, {"choices": [{"index": "0", "text": "x"}]}),
        *({"choices": [{"text": 5}]}, {"choices": [{"delta": {"content": "x"}}]}, b"5"),
        *(b'{"choices":[{"text":"\\ud800"}]}', b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}"),
    ],
    ids=lambda event: str(event)[:40],
)
def test_an_engine_that_answers_something_else(event: Any, cold: Run, file: str) -> None:
    answer = b"data: " + _document(event) + b"\n\ndata: [DONE]\n\n"
    done = _asked(cold, {"/models": b'{"data":null}', "/completions": answer}, "complete", file)
    assert_failed(done, "server")


@pytest.mark.parametrize("value", [None, 5.0, -1e308, [1], "x"], ids=str)
def test_an_engine_with_values_that_are_no_logarithms(value: Any, cold: Run, file: str) -> None:
    choice = {"text": "", "logprobs": {"token_logprobs": [value] * 11}}
    answer = _document({"choices": [choice]})
    answers = {"/models": b'{"data":[{"id":"a"}]}', "/completions": answer}
    done = _asked(cold, answers, "score", "--format", "json", file)
    assert_failed(done, "server")


@pytest.mark.parametrize(
    "lines",
    [
        *([5], [{"a": 1}], [{"event": "done"}], [{"event": "start"}, {"event": "done"}]),
        *([START, {"event": "text"}], [START, {"event": "done", "answer": 5}]),
        *([{"event": "file", "file": None}], [{"event": "file", "file": {"status": "ok"}}]),
        [b"[" * 100_000],
    ],
    ids=lambda lines: str(lines)[:40],
)
@pytest.mark.parametrize("command", ["complete", "score", "classify", "tag"])
def test_a_socket_of_another_program(
    command: str, lines: list[Any], cold: Run, file: str, runtime: Path
) -> None:
    answer = b"".join(_document(line) + b"\n" for line in lines)
    address = runtime / "s"
    asked = (command, file, "--format", "json", "--server", f"unix:{address}")
    with _answering(str(address), {"": answer}):
        done = cold(*asked)
    assert_failed(done, "server")
