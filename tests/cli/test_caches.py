"""`bigcode cache`, and what `models remove` and `prune` free of it."""

from pathlib import Path

import pytest

from bigcode_cli.io.caches import CACHES
from cached_models import add_to_cache
from gpt_bigcode.checkpoint.tensor_index import weights_id
from gpt_bigcode.storage.disk_cache import DiskCache
from program import Run
from scripted_models import encode, write_checkpoint

NAME, OTHER, PAYLOAD = "acme/tiny", "f" * 40, b"x" * 1000
STRANGE = "0" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model", script=encode("hello"), positions=2048)


@pytest.fixture
def cache(run: Run) -> Path:
    return Path(run.environment["HOME"]) / ".cache" / "huggingface" / "hub"


@pytest.fixture
def caches(run: Run) -> dict[str, DiskCache]:
    """The caches of the user of `run`."""
    home = Path(run.environment["HOME"]) / ".cache" / "bigcode"
    return {
        name: DiskCache(path=home / name, suffix=kind.suffix, limit_bytes=1 << 30)
        for name, kind in CACHES.items()
    }


def fill(caches: dict[str, DiskCache], weights: str) -> int:
    """Keep something for a model in every cache that knows models; return its size on disk."""
    for name, kind in CACHES.items():
        if kind.by_model:
            assert caches[name].put(f"{weights}-1", PAYLOAD)
    return sum(entry.size_bytes for one in caches.values() for entry in one.entries())


def names(caches: dict[str, DiskCache]) -> set[str]:
    return {entry.name for one in caches.values() for entry in one.entries()}


def test_list_shows_what_is_kept(run: Run, caches: dict[str, DiskCache]) -> None:
    assert run("cache", "list", "--format=json").json["bytes"] == 0
    size = fill(caches, STRANGE)
    document = run("cache", "list", "--format=json").json
    assert document["bytes"] == size
    assert [entry["name"] for entry in document["caches"]] == [*CACHES]
    weights = document["caches"][1]
    assert (weights["entries"], weights["path"]) == (1, str(caches["weights"].path))
    assert 0 <= weights["newest_seconds"] <= weights["oldest_seconds"]
    lines = run("cache", "list").stdout.decode().splitlines()
    assert lines[0].split() == ["CACHE", "ENTRIES", "SIZE", "OLDEST", "LAST", "USED", "FOLDER"]
    assert lines[-1].split()[0] == "total"


def test_clear_frees_what_it_says(run: Run, caches: dict[str, DiskCache]) -> None:
    size = fill(caches, STRANGE)
    assert run("cache", "clear").status == 2
    assert len(names(caches)) == 1
    assert run("cache", "clear", env={"BIGCODE_YES": "1"}).status == 2
    done = run("cache", "clear", "--yes", "--format=json")
    assert done.json["freed_bytes"] == size
    assert names(caches) == set()
    assert run("cache", "clear").stdout.decode().splitlines()[-1] == "total     0 B freed"


def test_clear_of_one_cache_leaves_the_others(run: Run, caches: dict[str, DiskCache]) -> None:
    fill(caches, STRANGE)
    assert run("cache", "clear", "--yes", "prefixes").status == 0
    assert caches["prefixes"].entries() == []
    assert len(caches["weights"].entries()) == 1
    assert run("cache", "clear", "--yes", "models").status == 2


def test_what_is_written_is_listed(run: Run, folder: Path) -> None:
    """Through a program that writes; prompts are kept where reading them takes long enough."""
    done = run("complete", "-m", folder, "--precision=int8", "--max-tokens=2", input=b"x = 1\n")
    assert done.status == 0
    found = {entry["name"]: entry["entries"] for entry in _listed(run)}
    assert found["weights"] == 1


def _listed(run: Run) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = run("cache", "list", "--format=json").json["caches"]
    return listed


def test_remove_frees_what_is_kept_for_the_model(
    run: Run, folder: Path, cache: Path, caches: dict[str, DiskCache]
) -> None:
    snapshot = add_to_cache(cache, NAME, folder)
    before = run("models", "list", "--format=json").json["models"][-1]["bytes"]
    kept = fill(caches, weights_id(snapshot))
    fill(caches, STRANGE)
    freed = run("models", "remove", "--yes", NAME, "--format=json").json["freed_bytes"]
    assert freed >= before + kept
    assert names(caches) == {f"{STRANGE}-1"}


def test_remove_keeps_what_another_revision_needs(
    run: Run, folder: Path, cache: Path, caches: dict[str, DiskCache]
) -> None:
    snapshot = add_to_cache(cache, NAME, folder)
    (folder / "README.md").write_text("other", "utf-8")
    add_to_cache(cache, NAME, folder, commit=OTHER, reference="v2")
    fill(caches, weights_id(snapshot))
    assert run("models", "remove", "--yes", f"{NAME}@v2").status == 0
    assert len(names(caches)) == 1


def test_prune_frees_what_is_kept_for_old_revisions(
    run: Run, folder: Path, cache: Path, caches: dict[str, DiskCache]
) -> None:
    add_to_cache(cache, NAME, folder)
    write_checkpoint(folder.parent / "old", script=encode("older"), positions=2048)
    old = add_to_cache(cache, NAME, folder.parent / "old", commit=OTHER, reference=None)
    fill(caches, weights_id(old))
    assert run("models", "prune", "--yes").status == 0
    assert names(caches) == set()
