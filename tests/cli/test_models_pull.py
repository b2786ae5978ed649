"""models pull against a hub on the loopback interface: what works."""

import json
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cached_models import COMMIT, blob_name
from fake_hub import FakeHub, Handler
from program import BIGCODE, TIMEOUT_SECONDS, Outcome, Run, on_terminal

NAME = "acme/tiny"
Pull = Callable[..., Outcome]


def test_a_pulled_model_runs(pull: Pull, run: Run, hub: FakeHub, place: Path) -> None:
    done = pull(NAME)
    assert (done.status, done.stdout) == (0, bytes(place / "snapshots" / COMMIT) + b"\n")
    text = run("complete", "-m", NAME, input=b"", env={"HF_ENDPOINT": hub.url})
    assert (text.status, text.stdout) == (0, b"hello")


def test_only_what_is_needed_is_fetched(
    pull: Pull, hub: FakeHub, place: Path, files: dict[str, bytes]
) -> None:
    assert pull(NAME).status == 0
    wanted = {"config.json", "tokenizer.json", "model.safetensors", "README.md"}
    snapshot = place / "snapshots" / COMMIT
    assert {path.name for path in snapshot.iterdir()} == wanted
    assert {path.rpartition("/")[2] for path in hub.paths("/resolve/")} == wanted
    for name in wanted:
        link = snapshot / name
        assert link.readlink() == Path(f"../../blobs/{blob_name(name, files[name])}")
        assert link.read_bytes() == files[name]
    assert (place / "refs" / "main").read_text("utf-8") == COMMIT
    assert not list(place.rglob("*.incomplete"))


def test_the_layout_is_that_of_the_client_library(
    pull: Pull, run: Run, environment: dict[str, str], hub: FakeHub
) -> None:
    """What we write the library reads, without asking the hub for a single file again."""
    assert pull(NAME).status == 0
    before = len(hub.paths("/resolve/"))
    script = (
        "from huggingface_hub import hf_hub_download, scan_cache_dir\n"
        f"print(hf_hub_download('{NAME}', 'model.safetensors', revision='{COMMIT}'))\n"
        "report = scan_cache_dir()\n"
        "assert not report.warnings, report.warnings\n"
        f"assert [repo.repo_id for repo in report.repos] == ['{NAME}']\n"
    )
    done = run("-c", script, program=(BIGCODE.replace("bigcode", "python"),), env=environment)
    assert (done.status, done.stderr) == (0, "")
    assert len(hub.paths("/resolve/")) == before


def test_pulling_again_fetches_no_weights(pull: Pull, hub: FakeHub) -> None:
    first = pull(NAME, "--format=json").json
    assert first["fetched_bytes"] == first["bytes"] > 600_000
    assert len(hub.paths("/resolve/")) == len(set(hub.paths("/resolve/")))
    second = pull(NAME, "--format=json").json
    assert (second["fetched_bytes"], second["bytes"]) == (0, first["bytes"])
    assert len(hub.paths("model.safetensors")) == 1


def test_contents_that_another_tool_brought_are_used(
    pull: Pull, hub: FakeHub, place: Path, files: dict[str, bytes]
) -> None:
    weights = files["model.safetensors"]
    (place / "blobs").mkdir(parents=True)
    (place / "blobs" / blob_name("model.safetensors", weights)).write_bytes(weights)
    assert pull(NAME).status == 0
    assert hub.paths("model.safetensors") == []


@pytest.mark.parametrize(
    "arguments",
    [(f"{NAME}@v1",), (NAME, "--revision", "v1"), (f"{NAME}@v1", "--revision", "v1")],
    ids=["at", "option", "both"],
)
def test_a_revision_is_pinned(
    arguments: tuple[str, ...], pull: Pull, hub: FakeHub, place: Path
) -> None:
    hub.repositories[NAME].revisions = ("v1",)
    assert pull(*arguments).status == 0
    assert (place / "refs" / "v1").read_text("utf-8") == COMMIT
    assert not (place / "refs" / "main").exists()


def test_a_commit_needs_no_reference(pull: Pull, place: Path) -> None:
    assert pull(f"{NAME}@{COMMIT}").status == 0
    assert not (place / "refs").exists()


def test_shards_come_in_order_with_their_index(
    pull: Pull, hub: FakeHub, place: Path, run: Run
) -> None:
    files = hub.repositories[NAME].files
    whole = files.pop("model.safetensors")
    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    from safetensors.numpy import load, save

    tensors = load(whole)
    keys = sorted(tensors)
    parts = (keys[: len(keys) // 2], keys[len(keys) // 2 :])
    for name, part in zip(names, parts, strict=True):
        files[name] = save({key: tensors[key] for key in part})
    table = {key: name for name, part in zip(names, parts, strict=True) for key in part}
    files["model.safetensors.index.json"] = json.dumps({"weight_map": table}).encode()
    files["model-00009-of-00009.safetensors"] = b"not in the index"
    assert pull(NAME).status == 0
    assert [path.rpartition("/")[2] for path in hub.paths("-of-")] == list(names)
    done = run("complete", "-m", NAME, input=b"")
    assert (done.status, done.stdout) == (0, b"hello")


def test_the_short_name_of_a_published_model(pull: Pull, hub: FakeHub) -> None:
    hub.repositories["bigcode/tiny_starcoder_py"] = hub.repositories.pop(NAME)
    done = pull("tiny_starcoder_py", "--format=json")
    assert (done.status, done.json["name"]) == (0, "bigcode/tiny_starcoder_py")


def test_a_terminal_is_told_the_size_first_and_nothing_else_is(
    run: Run, environment: dict[str, str]
) -> None:
    call: Any = partial(on_terminal, run, "models", "pull", NAME, stream="stderr", **environment)
    assert run("models", "pull", NAME, env=environment).stderr == ""
    assert call("-q") == (0, "")
    status, said = call()
    assert status == 0
    assert said.startswith("bigcode: note: acme/tiny at 01234567: 0 B of ")


def test_verbose_names_every_file(pull: Pull, files: dict[str, bytes]) -> None:
    digest = blob_name("model.safetensors", files["model.safetensors"])
    lines = pull(NAME, "-v").stderr.splitlines()
    assert len(lines) == 4
    assert any("model.safetensors: fetched, " in line and digest in line for line in lines)


def test_36_ten_at_once_fetch_once(
    hub: FakeHub, environment: dict[str, str], run: Run, place: Path
) -> None:
    """The weights come when all but one have said that they wait."""
    release = threading.Event()

    def slow(handler: Handler) -> bool:
        if "model.safetensors" in handler.request_seen.path:
            release.wait(TIMEOUT_SECONDS)
        return False

    hub.fault = slow
    soon = "import bigcode_cli.hub.cache_writer as w; w._NOTE_AFTER_SECONDS = 0.1"
    patient = {**environment, "HF_HUB_DOWNLOAD_TIMEOUT": "300"}
    with (run.folder / "log").open("wb") as log:
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": log}
        call = ("models", "pull", NAME)
        processes = [run.start(*call, env=patient, statements=soon, **pipes) for _ in range(10)]
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while (run.folder / "log").read_bytes().count(b"waiting for another download") < 9:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    release.set()
    ends = [process.communicate(timeout=TIMEOUT_SECONDS) for process in processes]
    assert [process.returncode for process in processes] == [0] * 10
    assert len(hub.paths("model.safetensors")) == 1
    assert {stdout for stdout, _ in ends} == {bytes(place / "snapshots" / COMMIT) + b"\n"}
