"""The process that opens pickles has no network, little memory and no secret: case 13 and 55."""

import socket
import sys
from pathlib import Path

import pytest

from bigcode_cli.conversion.convert import child_environment
from fake_hub import TOKEN, FakeHub
from program import Run

_ESCAPE = """
import socket, sys, urllib.request
from pathlib import Path
from bigcode_cli.conversion import sandboxed_worker as child
if sys.argv[3] == "hook":
    child._NEW_NETWORK = child._NEW_USERS = 0
    child.ctypes.CDLL(None).unshare.restype = None
    real = child.ctypes.CDLL
    class Library:
        def __init__(self, *arguments, **named): self.real = real(*arguments, **named)
        def prctl(self, *arguments): return self.real.prctl(*arguments)
        def unshare(self, _): return -1
    child.ctypes.CDLL = Library
print(child.isolate())
child.forbid(Path(sys.argv[2]))
def attempts():
    yield "connect", lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), 3)
    if sys.argv[3] == "hook":
        yield "socket", lambda: socket.socket()
        yield "run", lambda: __import__("os").system("true")
        yield "fork", lambda: __import__("os").fork()
    yield "write", lambda: open("/tmp/escaped", "w")
for name, attempt in attempts():
    try:
        attempt()
    except OSError:
        print("refused", name)
open(sys.argv[2] + "/inside", "w").close()
"""


@pytest.mark.parametrize("means", ["namespace", "hook"])
def test_13_the_process_has_no_network(means: str, run: Run, hub: FakeHub, tmp_path: Path) -> None:
    """By the kernel where it grants a namespace, by a hook elsewhere."""
    port = hub.url.rpartition(":")[2]
    with socket.create_connection(("127.0.0.1", int(port)), 3):
        pass
    program = (sys.executable, "-c", _ESCAPE)
    done = run(port, tmp_path, means, program=program)
    assert done.status == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert means in lines[0]
    assert lines[1] == "refused connect"
    assert "refused write" in lines
    assert len(lines) == (3 if means == "namespace" else 6)
    assert hub.requests == []
    assert (tmp_path / "inside").exists()


def test_13_the_process_has_little_memory(run: Run) -> None:
    script = (
        "from bigcode_cli.conversion.sandboxed_worker import limit_memory\n"
        "limit_memory(1 << 20)\n"
        "bytearray(500 << 20)\n"
        "try: bytearray(1500 << 20)\n"
        "except MemoryError: print('refused')\n"
    )
    assert run("-c", script, program=(sys.executable,)).stdout == b"refused\n"


def test_55_the_process_knows_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HOME", "/somewhere")
    assert not {name for name in child_environment() if name.startswith("HF_")}
    assert TOKEN not in child_environment().values()
