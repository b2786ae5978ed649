"""The client side of a warm server imports nothing heavy: its start is most of a short call."""

import json
import sys
from pathlib import Path

import pytest

from program import Run
from served import Server

HEAVY = ("numpy", "tokenizers", "torch", "asyncio", "httpx2", "starlette", "uvicorn")
PROGRAM = f"""
import json, sys
from bigcode_cli.app import main
status = main(sys.argv[1:])
print("\\n" + json.dumps([status, [name for name in {HEAVY} if name in sys.modules]]))
"""


@pytest.mark.parametrize(
    "call",
    [
        ("complete", "a.py", "--max-tokens", "2"),
        ("complete", "a.py", "--max-tokens", "2", "--format", "json"),
        ("infill", "a.py", "--at", "1:9", "--max-tokens", "2"),
        ("score", "a.py", "--no-cache"),
        ("classify", "a.py", "--no-cache"),
        ("tag", "a.py"),
        ("ps",),
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(server: Server, folder: Path, call: tuple[str, ...]) -> None:
    (folder / "a.py").write_text("def f(x):\n    return x\n", "utf-8")
    before = server.logged("/bigcode/v1/")
    run = Run(folder, server.environment)
    done = run(*call, program=(sys.executable, "-c", PROGRAM))
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []], done
    server.await_log("/bigcode/v1/", before)
