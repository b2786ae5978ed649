"""models pull against a hub that breaks, by the numbers of the catalogue of faults: 25 to 35."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cached_models import COMMIT
from fake_hub import FakeHub, Handler
from program import BIGCODE, TIMEOUT_SECONDS, Outcome, Run, assert_failed

NAME = "acme/tiny"
WEIGHTS = "model.safetensors"
DEAD = {"HF_ENDPOINT": "http://127.0.0.1:1"}
Pull = Callable[..., Outcome]
# Ends the process with a status of its own as soon as anything asks for the network.
_NO_SOCKETS = """
import os, sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        os._exit(99)
sys.addaudithook(refuse)
"""


def leftovers(place: Path) -> list[Path]:
    return [*place.rglob("*.incomplete"), *place.glob("snapshots/*"), *place.glob("refs/*")]


def is_weights(handler: Handler) -> bool:
    return handler.request_seen.path.endswith(WEIGHTS)


def test_25_a_hub_that_is_gone_does_not_matter_for_what_is_here(pull: Pull, place: Path) -> None:
    assert pull(NAME).status == 0
    done = pull(NAME, env=DEAD)
    assert (done.status, done.stdout) == (0, bytes(place / "snapshots" / COMMIT) + b"\n")
    assert "cannot be reached" in done.stderr


@pytest.mark.timing
def test_26_a_hub_that_is_gone_and_nothing_here(pull: Pull) -> None:
    start = time.monotonic()
    done = pull(NAME, env=DEAD)
    assert_failed(done, "offline")
    assert "acme/tiny is not in the cache, and 127.0.0.1: cannot be reached (Con" in done.stderr
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        pytest.param((), {"HF_HUB_OFFLINE": "1"}, id="HF_HUB_OFFLINE"),
        pytest.param((), {"TRANSFORMERS_OFFLINE": "true"}, id="TRANSFORMERS_OFFLINE"),
        pytest.param(("--offline",), {}, id="option"),
        pytest.param((), {"BIGCODE_OFFLINE": "1"}, id="BIGCODE_OFFLINE"),
    ],
)
def test_27_offline_opens_no_socket(
    arguments: tuple[str, ...], variables: dict[str, str], pull: Pull, hub: FakeHub
) -> None:
    assert pull(NAME, statements=_NO_SOCKETS).status == 99, "the trap does not work"
    done = pull(NAME, *arguments, env=variables, statements=_NO_SOCKETS)
    assert_failed(done, "offline")
    assert pull(NAME).status == 0
    before = len(hub.requests)
    assert pull(NAME, *arguments, env=variables, statements=_NO_SOCKETS).status == 0
    assert len(hub.requests) == before


@pytest.mark.timing
@pytest.mark.parametrize("part", ["/revision/", "/tree/", "config.json", WEIGHTS])
def test_28_a_hub_that_never_answers(part: str, pull: Pull, hub: FakeHub, place: Path) -> None:
    hub.fault = lambda handler: part in handler.request_seen.path and handler.hang()
    start = time.monotonic()
    done = pull(NAME, env={"HF_HUB_DOWNLOAD_TIMEOUT": "1"})
    assert_failed(done, "network")
    assert "no answer in time" in done.stderr
    assert time.monotonic() - start < 15
    assert leftovers(place) == []


@pytest.mark.parametrize("part", ["/tree/", WEIGHTS])
def test_29_a_hub_that_drips(part: str, pull: Pull, hub: FakeHub, place: Path) -> None:
    def drip(handler: Handler) -> bool:
        if part not in handler.request_seen.path:
            return False
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"1\r\nx\r\n")
            if hub.closing.wait(0.1):
                break
        return True

    hub.fault = drip
    quickly = "import bigcode_cli.hub.session as s; s.PATIENCE_SECONDS = 0.5"
    done = pull(NAME, statements=quickly)
    assert_failed(done, "network")
    assert "bytes a second" in done.stderr
    assert leftovers(place) == []


def drop_after(count: int, times: int) -> Callable[[Handler], bool]:
    """Close the connection after `count` bytes of the weights, `times` times."""
    left = [times]

    def fault(handler: Handler) -> bool:
        if not is_weights(handler) or not left[0]:
            return False
        left[0] -= 1
        content, start = handler.body_for_range()
        status = 206 if start else 200
        handler.send_response(status)
        if start:
            place = f"bytes {start}-{len(content) - 1}/{len(content)}"
            handler.send_header("Content-Range", place)
        handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        handler.wfile.write(content[start : start + count])
        handler.wfile.flush()
        handler.connection.close()
        return True

    return fault


def ranges(hub: FakeHub) -> list[str | None]:
    return [r.headers.get("range") for r in hub.requests if r.path.endswith(WEIGHTS)]


def test_30_a_connection_that_drops_is_resumed(pull: Pull, hub: FakeHub) -> None:
    hub.fault = drop_after(100_000, times=2)
    assert pull(NAME).status == 0
    assert ranges(hub) == [None, "bytes=100000-", "bytes=200000-"]


def test_30_a_connection_that_always_drops(pull: Pull, hub: FakeHub, place: Path) -> None:
    hub.fault = drop_after(0, times=99)
    done = pull(NAME)
    assert_failed(done, "network")
    assert "the connection broke off" in done.stderr
    assert len(ranges(hub)) == 4
    assert leftovers(place) == []


def test_31_a_server_that_ignores_ranges(pull: Pull, hub: FakeHub, run: Run) -> None:
    once = drop_after(100_000, times=1)

    def whole(handler: Handler) -> bool:
        if not is_weights(handler) or once(handler):
            return is_weights(handler)
        return handler.reply(200, handler.body_for_range()[0])

    hub.fault = whole
    assert pull(NAME).status == 0
    assert ranges(hub) == [None, "bytes=100000-"]
    assert run("complete", "-m", NAME, input=b"").stdout == b"hello"


def test_31_a_server_that_resumes_elsewhere(pull: Pull, hub: FakeHub) -> None:
    once = drop_after(100_000, times=1)

    def shifted(handler: Handler) -> bool:
        if not is_weights(handler) or once(handler):
            return is_weights(handler)
        content, start = handler.body_for_range()
        headers = {"Content-Range": f"bytes {start + 1}-{len(content) - 1}/{len(content)}"}
        return handler.reply(206, content[start + 1 :], headers=headers)

    hub.fault = shifted
    assert_failed(pull(NAME), "network-size")


@pytest.mark.parametrize(
    ("change", "chunked"),
    [
        pytest.param(lambda body: body[:1000], False, id="short"),
        pytest.param(lambda body: body[:1000], True, id="short-chunked"),
        pytest.param(lambda body: body * 30, False, id="long"),
        pytest.param(lambda body: body * 30, True, id="long-chunked"),
        pytest.param(lambda _: b"", True, id="empty"),
    ],
)
def test_32_a_body_of_another_size(
    change: Callable[[bytes], bytes], *, chunked: bool, pull: Pull, hub: FakeHub, place: Path
) -> None:
    def fault(handler: Handler) -> bool:
        if not is_weights(handler):
            return False
        body = change(handler.body_for_range()[0])
        return handler.reply_chunked(body) if chunked else handler.reply(200, body)

    hub.fault = fault
    assert_failed(pull(NAME), "network-size")
    assert leftovers(place) == []


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json", "config.json"])
def test_33_the_right_size_and_another_content(
    name: str, pull: Pull, hub: FakeHub, place: Path, files: dict[str, bytes]
) -> None:
    def flip(handler: Handler) -> bool:
        if not handler.request_seen.path.endswith("/" + name):
            return False
        content = bytearray(files[name])
        content[-2] ^= 1
        return handler.reply(200, bytes(content))

    hub.fault = flip
    done = pull(NAME)
    assert_failed(done, "hash-mismatch")
    assert f"{name}: its hash is " in done.stderr
    assert leftovers(place) == []
    hub.fault = lambda _: False
    assert pull(NAME).status == 0


def start_slow_pull(hub: FakeHub, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a pull and wait until half of the weights have come and nothing follows."""

    def half(handler: Handler) -> bool:
        if not is_weights(handler):
            return False
        content, _ = handler.body_for_range()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2])
        handler.wfile.flush()
        return handler.hang()

    hub.fault = half
    process = subprocess.Popen(
        [BIGCODE, "models", "pull", NAME],
        env={**environment, "HF_HUB_DOWNLOAD_TIMEOUT": "30"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + TIMEOUT_SECONDS
    blobs = Path(environment["HOME"]) / ".cache/huggingface/hub/models--acme--tiny/blobs"
    sizes: list[int] = []
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):  # a small file that is complete by now
            sizes = [path.stat().st_size for path in blobs.glob("*.incomplete")]
        if max(sizes, default=0) > 200_000:
            return process
        time.sleep(0.05)
    raise AssertionError(process.communicate())


def test_34_a_killed_download(
    hub: FakeHub, environment: dict[str, str], pull: Pull, run: Run, place: Path
) -> None:
    process = start_slow_pull(hub, environment)
    process.kill()
    process.communicate(timeout=TIMEOUT_SECONDS)
    assert len(list(place.rglob("*.incomplete"))) == 1
    listed = run("models", "list", "--format=json").json["models"]
    assert [entry for entry in listed if entry["name"] == NAME] == []
    assert run("complete", "-m", NAME, input=b"").status == 3
    hub.fault = lambda _: False
    assert pull(NAME).status == 0
    assert list(place.rglob("*.incomplete")) == []


@pytest.mark.timing
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_35_an_interrupted_download(
    number: signal.Signals, status: int, hub: FakeHub, environment: dict[str, str], place: Path
) -> None:
    process = start_slow_pull(hub, environment)
    start = time.monotonic()
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    assert time.monotonic() - start < 2
    assert (process.returncode, stdout) == (status, b"")
    assert b"Traceback" not in stderr
    assert leftovers(place) == []


@pytest.mark.timing
def test_35_an_interrupted_wait_for_another_download(
    hub: FakeHub, environment: dict[str, str]
) -> None:
    first = start_slow_pull(hub, environment)
    second = subprocess.Popen(
        [BIGCODE, "models", "pull", NAME], env=environment, stderr=subprocess.PIPE
    )
    assert second.stderr is not None
    lines = iter(second.stderr.readline, b"")
    assert any(b"waiting for another download" in line for line in lines)
    start = time.monotonic()
    for process in (second, first):
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT_SECONDS)
        assert process.returncode == 130
    assert time.monotonic() - start < 3
