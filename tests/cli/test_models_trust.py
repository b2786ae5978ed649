"""models pull against a hub, or a repository, that lies: cases 43 to 49 and 53 to 57."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cached_models import COMMIT
from fake_hub import TOKEN, FakeHub, Handler
from program import Outcome, Run, assert_failed

NAME = "acme/tiny"
WEIGHTS = "model.safetensors"
Pull = Callable[..., Outcome]


@pytest.fixture
def other() -> Iterator[FakeHub]:
    """A second origin."""
    with FakeHub() as hub:
        yield hub


def authorized(hub: FakeHub) -> list[str]:
    return [r.path for r in hub.requests if "authorization" in r.headers]


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/../../b", "..\\x", "C:\\x", "C:x", "a//b", "./a", "", "a/", "x\0"]
)
def test_43_names_that_lead_out_of_the_folder(
    name: str, pull: Pull, hub: FakeHub, place: Path
) -> None:
    hub.repositories[NAME].files[name] = b"owned"
    assert_failed(pull(NAME), "repo-unsafe")
    assert hub.paths("/resolve/") == []
    assert not place.exists()


def test_43_strange_names_are_left_alone(pull: Pull, hub: FakeHub, place: Path) -> None:
    for name in ("\x1b]0;x\x07.py", "..hidden", "sub/model.safetensors", "a b.json", "-rf"):
        hub.repositories[NAME].files[name] = b"never to be fetched"
    done = pull(NAME)
    assert done.status == 0
    assert len(list((place / "snapshots" / COMMIT).iterdir())) == 4


@pytest.mark.parametrize(
    "weight_map",
    [{"a": "../../etc/passwd"}, {"a": "/etc/passwd"}, {"a": "x.bin"}, {"a": 7}, {}, [], None],
)
def test_43_an_index_that_names_other_files(weight_map: Any, pull: Pull, hub: FakeHub) -> None:
    files = hub.repositories[NAME].files
    del files[WEIGHTS]
    files[f"{WEIGHTS}.index.json"] = json.dumps({"weight_map": weight_map}).encode()
    done = pull(NAME)
    assert done.status == 3
    assert "error[repo-unsafe]" in done.stderr or "error[model-corrupt]" in done.stderr
    assert hub.paths("passwd") == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("oid", "../../../PWNED"),
        ("oid", "A" * 40),
        ("oid", None),
        ("size", -1),
        ("size", 1.5),
        ("size", "7"),
        ("size", True),
        ("path", 7),
        ("path", None),
    ],
)
def test_44_listings_that_no_hub_sends(
    field: str, value: Any, pull: Pull, hub: FakeHub, place: Path
) -> None:
    def changed(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**entry, field: value} if "lfs" not in entry else entry for entry in entries]

    hub.repositories[NAME].entries = changed
    assert_failed(pull(NAME), "hub-invalid")
    assert not place.exists()


@pytest.mark.parametrize("commit", ["../../../x", "main", "0" * 39, "F" * 40, "", 7, None])
def test_44_commits_that_are_none(commit: Any, pull: Pull, hub: FakeHub, place: Path) -> None:
    body = json.dumps({"sha": commit}).encode()
    hub.fault = lambda handler: (
        "/revision/" in handler.request_seen.path and handler.reply(200, body)
    )
    assert_failed(pull(NAME), "hub-invalid")
    assert not place.exists()


def test_44_a_list_that_goes_on_elsewhere(pull: Pull, hub: FakeHub, other: FakeHub) -> None:
    def fault(handler: Handler) -> bool:
        if "/tree/" not in handler.request_seen.path:
            return False
        return handler.reply(200, b"[]", headers={"Link": f'<{other.url}/x>; rel="next"'})

    hub.fault = fault
    assert_failed(pull(NAME), "hub-invalid")
    assert other.requests == []


def test_44_a_list_without_an_end(pull: Pull, hub: FakeHub) -> None:
    def fault(handler: Handler) -> bool:
        if "/tree/" not in handler.request_seen.path:
            return False
        return handler.reply(200, b"[]", headers={"Link": f'<{hub.url}{handler.path}>; rel="next"'})

    hub.fault = fault
    quickly = "import bigcode_cli.hub.client as s; s._MAX_PAGES = 20"
    assert_failed(pull(NAME, statements=quickly), "hub-invalid")
    assert len(hub.paths("/tree/")) == 20


@pytest.mark.parametrize(
    "name",
    [
        *("acme/../x", "acme/a--b", "-x", "x" * 200, "acme/caf\u00e9", "acme/x\n", "a/b/c", "."),
        *("acme/", "/x", "./x", "acme/x@../../y", "acme/x@a//b", "acme/x@a.lock", "acme/x@", ""),
    ],
)
def test_45_names_that_no_repository_has(name: str, pull: Pull, hub: FakeHub) -> None:
    done = pull("--", name)
    assert (done.status, done.stdout) == (2, b"")
    assert done.stderr.startswith("bigcode: error[usage]: REPO: ")
    assert done.stderr.count("\n") <= 2
    assert hub.requests == []


@pytest.mark.parametrize(
    "arguments", [("--revision=../x", NAME), ("--revision=b", f"{NAME}@a"), ("--revision=", NAME)]
)
def test_45_revisions_that_are_none(arguments: tuple[str, ...], pull: Pull) -> None:
    assert pull(*arguments).status == 2


REFUSALS = [
    ("/revision/", 401, "", "auth", "does not accept the token"),
    ("/revision/", 401, "RepoNotFound", "auth", "HF_TOKEN"),
    ("/revision/", 401, "GatedRepo", "gated", "hint: accept its licence at http://127.0.0.1:"),
    ("/revision/", 404, "RepoNotFound", "not-found", "no such repository"),
    ("/revision/", 404, "RevisionNotFound", "not-found", "no such revision"),
    ("/revision/", 404, "", "not-found", "no such repository"),
    ("/revision/", 429, "", "rate-limited", "hint: try again in 86400 s"),
    ("/tree/", 500, "", "hub-down", "answers with error 500"),
    ("/tree/", 418, "", "hub-invalid", "status 418"),
    (WEIGHTS, 403, "GatedRepo", "gated", "/acme/tiny, then set HF_TOKEN"),
    (WEIGHTS, 403, "", "auth", "HF_TOKEN"),
    (WEIGHTS, 404, "EntryNotFound", "not-found", "no such file"),
    (WEIGHTS, 503, "", "hub-down", "answers with error 503"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=[f"{r[0]}{r[1]}{r[2]}" for r in REFUSALS])
def test_46_55_refusals(refusal: tuple[str, int, str, str, str], pull: Pull, hub: FakeHub) -> None:
    """With tracebacks shown too, the token never is."""
    part, status, code, slug, words = refusal
    headers = {"X-Error-Code": code, "Retry-After": "86400", "X-Error-Message": "\x1b[31mno"}
    hub.fault = lambda handler: (
        part in handler.request_seen.path and handler.reply(status, b"<b>no</b>", headers=headers)
    )
    done = pull(NAME, env={"BIGCODE_DEBUG": "1"})
    assert_failed(done, slug)
    assert words in done.stderr


def test_46_without_a_token(pull: Pull, hub: FakeHub) -> None:
    hub.repositories[NAME].token = "hf_other"  # noqa: S105  # a made-up one
    for code, slug in (("GatedRepo", "gated"), ("RepoNotFound", "not-found"), ("", "auth")):
        hub.repositories[NAME].error_code = code
        assert_failed(pull(NAME, env={"HF_TOKEN": ""}), slug)
    assert authorized(hub) == []


def test_46_a_short_wait_is_waited(pull: Pull, hub: FakeHub) -> None:
    asked = []

    def once(handler: Handler) -> bool:
        asked.append(handler.path)
        return len(asked) == 1 and handler.reply(429, b"", headers={"Retry-After": "1"})

    hub.fault = once
    done = pull(NAME)
    assert done.status == 0
    assert "127.0.0.1 asks to wait 1 s" in done.stderr


@pytest.mark.parametrize("times", [1, 2])
def test_46_a_hub_that_is_down_for_a_moment(times: int, pull: Pull, hub: FakeHub) -> None:
    asked = []

    def few(handler: Handler) -> bool:
        asked.append(handler.path)
        return len(asked) <= times and handler.reply(503)

    hub.fault = few
    assert pull(NAME).status == 0


@pytest.mark.parametrize("part", ["", "/tree/", "config.json", WEIGHTS])
def test_47_a_login_page(part: str, pull: Pull, hub: FakeHub) -> None:
    page = b"<!doctype html><title>Welcome to the hotel</title>"
    headers = {"Content-Type": "text/html; charset=utf-8"}
    hub.fault = lambda handler: (
        part in handler.request_seen.path and handler.reply(200, page, headers=headers)
    )
    done = pull(NAME)
    assert done.status == 3
    assert "error[hub-invalid]" in done.stderr or part == "config.json"
    assert "hotel" not in done.stderr


def test_47_a_redirect_to_a_login_page(pull: Pull, hub: FakeHub, other: FakeHub) -> None:
    hub.fault = lambda handler: handler.reply(302, headers={"Location": f"{other.url}/login"})
    assert_failed(pull(NAME), "hub-invalid")
    assert other.requests == []


@pytest.mark.parametrize("place", ["", "/", "http://[::1", "ftp://127.0.0.1/x", "file:///etc"])
def test_47_redirects_that_lead_nowhere(place: str, pull: Pull, hub: FakeHub) -> None:
    hub.fault = lambda handler: (
        WEIGHTS in handler.request_seen.path and handler.reply(302, headers={"Location": place})
    )
    done = pull(NAME)
    assert done.status == 3
    assert "error[internal]" not in done.stderr


def test_49_a_huge_repository(pull: Pull, hub: FakeHub) -> None:
    repository = hub.repositories[NAME]
    repository.files |= {f"data/{number}.txt": b"" for number in range(10_000)}
    assert pull(NAME).status == 0
    assert len(hub.paths("/tree/")) == 11
    assert len(hub.paths("/resolve/")) == 4


def test_49_more_than_the_disk_holds(pull: Pull, hub: FakeHub, place: Path) -> None:
    def huge(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for entry in entries:
            if entry["path"] == WEIGHTS:
                entry["lfs"]["size"] = 1 << 50
        return entries

    hub.repositories[NAME].entries = huge
    done = pull(NAME)
    assert_failed(done, "no-space")
    assert "needs 1,125.90 TB" in done.stderr
    assert hub.paths(WEIGHTS) == []
    assert not place.exists()


def test_53_the_token_stays_with_the_hub(pull: Pull, hub: FakeHub, other: FakeHub) -> None:
    hub.repositories[NAME].token = TOKEN
    hub.large_files_at = other
    assert pull(NAME).status == 0
    assert len(other.requests) == 1
    assert authorized(other) == []
    assert len(authorized(hub)) == 6


def test_54_a_public_repository_needs_no_token(pull: Pull, hub: FakeHub) -> None:
    assert pull(NAME).status == 0
    assert authorized(hub) == []


def test_54_no_token_without_encryption(pull: Pull, hub: FakeHub) -> None:
    """The fake hub plays the proxy through which another host is reached."""
    hub.repositories[NAME].token = TOKEN
    names = {"HF_ENDPOINT": "http://hub.example", "HTTP_PROXY": hub.url, "http_proxy": hub.url}
    done = pull(NAME, env=names)
    assert done.status == 2
    assert "hub.example: the token is not sent over an unencrypted connection" in done.stderr
    assert len(hub.requests) == 1
    assert authorized(hub) == []


def test_54_a_token_from_the_file_that_other_tools_write(
    pull: Pull, hub: FakeHub, run: Run
) -> None:
    hub.repositories[NAME].token = TOKEN
    file = Path(run.environment["HOME"]) / ".cache" / "huggingface" / "token"
    file.parent.mkdir(parents=True)
    file.write_text(TOKEN + "\n", "utf-8")
    assert pull(NAME, env={"HF_TOKEN": ""}).status == 0


@pytest.mark.parametrize("token", ["hf_\u00e9", "two words", "a\tb", "\x7f", "x" * 501])
def test_56_tokens_that_cannot_be_sent(token: str, pull: Pull, hub: FakeHub) -> None:
    done = pull(NAME, env={"HF_TOKEN": token})
    assert done.status == 2
    assert done.stderr == "bigcode: error[auth]: HF_TOKEN has characters that cannot be sent\n"
    assert hub.requests == []


def repeated(name: str, files: dict[str, bytes]) -> dict[str, bytes]:
    """The files of a repository that says the token where messages quote from."""
    config = json.loads(files["config.json"])
    index = {"weight_map": {"a": f"{TOKEN}.safetensors"}}
    changed: dict[str, dict[str, bytes]] = {
        "model_type": {"config.json": json.dumps({**config, "model_type": TOKEN}).encode()},
        "escaped": {
            "config.json": json.dumps({**config, "model_type": TOKEN})
            .replace("hf_", "\\u0068f_")
            .encode()
        },
        "field": {"config.json": json.dumps({**config, TOKEN: 1}).encode()},
        "broken": {"config.json": TOKEN.encode()},
        "name": {f"../{TOKEN}": b"x"},
        "shard": {f"{WEIGHTS}.index.json": json.dumps(index).encode()},
        "pickle": {f"{TOKEN}.pt": b"x"},
    }
    rest = dict(files)
    if name in ("shard", "pickle"):
        del rest[WEIGHTS]
    return {**rest, **changed[name]}


@pytest.mark.parametrize(
    "name", ["model_type", "escaped", "field", "broken", "name", "shard", "pickle"]
)
def test_55_a_repository_that_repeats_the_token(name: str, pull: Pull, hub: FakeHub) -> None:
    """`pull` looks for it in all output."""
    repository = hub.repositories[NAME]
    repository.token = TOKEN
    repository.files = repeated(name, repository.files)
    assert pull(NAME, env={"BIGCODE_DEBUG": "1"}).status == 3


@pytest.mark.parametrize("field", ["path", "oid", "size", "type"])
def test_55_a_list_that_repeats_the_token(field: str, pull: Pull, hub: FakeHub) -> None:
    hub.repositories[NAME].token = TOKEN
    hub.repositories[NAME].entries = lambda entries: [{**entry, field: TOKEN} for entry in entries]
    assert pull(NAME).status == 3


@pytest.mark.parametrize("body", [{"sha": TOKEN}, {"id": TOKEN, "sha": TOKEN}, TOKEN, [TOKEN]])
def test_55_a_commit_that_repeats_the_token(body: Any, pull: Pull, hub: FakeHub) -> None:
    hub.repositories[NAME].token = TOKEN
    text = json.dumps(body).encode()

    def echo(handler: Handler) -> bool:
        asked = "authorization" in handler.request_seen.headers
        return asked and "/revision/" in handler.path and handler.reply(200, text)

    hub.fault = echo
    assert_failed(pull(NAME), "hub-invalid")


def test_57_nothing_is_told_about_this_machine(pull: Pull, hub: FakeHub) -> None:
    assert pull(NAME).status == 0
    for request in hub.requests:
        assert request.headers["user-agent"].partition("/")[0] == "bigcode"
        assert len(request.headers["user-agent"].split()) == 1
        assert set(request.headers) <= {
            *("host", "accept", "accept-encoding", "connection", "user-agent"),
        }
    assert hub.paths("agent-harnesses") == []
