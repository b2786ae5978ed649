"""`--server URL`: any engine with OpenAI's completions, with tokenizer and rules of here."""

from pathlib import Path
from typing import Any

import pytest

from program import Run
from scripted_engine import scripted_engine
from served import Server

CODE = "import os\n\n\ndef first(path):\n    with open(path) as stream:\n        return st\n"


@pytest.fixture
def code(folder: Path) -> str:
    """A file to work on."""
    (folder / "a.py").write_text(CODE, "utf-8")
    return "a.py"


@pytest.mark.parametrize(
    "call",
    [
        ("complete", "--max-tokens", "12", "--no-healing"),
        ("complete", "--max-tokens", "12", "--no-healing", "--until", "line", "--stop", "("),
        ("infill", "--at", "6:18", "--max-tokens", "12", "--no-healing"),
        ("infill", "--at", "6:18", "--order", "spm", "--no-healing", "--print", "file"),
        ("complete", "--max-tokens", "4", "--no-healing", "--format", "json"),
    ],
    ids=" ".join,
)
def test_greedy_texts_are_those_of_this_machine(
    server: Server, cold: Run, code: str, call: tuple[str, ...]
) -> None:
    before = server.logged("/v1/completions")
    remote = cold(call[0], code, *call[1:], "--server", f"{server.url}/v1")
    local = cold(call[0], code, *call[1:])
    server.await_log("/v1/completions", before)
    assert (remote.status, remote.stderr) == (0, "")
    if "json" not in call:
        assert remote.stdout == local.stdout
        return
    for one in (remote, local):
        one.json["choices"][0].pop("logprob")
    mine, theirs = (one.json["choices"][0]["text"] for one in (local, remote))
    assert mine == theirs


def test_scores_are_those_of_this_machine(server: Server, cold: Run, code: str) -> None:
    call = ("score", code, "--no-cache", "--lines", "--format", "json")
    local, remote = cold(*call), cold(*call, "--server", server.url)
    (mine,), (theirs,) = local.json["files"], remote.json["files"]
    assert theirs["nll"] == pytest.approx(mine["nll"], rel=1e-4)
    assert len(theirs["lines"]) == len(mine["lines"])


def test_classify_and_tag_need_a_model_here(server: Server, cold: Run, code: str) -> None:
    for command in ("classify", "tag"):
        done = cold(command, code, "--server", server.url, *(["--no-cache"] * (command != "tag")))
        assert (done.status, "a remote engine" in done.stderr) == (2, True)


def _text(text: str) -> tuple[int, dict[str, Any]]:
    return 200, {"choices": [{"index": 0, "text": text, "finish_reason": "length"}]}


def _only_text(body: dict[str, Any], _: int) -> tuple[int, dict[str, Any]]:
    if not isinstance(body["prompt"], str):
        return 400, {"error": {"message": "prompt: expected a string"}}
    return _text("written")


def test_a_server_that_takes_only_text(cold: Run, code: str, folder: Path) -> None:
    """Sentinels are spelled; a text that spells one itself is refused."""
    with scripted_engine(_only_text) as (url, asked):
        done = cold("infill", code, "--at", "6:18", "--server", url)
        assert (done.status, done.stdout) == (0, b"written")
        assert asked[-1]["model"] == "the-model"
        assert asked[-1]["prompt"].count("<fim") == 3
        (folder / code).write_text("mark = '<fim_middle>'\n", "utf-8")
        refused = cold("infill", code, "--at", "1:1", "--server", url)
    assert refused.status == 3
    assert "error[server-text-only]" in refused.stderr
    assert "<fim_middle>" in refused.stderr


def test_a_busy_server_is_asked_again_and_the_key_is_sent(cold: Run, code: str) -> None:
    def answer(_: dict[str, Any], number: int) -> tuple[int, dict[str, Any]]:
        return _text("ok") if number == 3 else (503, {"error": {"message": "busy"}})

    with scripted_engine(answer) as (url, asked):
        key = {"BIGCODE_SERVER_KEY": "s3cret"}
        done = cold("complete", code, "--server", url, env=key)
    assert (done.status, done.stdout) == (0, b"ok")
    assert [one["key"] for one in asked] == ["Bearer s3cret"] * 3


def test_confidence_needs_probabilities(cold: Run, code: str) -> None:
    with scripted_engine(_only_text) as (url, asked):
        done = cold("complete", code, "--server", url, "--min-confidence", "0.5")
    assert (done.status, done.stdout, asked) == (2, b"", [])
    assert "--min-confidence: a remote engine tells no probabilities" in done.stderr


@pytest.mark.parametrize(
    ("url", "status", "word"),
    [
        ("http://127.0.0.1:9", 3, "error[server]"),
        ("http://", 2, "is not a URL"),
        ("http://x:port", 2, "is not a URL"),
        ("http://user:word@host/", 2, "keys do not belong in a URL"),
    ],
)
def test_servers_that_are_none(cold: Run, code: str, url: str, status: int, word: str) -> None:
    done = cold("complete", code, "--server", url)
    assert (done.status, word in done.stderr) == (status, True), done


@pytest.mark.parametrize("command", ["complete", "infill", "score"])
def test_offline_asks_no_remote_server(command: str, cold: Run, code: str) -> None:
    place = ("--at=1:5",) if command == "infill" else ()
    done = cold(command, *place, "--offline", "--server=http://127.0.0.1:1", code)
    assert (done.status, done.stdout) == (3, b"")
    assert "error[offline]: --server http://127.0.0.1:1: the network is off" in done.stderr
