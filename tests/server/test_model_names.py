"""`ps` and `stop` call a built-in model by its name, whichever way it was asked for."""

import pytest

from program import Run
from served import Server

CALLS = {
    "pocket-languages": ("classify", "a.py", "--no-cache"),
    "pocket-secrets": ("tag", "a.py"),
}


@pytest.mark.parametrize("name", CALLS)
def test_built_in_models(server: Server, warm: Run, name: str) -> None:
    warm.write("a.py", "def f(x):\n    return x\n")
    assert warm(*CALLS[name]).status == 0
    assert name in [one["model"] for one in warm("ps", "--format", "json").json["models"]]
    stopped = warm("stop", name)
    assert (stopped.status, f"{name}: unloaded" in stopped.stderr) == (0, True)
    assert server.process.poll() is None
