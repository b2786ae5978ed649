"""The law of the warm path: the bytes, the exit status and the JSON of a call without a server."""

import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from program import Outcome, Run
from served import Server, amounts

CODE = '''\
import os


def first(path):
    """Return the first line of a file."""
    with open(path) as stream:
        return stream.readline()


def area(width, height):
    return width *
'''
PRIVATE = 'user = "jane"\nmail = "jane.doe@acme-widgets.com"\nkey = "AKIAIOSFODNN7Q3ZLM2X"\n'
CALLS = (
    ("complete", "code.py", "--max-tokens", "12"),
    ("complete", "code.py", "--max-tokens", "12", "--echo"),
    ("complete", "code.py", "--max-tokens", "12", "--format", "json"),
    (
        *("complete", "code.py", "--temperature", "0.9", "--seed", "7", "--samples", "3"),
        *("--max-tokens", "12"),
    ),
    (
        *("complete", "code.py", "--temperature", "0.9", "--seed", "7", "--format", "jsonl"),
        *("--max-tokens", "40"),
    ),
    ("complete", "code.py", "--stop", "\n", "--no-healing", "--no-speculation"),
    ("complete", "code.py", "--until", "line", "--min-confidence", "0.99"),
    ("complete", "code.py", "--context", "other.py", "--repetition-penalty", "1.3"),
    ("complete", "empty.py", "--max-tokens", "8"),
    ("complete", "crlf.py", "--max-tokens", "16"),
    ("infill", "code.py", "--at", "6:9"),
    ("infill", "code.py", "--at", "6:9", "--order", "spm", "--print", "diff"),
    ("infill", "code.py", "--offset", "30", "--print", "file", "--no-trim"),
    ("infill", "code.py", "--marker", "width *", "--format", "json"),
    ("score", "code.py", "other.py", "--no-cache"),
    ("score", "code.py", "--lines", "--tokens", "--format", "json"),
    (
        "score",
        "crlf.py",
        "empty.py",
        "--no-cache",
        "--format",
        "jsonl",
        "--max-bits-per-byte",
        "0.1",
    ),
    ("score", "code.py", "--window", "disjoint", "--no-cache", "--format", "json"),
    ("classify", "code.py", "other.py", "secret.py", "--no-cache", "--format", "json"),
    ("classify", "code.py", "--windows", "--no-cache", "--expect", "Rust"),
    ("tag", "secret.py", "code.py"),
    ("tag", "secret.py", "--format", "sarif"),
    ("tag", "secret.py", "--redact"),
    ("tag", "secret.py", "binary.bin", "--format", "json", "--min-score", "0.2"),
)
FAILURES = (
    ("complete", "long.py", "--no-truncate"),
    ("score", "code.py", "--window", "llama", "--no-cache"),
    ("tag", "secret.py", "--labels", "NOTHING"),
    ("complete", "binary.bin"),
)


@pytest.fixture
def texts(folder: Path) -> None:
    """What the calls work on."""
    (folder / "code.py").write_text(CODE, "utf-8")
    (folder / "other.py").write_text("def perimeter(width, height):\n    return 2\n", "utf-8")
    (folder / "empty.py").write_bytes(b"")
    (folder / "crlf.py").write_bytes(CODE.replace("\n", "\r\n").encode())
    (folder / "secret.py").write_text(PRIVATE, "utf-8")
    (folder / "binary.bin").write_bytes(b"\0\1\2")
    (folder / "long.py").write_text("value = 1\n" * 700, "utf-8")


def _same(warm: Outcome, cold: Outcome) -> None:
    assert warm.status == cold.status, (warm, cold)
    assert warm.stderr == cold.stderr
    if warm.stdout != cold.stdout:
        assert _documents(warm) == _documents(cold)


def _documents(outcome: Outcome) -> list[Any]:
    """The JSON on stdout without what may differ: times, and who computed."""
    try:
        found = [outcome.json]
    except ValueError:
        found = [json.loads(line) for line in outcome.stdout.splitlines()]
    for document in found:
        document.pop("timings", None)
        document.pop("server", None)
    return found


@pytest.mark.usefixtures("texts")
@pytest.mark.parametrize("call", [*CALLS, *FAILURES], ids=" ".join)
def test_the_same_with_and_without_a_server(
    call: Sequence[str], warm: Run, cold: Run, server: Server
) -> None:
    before = server.logged("POST")
    _same(warm(*call), cold(*call))
    if call not in FAILURES:
        server.await_log("POST", before)


@pytest.mark.usefixtures("texts")
def test_the_same_in_place(warm: Run, cold: Run, folder: Path) -> None:
    results = []
    for run in (warm, cold):
        (folder / "code.py").write_text(CODE, "utf-8")
        assert not run("infill", "code.py", "--at", "11:19", "--in-place").status
        results.append((folder / "code.py").read_bytes())
    assert results[0] == results[1]


@pytest.mark.usefixtures("texts")
def test_json_says_who_answered(warm: Run, cold: Run) -> None:
    call = ("complete", "code.py", "--max-tokens", "2", "--format", "json")
    assert warm(*call).json["server"] is True
    assert "server" not in cold(*call).json


@pytest.mark.usefixtures("texts")
def test_verbose_says_which_way_was_taken(warm: Run, cold: Run, folder: Path) -> None:
    call = ("complete", "code.py", "--max-tokens", "2", "-v")
    assert "answered by the server" in warm(*call).stderr
    assert "answered by the server" not in cold(*call).stderr
    nobody = Run(folder, {**warm.environment, "XDG_RUNTIME_DIR": str(folder / "none")})
    assert "no server is running" in nobody(*call).stderr


@pytest.mark.usefixtures("texts")
@pytest.mark.parametrize(
    "call",
    [
        ("complete", "code.py", "--max-tokens", "2"),
        ("infill", "code.py", "--at", "6:9", "--max-tokens", "2"),
        ("score", "code.py", "--no-cache"),
        ("classify", "code.py", "--no-cache"),
        ("tag", "code.py"),
    ],
    ids=lambda call: call[0],
)
def test_a_server_can_be_named(cold: Run, server: Server, folder: Path, call: list[str]) -> None:
    before = server.logged("POST")
    named = cold(*call, "--server", f"unix:{server.socket}")
    server.await_log("POST", before)
    _same(named, cold(*call, "--server", "off"))
    missing = cold(*call, "--server", f"unix:{folder}/none")
    assert (missing.status, "error[server]" in missing.stderr) == (3, True)
    wrong = cold(*call, "--server", "sometimes")
    assert (wrong.status, "--server: 'sometimes' is not" in wrong.stderr) == (2, True)


@pytest.mark.parametrize("count", amounts(16, 200))
def test_many_prompts_beside_seven_others(server: Server, count: int) -> None:
    """Whoever else is served, and whatever was computed before: the text is that of one process."""
    from bigcode_cli.models.resolve import find_model
    from gpt_bigcode.completion.options import CompletionOptions
    from gpt_bigcode.completion.text_model import TextModel

    model = TextModel.load(find_model(None).directory)
    options = CompletionOptions(max_tokens=6)
    lines = (Path(__file__).read_text("utf-8") * 2).splitlines(keepends=True)
    prompts = ["".join(lines[number : number + 3 + 5 * (number % 8)]) for number in range(count)]
    wanted = [model.complete(prompt, options).choices for prompt in prompts]

    def ask(prompt: str) -> Any:
        body = {"prompt": prompt, "max_tokens": 6}
        status, answer = server.ask("POST", "/bigcode/v1/complete", body)
        assert status == 200
        return answer["choices"]

    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(ask, prompts))
    assert given == [[vars_of(choice) for choice in choices] for choices in wanted]


def vars_of(choice: Any) -> dict[str, Any]:
    """A choice of the library as JSON has it."""
    return {name: getattr(choice, name) for name in choice.__dataclass_fields__}


@pytest.mark.parametrize(
    ("call", "lines"),
    [  # four windows of tag, one of score
        (("tag", "--staged", "--format", "json"), 150),
        (("score", "--staged", "--no-cache", "--format", "json", "--max-rise", "0.1"), 50),
    ],
    ids=["tag", "score"],
)
def test_the_same_for_added_lines(
    warm: Run, cold: Run, folder: Path, call: tuple[str, ...], lines: int
) -> None:
    """Of a staged file only the windows that hold added lines are read, here and there."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example"]
    environment = {**warm.environment, "GIT_CONFIG_GLOBAL": "/dev/null"}

    def run_git(*words: str) -> None:
        subprocess.run([*git, *words], cwd=folder, env=environment, check=True, capture_output=True)

    run_git("init", "-q")
    text = "".join(f"value_{number} = compute({number})\n" for number in range(lines))
    (folder / "a.py").write_text(text, "utf-8")
    run_git("add", ".")
    run_git("commit", "-qm", "first")
    (folder / "a.py").write_text(text + PRIVATE, "utf-8")
    run_git("add", ".")
    _same(warm(*call), cold(*call))
