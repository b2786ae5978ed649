"""models and its surroundings: drips, our own files, what is left behind.

Further tests of cases 29, 37, 40, 42 to 47, 55, 58 and 59 of the catalogue.
"""

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cached_models import COMMIT, add_to_cache
from fake_hub import TOKEN, FakeHub, Handler
from program import BIGCODE, TIMEOUT_SECONDS, Outcome, Run, assert_failed

NAME = "acme/tiny"
WEIGHTS = "model.safetensors"
SENTINEL = "prompt_SENTINEL_of_mine"
Pull = Callable[..., Outcome]


@pytest.mark.parametrize("part", ["/revision/", WEIGHTS])
def test_29_headers_that_drip(part: str, pull: Pull, hub: FakeHub, place: Path) -> None:
    """Every byte comes in time, and the headers never end."""

    def drip(handler: Handler) -> bool:
        if part not in handler.request_seen.path:
            return False
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Padding: ")
        while not hub.closing.wait(0.05):
            handler.wfile.write(b"x")
        return True

    hub.fault = drip
    quickly = "import bigcode_cli.hub.session as s; s.PATIENCE_SECONDS = 0.3"
    done = pull(NAME, statements=quickly)
    assert_failed(done, "network")
    assert "no answer in time" in done.stderr
    assert not list(place.rglob("*.incomplete"))


def test_37_locks_that_keep_nobody_out(environment: dict[str, str], run: Run) -> None:
    """Two at once, each of which believes to be alone: the work is done twice, and right."""
    unlocked = "import fcntl; fcntl.flock = lambda *_: None"
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    call = ("models", "pull", "-q", NAME)
    processes = [run.start(*call, env=environment, statements=unlocked, **pipes) for _ in range(2)]
    for process in processes:
        _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
        assert (process.returncode, stderr) == (0, b"")
    assert run("models", "verify", NAME).status == 0


def test_40_no_home(pull: Pull, tmp_path: Path) -> None:
    """The system's own idea of the home folder counts; here it is asked for another place."""
    program = ("env", "-u", "HOME", f"HF_HOME={tmp_path / 'deep' / 'er'}", BIGCODE)
    done = pull(NAME, program=program)
    assert done.status == 0
    assert done.stdout.startswith(bytes(tmp_path / "deep" / "er" / "hub"))


@pytest.mark.parametrize("command", ["list", "show", "verify", "path", "prune"])
def test_40_a_cache_that_is_a_file_holds_nothing(command: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    names = (NAME,) if command in ("show", "verify", "path") else ()
    done = run("models", command, *names, env={"HF_HOME": str(tmp_path / "file")})
    assert done.status == (3 if names else 0)


def test_42_a_missing_content_is_told_without_network(pull: Pull, run: Run, place: Path) -> None:
    assert pull(NAME).status == 0
    (place / "snapshots" / COMMIT / WEIGHTS).resolve().unlink()
    for command in (("complete", "-m", NAME), ("models", "show", NAME), ("models", "verify", NAME)):
        done = run(*command)
        assert_failed(done, "model-corrupt" if "verify" in command else "model-missing")
    listed = run("models", "list", "--format=json").json["models"]
    assert NAME not in [entry["name"] for entry in listed]
    assert pull(NAME, env={"HF_ENDPOINT": "http://127.0.0.1:1"}).status == 3
    assert pull(NAME).status == 0


@pytest.mark.parametrize("name", ["../x", "{here}/x", "a/../../b"])
def test_43_nothing_is_written_anywhere(
    name: str, pull: Pull, hub: FakeHub, run: Run, tmp_path: Path
) -> None:
    hub.repositories[NAME].files[name.format(here=tmp_path)] = b"owned"
    assert_failed(pull(NAME), "repo-unsafe")
    home = Path(run.environment["HOME"])
    assert [path for path in home.rglob("*") if path.is_file()] == []
    assert list(run.folder.iterdir()) == []
    assert not (tmp_path / "x").exists()


def test_44_headers_that_name_other_places_are_not_used(
    pull: Pull, hub: FakeHub, run: Run, tmp_path: Path
) -> None:
    """Contents are named by the hashes of the list, whatever the headers say."""
    headers = {
        "ETag": '"../../../../PWNED"',
        "X-Linked-ETag": '"../../../../PWNED"',
        "X-Repo-Commit": "../../../PWNED",
        "Content-Disposition": "attachment; filename=../../PWNED",
    }

    def fault(handler: Handler) -> bool:
        if "/resolve/" not in handler.request_seen.path:
            return False
        return handler.reply(200, handler.body_for_range()[0], headers=headers)

    hub.fault = fault
    assert pull(NAME).status == 0
    assert list(tmp_path.rglob("*PWNED*")) == []
    assert run("models", "verify", NAME).status == 0


def test_45_names_may_be_as_long_as_the_hub_allows(pull: Pull, hub: FakeHub) -> None:
    longest = f"{'o' * 90}/{'n' * 90}"
    hub.repositories[longest] = hub.repositories[NAME]
    assert pull(longest).status == 0
    assert pull("o" * 97 + "/x").status == 2


@pytest.mark.parametrize("status", [400, 408, 451, 502, 504])
def test_46_other_statuses(status: int, pull: Pull, hub: FakeHub) -> None:
    hub.fault = lambda handler: handler.reply(status, b"\x1b[31mno")
    done = pull(NAME)
    assert_failed(done, "hub-down" if status in (408, 502, 504) else "hub-invalid")
    assert str(status) in done.stderr


def test_47_a_login_page_of_the_right_size(pull: Pull, hub: FakeHub, place: Path) -> None:
    """It does not even pretend to be another type of file."""
    size = len(hub.repositories[NAME].files["config.json"])
    page = b"<html>".ljust(size, b" ")
    hub.fault = lambda handler: (
        "config.json" in handler.request_seen.path
        and handler.reply(200, page, headers={"Content-Type": "text/html"})
    )
    done = pull(NAME)
    assert_failed(done, "hub-invalid")
    assert "127.0.0.1: sends a web page instead of what was asked for" in done.stderr
    assert not place.exists()


def test_55_a_token_is_no_argument(run: Run) -> None:
    """Whoever lists the processes would see it."""
    for command in ("pull", "update"):
        done = run("models", command, "--token", TOKEN, NAME)
        assert done.status == 2
        assert TOKEN not in done.stderr


FAULTS: dict[str, Callable[[Handler], bool]] = {
    "drop": lambda handler: handler.connection.close() or True,
    "garbage": lambda handler: bool(handler.wfile.write(b"\0\xff not HTTP\r\n\r\n")),
    "page": lambda handler: handler.reply(200, b"<html>"),
    "short": lambda handler: handler.reply(200, b"{", length=5000),
    "teapot": lambda handler: handler.reply(418, b"no"),
    "echo": lambda handler: handler.reply(
        400, handler.request_seen.headers.get("authorization", "").encode()
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("part", ["/tree/", WEIGHTS])
def test_55_faults_with_tracebacks(fault: str, part: str, pull: Pull, hub: FakeHub) -> None:
    """The token is sent, everything is shown, and still it is seen nowhere (see `pull`)."""
    hub.repositories[NAME].token = TOKEN
    hub.fault = lambda handler: part in handler.request_seen.path and FAULTS[fault](handler)
    done = pull(NAME, "-v", env={"BIGCODE_DEBUG": "1"})
    assert done.status == 3
    assert "error[internal]" not in done.stderr
    assert any("authorization" in request.headers for request in hub.requests)


def traces(*folders: Path) -> list[Path]:
    """Files below folders that hold the secret, or are named by it."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            held = path.is_file() and SENTINEL.encode() in path.read_bytes()
            found += [path] if held or SENTINEL in path.name else []
    return found


@pytest.mark.parametrize("ending", ["done", "failed", "killed"])
def test_58_no_text_of_the_user_is_left_behind(
    ending: str, run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    """Neither by a command that ends well, nor by one that fails or is killed."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**run.environment, "TMPDIR": str(temporary), "BIGCODE_DEBUG": "1"}
    text = f"{SENTINEL} = 1\n".encode()
    arguments = {
        "done": ["--max-tokens=3"],
        "failed": ["--stop=\xff" * 300],
        "killed": ["--max-tokens=4000"],
    }
    process = subprocess.Popen(
        [BIGCODE, "complete", "-v", "-m", checkpoint, *arguments[ending]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=run.folder,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write(text)
    process.stdin.close()
    if ending == "killed":
        assert process.stdout.read(1)
        title = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert SENTINEL.encode() not in title
        process.kill()
    with process.stdout, process.stderr:
        process.stdout.read()
        assert SENTINEL.encode() not in process.stderr.read()
    assert process.wait(60) == {"done": 0, "failed": 2, "killed": -9}[ending]
    home = Path(run.environment["HOME"])
    assert traces(home, temporary, run.folder) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_59_our_own_files_are_the_user_s(umask: int, run: Run, checkpoint: Path) -> None:
    """config.toml and its folders: nobody else may change them, and we can read them again."""
    home = Path(run.environment["HOME"])
    root = home / ".cache" / "huggingface" / "hub"
    add_to_cache(root, NAME, checkpoint)
    done = run("models", "default", NAME, preexec_fn=lambda: os.umask(umask) and None)
    assert done.status == 0, done.stderr
    modes = {
        path.relative_to(home).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in (home / ".config", *(home / ".config").rglob("*"))
    }
    assert modes == {
        ".config": 0o700,
        ".config/bigcode": 0o700,
        ".config/bigcode/config.toml": 0o600,
    }
    assert run("models", "default").stdout.splitlines()[0].endswith(b"  acme/tiny")
