"""Many clients at once, and a server that is killed while they wait."""

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from served import Server, Start, amounts

PROMPTS = tuple(f"def f{number}(x, y):\n    return" for number in range(8))


def _memory(server: Server) -> int:
    """The server's memory in kB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text("ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


@pytest.mark.parametrize("count", amounts(64, 1000))
def test_64_clients_at_once(server: Server, count: int) -> None:
    """No answer is wrong, none is lost, and memory stays."""

    def ask(number: int) -> Any:
        body = {"prompt": PROMPTS[number % len(PROMPTS)], "max_tokens": 3}
        status, answer = server.ask("POST", "/bigcode/v1/complete", body)
        assert status == 200, answer
        return answer["choices"][0]["text"]

    wanted = [ask(number) for number in range(len(PROMPTS))]
    before = _memory(server)
    with ThreadPoolExecutor(64) as pool:
        given = list(pool.map(ask, range(count)))
    assert given == [wanted[number % len(PROMPTS)] for number in range(count)]
    assert _memory(server) - before < 100_000


@pytest.mark.parametrize("moments", amounts(2, 20))
def test_a_server_that_is_killed_under_load(start: Start, folder: Path, moments: int) -> None:
    """Every client ends with the right answer, or says that it is not all there."""
    random.seed(moments)
    (folder / "a.py").write_text(PROMPTS[0], "utf-8")
    call = ("complete", "a.py", "--max-tokens", "200")
    server = start()
    run = server.run(folder)
    wanted = run(*call).stdout
    for _ in range(moments):
        with ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(run, *call) for _ in range(3)]
            server.await_requests()
            time.sleep(random.uniform(0, 0.3))
            server.end(signal.SIGKILL)
            done = [one.result() for one in waiting]
        for one in done:
            assert one.status in (0, 3), one
            assert one.stdout == wanted or (one.status == 3 and wanted.startswith(one.stdout))
        server.restart()
