"""Random messages of an editor: every request is answered, and nothing else is heard.

BIGCODE_FUZZ_SECONDS is how long this goes on; without it, a few seeded conversations are tried.
"""

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fuzzing import seeds
from program import BIGCODE, TIMEOUT_SECONDS
from served import Server

pytestmark = pytest.mark.slow

CONVERSATIONS, MESSAGES = 4, 25
URIS = (
    "file:///a.py",
    "file:///b.md",
    "untitled:1",
    "file:///dev/zero",
    "x",
    "",
    "file://%ff/\x00",
)
TEXTS = (
    "",
    "x = ",
    "def f(x):\n    ",
    "a\r\nb\rc\x0cd\u2028e",
    "é😀中" * 9,
    "\ud800\n",
    "k" * 9000,
)
NUMBERS: tuple[Any, ...] = (0, 1, 2, 3, 7, 2**31 - 1, 2**31, 2**64, -1, 0.5, "1", None, [], True)
DATA: tuple[Any, ...] = (None, 5, {}, {"kind": "secret"}, {"kind": "secret", "label": []})
PLACES = (0, 1, 2, 3, 7, 99, 2**31 - 1)
METHODS = (
    *("textDocument/completion", "textDocument/inlineCompletion", "textDocument/codeAction"),
    *("textDocument/hover", "workspace/symbol", "completionItem/resolve", "$/unknown", ""),
)
RAW = (
    *(b"{", b"null", b"[]", b"5", b'"x"', b"\xff", b"[" * 5000, b'{"jsonrpc":"2.0"}', b"{}"),
    *(b'{"jsonrpc":"1.0","id":1,"method":"shutdown"}', b'{"jsonrpc":"2.0","result":1,"id":9999}'),
    *(b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"none"}}', b'{"jsonrpc":2}'),
)
HEADS = (
    *("Content-Length: {}\r\n\r\n", "Content-Length: {}\r\n\r\n", "Content-Length: {}\r\n\r\n"),
    "Content-Type: application/vscode-jsonrpc; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
    *("X: y\r\nContent-Length: {}\r\n\r\n", "Content-Length: {}\r\nX: y\r\n\r\n"),
)


def _position(draw: random.Random) -> dict[str, Any]:
    numbers = PLACES if draw.random() < 0.8 else NUMBERS
    return {"line": draw.choice(numbers), "character": draw.choice(numbers)}


def _range(draw: random.Random) -> dict[str, Any]:
    return {"start": _position(draw), "end": _position(draw)}


def _notification(draw: random.Random) -> dict[str, Any]:
    document: dict[str, Any] = {"uri": draw.choice(URIS[:3] if draw.random() < 0.8 else URIS)}
    kind = draw.choice(("didOpen", "didChange", "didChange", "didChange", "didClose", "didSave"))
    params: dict[str, Any] = {"textDocument": document}
    if kind == "didOpen":
        document |= {"languageId": draw.choice(("python", "", "md")), "version": 1}
        document["text"] = draw.choice(TEXTS)
    elif kind == "didChange":
        document["version"] = draw.choice((2, 3, *NUMBERS))
        changes = [{"text": draw.choice(TEXTS)} for _ in range(draw.randint(0, 3))]
        params["contentChanges"] = [
            {**one, "range": _range(draw)} if draw.random() < 0.8 else one for one in changes
        ]
    return {"method": f"textDocument/{kind}", "params": params}


def _request(draw: random.Random, number: int) -> dict[str, Any]:
    params: dict[str, Any] = {"textDocument": {"uri": draw.choice(URIS)}}
    params |= {"position": _position(draw), "range": _range(draw)}
    found: dict[str, Any] = {"range": _range(draw), "message": "x", "source": "bigcode"}
    found["data"] = draw.choice(DATA)
    params["context"] = {"triggerKind": draw.choice((0, 1, 2, 9)), "diagnostics": [found]}
    if draw.random() < 0.1:
        del params[draw.choice(list(params))]
    identity = draw.choice((number, number, number, f"s{number}"))
    return {"id": identity, "method": draw.choice(METHODS[:3] * 3 + METHODS), "params": params}


def _conversation(draw: random.Random) -> tuple[bytes, set[Any]]:
    """What an editor sends, and the requests that must be answered."""
    data, asked = b"", set()
    for number in range(100, 100 + MESSAGES):
        chance = draw.random()
        if chance < 0.1:
            body = draw.choice(RAW)
        else:
            message = _request(draw, number) if chance < 0.5 else _notification(draw)
            if "id" in message:
                asked.add(message["id"])
            body = json.dumps({"jsonrpc": "2.0", **message}).encode()
            if "id" in message and draw.random() < 0.2:
                cancel = {"method": "$/cancelRequest", "params": {"id": message["id"]}}
                data += _framed({"jsonrpc": "2.0", **cancel})
        data += draw.choice(HEADS).format(len(body)).encode() + body
    return data, asked


def _framed(message: dict[str, Any]) -> bytes:
    body = json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def _heard(stream: Any) -> Iterator[dict[str, Any]]:
    """The messages as they come."""
    while head := stream.readline():
        size = int(head.partition(b":")[2])
        while stream.readline().strip():
            pass
        yield json.loads(stream.read(size))


def test_conversations(brief: Server, folder: Path, tiny_checkpoint: Path) -> None:
    hello = {"id": 1, "method": "initialize", "params": {"processId": None, "rootUri": None}}
    hello["params"]["capabilities"] = {}  # type: ignore[index]
    begin = _framed({"jsonrpc": "2.0", **hello})
    begin += _framed({"jsonrpc": "2.0", "method": "initialized", "params": {}})
    for number in seeds(CONVERSATIONS):
        draw = random.Random(number)
        data, asked = _conversation(draw)
        with subprocess.Popen(
            [BIGCODE, "lsp", "-m", str(tiny_checkpoint), "--completion-tokens", "4"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=brief.environment,
            cwd=folder,
        ) as process:
            assert process.stdin
            process.stdin.write(begin + data)
            process.stdin.flush()
            heard, waited = [], {1, *asked}
            for message in _heard(process.stdout):
                heard.append(message)
                if "method" not in message and "id" in message:
                    waited.discard(message["id"])
                if not waited:  # one that is never answered is found by the time limit of a test
                    break
            end = _framed({"jsonrpc": "2.0", "id": "end", "method": "shutdown"})
            end += _framed({"jsonrpc": "2.0", "method": "exit"})
            _, complaints = process.communicate(end, timeout=TIMEOUT_SECONDS)
        context = (number, heard[-3:], complaints[:300])
        assert (process.returncode, complaints, waited) == (0, b"", set()), context
        answered = [one["id"] for one in heard if "id" in one and "method" not in one]
        assert len(answered) == len(set(answered)), context
        assert "window/showMessage" not in {one.get("method") for one in heard}, context
