"""models update: what moved at the hub comes, what did not is not even read."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cached_models import COMMIT, add_to_cache
from fake_hub import TOKEN, FakeHub, Repository
from program import Outcome, Run

NAME = "acme/tiny"
NEXT = "b" * 40
WEIGHTS = "model.safetensors"
Pull = Callable[..., Outcome]


@pytest.fixture
def update(run: Run, environment: dict[str, str]) -> Callable[..., Outcome]:
    def call(*arguments: str, env: dict[str, str] | None = None) -> Outcome:
        done = run("models", "update", *arguments, env={**environment, **(env or {})})
        assert TOKEN not in done.stderr
        assert TOKEN.encode() not in done.stdout
        return done

    return call


def move(hub: FakeHub, name: str = NAME) -> None:
    """A new commit: another configuration, a licence, no card."""
    repository = hub.repositories[name]
    config = {**json.loads(repository.files["config.json"]), "pad_token_id": 3}
    files = {**repository.files, "config.json": json.dumps(config).encode(), "LICENSE": b"free"}
    del files["README.md"]
    repository.files, repository.commit = files, NEXT


def test_what_moved_is_fetched_and_told(
    pull: Pull, update: Pull, hub: FakeHub, place: Path, run: Run
) -> None:
    assert pull(NAME).status == 0
    card = len(hub.repositories[NAME].files["README.md"])
    before = len(hub.repositories[NAME].files["config.json"])
    move(hub)
    done = update("--format=json")
    assert done.status == 0
    after = len(hub.repositories[NAME].files["config.json"])
    (entry,) = done.json["models"]
    assert entry.pop("files") == [
        {"name": "LICENSE", "change": "added", "bytes": 4, "bytes_before": None},
        {"name": "README.md", "change": "removed", "bytes": None, "bytes_before": card},
        {"name": "config.json", "change": "changed", "bytes": after, "bytes_before": before},
    ]
    assert entry == {
        "name": NAME,
        "reference": "main",
        "status": "updated",
        "before": COMMIT,
        "revision": NEXT,
        "path": str(place / "snapshots" / NEXT),
        "fetched_bytes": 4 + after,
    }
    assert len(hub.paths(WEIGHTS)) == 1
    assert (place / "refs" / "main").read_text("utf-8") == NEXT
    assert run("complete", "-m", NAME, input=b"").stdout == b"hello"
    assert run("complete", "-m", f"{NAME}@{COMMIT}", input=b"").stdout == b"hello"


def test_verbose_names_every_file_and_quiet_none(pull: Pull, update: Pull, hub: FakeHub) -> None:
    assert pull(NAME).status == 0
    assert update("--quiet").stderr == ""
    move(hub)
    told = update("--verbose")
    assert told.status == 0
    assert "config.json: fetched, " in told.stderr
    assert f"{WEIGHTS}: fetched" not in told.stderr


def test_for_people(pull: Pull, update: Pull, hub: FakeHub) -> None:
    assert pull(NAME).status == 0
    assert update().stdout == b"acme/tiny@main  unchanged, 01234567\n"
    move(hub)
    lines = update(NAME).stdout.decode().splitlines()
    assert lines[0].split()[:4] == ["acme/tiny@main", "01234567", "->", "bbbbbbbb,"]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["added", "LICENSE"],
        ["removed", "README.md"],
        ["changed", "config.json"],
    ]


def test_what_stands_still_is_one_request(pull: Pull, update: Pull, hub: FakeHub) -> None:
    assert pull(NAME).status == 0
    before = len(hub.requests)
    done = update(NAME, "--format=json")
    assert [entry["status"] for entry in done.json["models"]] == ["unchanged"]
    assert len(hub.requests) == before + 1


def test_one_failure_does_not_stop_the_others(
    pull: Pull, update: Pull, hub: FakeHub, run: Run, checkpoint: Path
) -> None:
    """A model that is gone from the hub, one that was pinned, and one of another architecture."""
    assert pull(NAME).status == 0
    root = Path(run.environment["HOME"]) / ".cache" / "huggingface" / "hub"
    add_to_cache(root, "acme/gone", checkpoint)
    add_to_cache(root, "acme/pinned", checkpoint, reference=None)
    other = add_to_cache(root, "acme/bert", checkpoint)
    (other / "config.json").unlink()
    (other / "config.json").write_text('{"model_type": "bert"}', "utf-8")
    move(hub)
    done = update("--format=json")
    assert done.status == 3
    found = {entry["name"]: entry["status"] for entry in done.json["models"]}
    assert found == {"acme/gone": "error", NAME: "updated"}
    assert "error[not-found]: acme/gone: " in done.stderr


def test_a_new_commit_that_is_no_model_changes_nothing(
    pull: Pull, update: Pull, hub: FakeHub, place: Path, run: Run
) -> None:
    assert pull(NAME).status == 0
    repository = hub.repositories[NAME]
    hub.repositories[NAME] = Repository(
        {**repository.files, "config.json": b'{"model_type": "bert"}'}, commit=NEXT
    )
    done = update(NAME)
    assert done.status == 3
    assert "error[model-unsupported]: acme/tiny: " in done.stderr
    assert (place / "refs" / "main").read_text("utf-8") == COMMIT
    assert run("complete", "-m", NAME, input=b"").stdout == b"hello"


@pytest.mark.parametrize(
    ("argument", "endpoint", "status", "words"),
    [
        ("--offline", None, 3, "error[offline]"),
        (NAME, "http://127.0.0.1:1", 3, "error[offline]: 127.0.0.1"),
        ("acme/other", None, 3, "error[model-missing]: acme/other: "),
        (f"{NAME}@v9", None, 3, "error[model-missing]"),
        (f"{NAME}@{COMMIT}", None, 2, "a commit never changes"),
        ("a/../b", None, 2, "error[usage]: NAME: "),
    ],
)
def test_what_cannot_be_updated(
    argument: str, endpoint: str | None, status: int, words: str, pull: Pull, update: Pull
) -> None:
    assert pull(NAME).status == 0
    done = update(argument, env={} if endpoint is None else {"HF_ENDPOINT": endpoint})
    assert done.status == status
    assert words in done.stderr


def test_27_no_update_without_network(pull: Pull, update: Pull, hub: FakeHub) -> None:
    assert pull(NAME).status == 0
    before = len(hub.requests)
    done = update(env={"HF_HUB_OFFLINE": "1"})
    assert (done.status, done.stdout) == (3, b"")
    assert "error[offline]: " in done.stderr
    assert len(hub.requests) == before


def test_nothing_here(update: Pull, hub: FakeHub) -> None:
    done = update()
    assert (done.status, done.stdout) == (0, b"")
    assert "no downloaded model tracks a branch" in done.stderr
    assert hub.requests == []
