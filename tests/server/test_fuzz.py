"""Random requests of every dialect: whatever comes, the server answers, says so in JSON, and lives.

BIGCODE_FUZZ_SECONDS is how long each kind of request is tried; without it, a few seeded cases are.
"""

import json
import random
import socket
import struct
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from fuzzing import seeds
from program import TIMEOUT_SECONDS
from served import Server

pytestmark = pytest.mark.slow

CASES = 12
MESSAGE = {"prompt": "def f(x):\n", "max_tokens": 2, "stop": ["\n"], "seed": 1, "n": 2}
SIDES = {"prefix": "def f(x):\n    ", "suffix": "\n", "max_tokens": 2, "samples": 1}
TEXTS = {"files": [{"path": "a.py", "text": "x = 1\n", "lines": [[1, 2]]}], "min_score": 0.5}
PARAMETERS = {"max_new_tokens": 2, "details": True, "stop": ["a"], "do_sample": False}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/completions": {**MESSAGE, "logprobs": 1, "echo": True, "logit_bias": {}},
    "/v1/completions suffix": {
        **MESSAGE,
        "suffix": "\n",
        "stream_options": {"include_usage": True},
    },
    "/v1/completions ids": {**MESSAGE, "prompt": [[5, 6], [7]], "prompt_logprobs": 1},
    "/v1/completions segments": {
        "language": "python",
        "segments": {"prefix": "x = ", "suffix": "\n", "declarations": [{"body": "y = 1"}]},
    },
    "/v1/fim/completions": {"prompt": "x", "suffix": "y", "max_tokens": 2, "random_seed": 3},
    "/infill": {
        "input_prefix": "x = ",
        "input_suffix": "\n",
        "n_predict": 2,
        "id_slot": 0,
        "input_extra": [{"filename": "b.py", "text": "y = 2\n"}],
        "t_max_predict_ms": 100,
        "response_fields": ["content", "timings/prompt_n"],
        "n_indent": 4,
        "top_k": 40,
    },
    "/completion": {"prompt": "x = ", "n_predict": 2, "repeat_penalty": 1.1, "min_p": 0.1},
    "/tokenize": {"content": "x = 1", "with_pieces": True, "parse_special": True},
    "/detokenize": {"tokens": [5, 6, 7]},
    "/api/generate": {
        "prompt": "x = ",
        "suffix": "\n",
        "keep_alive": "5m",
        "options": {"num_predict": 2, "temperature": 0.5, "top_p": 0.9},
        "stream": True,
    },
    "/api/show": {"name": ""},
    "/generate": {"inputs": "x = ", "parameters": PARAMETERS},
    "/generate_stream": {"inputs": "x = ", "parameters": PARAMETERS},
    "/": {"inputs": "x = ", "parameters": {**PARAMETERS, "return_full_text": True}, "stream": True},
    "/v1/events": {"type": "view", "choice_index": 0},
    "/bigcode/v1/complete": {
        "prompt": "x = ",
        "max_tokens": 2,
        "until": "line",
        "time_budget": 5.0,
        "keep_alive": 60,
        "context_files": [{"path": "b.py", "text": "y = 2\n"}],
        "stream": True,
        "threads": 1,
    },
    "/bigcode/v1/infill": {**SIDES, "order": "spm", "min_confidence": 0.1, "cache": True},
    "/bigcode/v1/score": {**TEXTS, "window": "strided", "stride": 10, "tokens": True},
    "/bigcode/v1/classify": {**TEXTS, "windows": True, "device": "auto", "precision": "auto"},
    "/bigcode/v1/tag": {**TEXTS, "labels": ["KEY"], "min_scores": {"KEY": 0.5}},
}
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, 5e-324),
    *("", "x", "x" * 5000, "\0", "\x1b[31m", "é😀", "../../etc/passwd", "/dev/zero", "9" * 500),
    *("\ud800", "<fim_middle>", "<|endoftext|>", "\r\n", "5m", "999999999h", "-1"),
    *([], {}, [[]], [None] * 3, {"": None}, [1, "a", {}], [2**40], [-1], [[1, 10**18]], [0.5]),
)
RAW = (
    *(b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"1" + b"0" * 400, b"[" * 3000, b'{"a":' * 200),
    *(rb'"\ud800"', rb'"\udcff"', rb'"\u0000"', b"'x'", b"0x10", b"01", b"\xff", b"", b",", b"}"),
    *(b"-", b"1.", b'"\xed\xa0\x80"', b'"\t"', b"\xef\xbb\xbf", b"1e-999", b"true false"),
)


def _nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document: its container, and its key or number."""
    waiting = [value]
    while waiting:
        container = waiting.pop()
        for key in list(container if isinstance(container, dict) else range(len(container))):
            yield container, key
            if isinstance(container[key], (dict, list)):
                waiting.append(container[key])


def _body(seed: dict[str, Any], draw: random.Random) -> bytes:
    document = deepcopy(seed)
    for _ in range(draw.randint(1, 3)):
        nodes = list(_nodes(document))
        if not nodes:
            break
        container, key = draw.choice(nodes)
        chance = draw.random()
        if chance < 0.15:
            del container[key]
        elif chance < 0.3:
            container[key] = "@@RAW@@"
        else:
            container[key] = deepcopy(draw.choice(VALUES))
    data = json.dumps(document).encode().replace(b'"@@RAW@@"', draw.choice(RAW), 1)
    if draw.random() < 0.1:
        place = draw.randrange(len(data) + 1)
        data = data[:place] + draw.choice(RAW) + data[place + draw.choice((0, 1, 8)) :]
    return data


@pytest.mark.parametrize("name", BODIES)
def test_bodies(brief: Server, name: str) -> None:
    path, _, _ = name.partition(" ")
    for number in seeds(CASES):
        body = _body(BODIES[name], random.Random(f"{name} {number}"))
        status, answer = brief.ask_raw("POST", path, body)
        said = (name, number, body[:400], status, answer[:300])
        assert status in (200, 400, 404, 409, 503), said
        if status != 200:
            assert isinstance(json.loads(answer), dict), said
        assert b"internal" not in answer, said
    assert "Traceback" not in brief.log.read_text("utf-8")


HEADERS = (
    *(b"Content-Type: application/json", b"Content-Type: text/plain", b"Content-Type: \xff"),
    *(b"Content-Type: application/json; charset=utf-16", b"Transfer-Encoding: chunked"),
    *(b"Transfer-Encoding: chunked, gzip", b"Content-Encoding: gzip", b"Expect: 100-continue"),
    *(b"Expect: x", b"Connection: close", b"Connection: upgrade\r\nUpgrade: websocket"),
    *(b"Upgrade: h2c", b"Origin: null", b"Origin: http://localhost", b"Cookie: " + b"a" * 9000),
    *(b"Authorization: Bearer \xe9", b"Accept: text/event-stream", b"Range: bytes=0-1"),
    *(
        b"Bigcode-Version: \xff",
        b"Bigcode-Version: 0",
        b"X-Forwarded-Host: evil",
        b": x",
        b"\t x: y",
    ),
    *(b"Content-Length: +5", b"Content-Length: 5, 5", b"Content-Length: 0x5", b"Host: [::1"),
    b"Content-Length: " + b"9" * 500,
)
PATHS = (
    *(b"/v1/completions", b"/infill", b"/health", b"/metrics", b"/v1/models", b"/info", b"//"),
    *(
        b"/v1/completions?a=%00",
        b"/%2e%2e/etc/passwd",
        b"/v1/completions/",
        b"*",
        b"/\xff",
        b"/a b",
    ),
    *(b"/models/../x", b"/models/" + b"%2f" * 3000, b"http://localhost/health", b"/bigcode/v1/ps"),
)
METHODS = (b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"PRI", b"get", b"TRACE")
SMALL = json.dumps({"prompt": "x", "max_tokens": 1}).encode()
STREAMED = json.dumps({"prompt": "x", "max_tokens": 200, "stream": True}).encode()


def _chunked(body: bytes, draw: random.Random) -> bytes:
    size = draw.choice((1, 3, len(body) or 1))
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    tails = (
        b"0\r\n\r\n",
        b"0\r\nX: y\r\n\r\n",
        b"",
        b"ffffffffffffffff\r\n",
        b"-1\r\n",
        b"0;a=b\r\n\r\n",
    )
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + draw.choice(tails)


def _request(draw: random.Random) -> bytes:
    body = draw.choice((SMALL, STREAMED, b"", b"{", b"\x1f\x8b\x08"))
    heads = [b"Host: localhost", *draw.sample(HEADERS, draw.randint(0, 3))]
    if draw.random() < 0.7:
        heads.append(b"Content-Type: application/json")
    if any(head.startswith(b"Transfer") for head in heads):
        body = _chunked(body, draw)
    elif draw.random() < 0.9:
        heads.append(b"Content-Length: %d" % (len(body) + draw.choice((0, 0, 0, 1, -1))))
    line = b"%b %b HTTP/%b" % (
        draw.choice((b"POST", draw.choice(METHODS))),
        draw.choice((b"/v1/completions", draw.choice(PATHS))),
        draw.choice((b"1.1", b"1.1", b"1.0", b"2.0", b"9.9")),
    )
    return b"\r\n".join([line, *heads, b"", b""]) + body


def _talk(server: Server, draw: random.Random) -> bytes:
    """Send some requests on one connection, and leave in one of several ways."""
    data = b"".join(_request(draw) for _ in range(draw.choice((1, 1, 2, 5))))
    cuts = sorted(draw.randrange(len(data) + 1) for _ in range(draw.choice((0, 1, 3))))
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_SECONDS) as client:
        try:
            for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                client.sendall(data[start:end])
            leave = draw.choice(("read", "read", "reset", "half", "close"))
            if leave == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if leave in ("read", "half"):
                client.shutdown(socket.SHUT_WR)
                while chunk := client.recv(1 << 16 if leave == "read" else 10):
                    received += chunk
                    if leave == "half" and len(received) > 30:
                        break
        except TimeoutError:
            raise
        except OSError:  # the server has closed the connection
            pass
    return received


def test_connections(brief: Server) -> None:
    for number in seeds(5 * CASES):
        received = _talk(brief, random.Random(number))
        said = (number, received[:500])
        assert not received or received.startswith(b"HTTP/1."), said
        for part in received.split(b"HTTP/1.1 ")[1:]:
            assert part[:3] != b"500", said
    brief.await_idle()
    assert brief.ask("POST", "/v1/completions", {"prompt": "x", "max_tokens": 1})[0] == 200
    assert "Traceback" not in brief.log.read_text("utf-8")
