"""models convert and pull --convert: pickles become safetensors, and can do no harm meanwhile."""

import io
import json
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, load_file

from cached_models import COMMIT, add_to_cache
from fake_hub import FakeHub, Repository, folder_files
from pickled_models import PICKLE, WEIGHTS, as_pickle, write_hostile
from program import BIGCODE, TIMEOUT_SECONDS, Outcome, Run
from scripted_models import encode, write_checkpoint

NAME = "acme/tiny"
Pull = Callable[..., Outcome]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that writes "hello", in safetensors."""
    folder = tmp_path_factory.mktemp("models") / "plain"
    return write_checkpoint(folder, script=encode("hello"), positions=2048)


@pytest.fixture
def pickled(plain: Path, tmp_path: Path) -> Path:
    """The same model as a pickle."""
    as_pickle(plain, tmp_path / "pickled")
    return tmp_path / "pickled"


@pytest.fixture
def cache(run: Run) -> Path:
    return Path(run.environment["HOME"]) / ".cache" / "huggingface" / "hub"


@pytest.fixture
def converted(run: Run) -> Path:
    """Where conversions of the cache lie."""
    return Path(run.environment["HOME"]) / ".cache" / "bigcode" / "converted"


def models_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.name[0] != ".")


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(".*.partial"))


def test_numbers_and_types_stay(
    plain: Path, run: Run, tmp_path: Path, umask: Callable[[int], int]
) -> None:
    umask(0o022)
    tensors = as_pickle(plain, tmp_path / "old", shards=3)
    target = tmp_path / "new"
    done = run("models", "convert", tmp_path / "old", target)
    assert (done.status, done.stdout) == (0, bytes(target) + b"\n")
    found = load_file(target / WEIGHTS)
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)
    assert {value.dtype for value in found.values()} == {
        *(torch.float32, torch.float16, torch.bfloat16),
    }
    assert run("models", "verify", target).status == 0
    done = run("complete", "-m", target, "--precision=float32", input=b"")
    assert (done.status, done.stdout) == (0, b"hello")
    assert target.stat().st_mode & 0o777 == 0o755
    assert leftovers(tmp_path) == []


def test_nothing_is_replaced(pickled: Path, run: Run, tmp_path: Path) -> None:
    target = tmp_path / "new"
    target.mkdir()
    (target / "mine").touch()
    for place in (target, target / "mine"):
        done = run("models", "convert", pickled, place)
        assert (done.status, done.stdout) == (3, b"")
        assert f"error[exists]: {place}: already exists" in done.stderr
    assert [path.name for path in target.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("make", "status", "words"),
    [
        (lambda folder: (folder / PICKLE).rename(folder / "x.pt"), 3, "error[model-missing]"),
        (lambda folder: (folder / PICKLE).rename(folder / WEIGHTS), 3, "nothing-to-convert"),
        (lambda folder: (folder / "config.json").unlink(), 3, "error[model-"),
        (lambda folder: (folder / PICKLE).write_bytes(b"<html>"), 3, "is not an archive"),
    ],
)
def test_what_cannot_be_converted(
    make: Callable[[Path], object],
    status: int,
    words: str,
    pickled: Path,
    run: Run,
    tmp_path: Path,
) -> None:
    make(pickled)
    done = run("models", "convert", pickled, tmp_path / "new")
    assert done.status == status
    assert words in done.stderr
    assert not (tmp_path / "new").exists()
    assert leftovers(tmp_path) == []


def test_38_a_disk_that_fills_up(pickled: Path, run: Run, tmp_path: Path) -> None:
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (300_000, 300_000))"
    done = run("models", "convert", pickled, tmp_path / "new", statements=limit)
    assert (done.status, done.stdout) == (3, b"")
    assert "error[conversion]: " in done.stderr
    assert "File too large" in done.stderr
    assert not (tmp_path / "new").exists()
    assert leftovers(tmp_path) == []


def test_a_folder_needs_a_target(pickled: Path, run: Run) -> None:
    done = run("models", "convert", pickled)
    assert done.status == 2
    assert "error[usage]: PATH: " in done.stderr


@pytest.mark.parametrize("form", ["archive", "legacy", "raw", "packed"])
def test_13_14_15_a_hostile_pickle_does_nothing(
    form: str, pickled: Path, run: Run, tmp_path: Path
) -> None:
    """It is refused by name, and nothing recommends to load it in another way."""
    canary = tmp_path / "canary"
    write_hostile(pickled / PICKLE, form, canary)
    done = run("models", "convert", pickled, tmp_path / "new")
    assert (done.status, done.stdout) == (3, b"")
    assert "error[model-unsafe]: " in done.stderr
    assert PICKLE in done.stderr
    assert "weights_only" not in done.stderr
    assert not canary.exists()
    assert not (tmp_path / "new").exists()
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("command", ["complete", "score", "infill"])
def test_13_a_pickle_is_never_opened_by_other_commands(
    command: str, pickled: Path, run: Run, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    write_hostile(pickled / PICKLE, "raw", canary)
    options = ("--at=1:1",) if command == "infill" else ()
    done = run(command, "-m", pickled, *options, input=b"x = 1\n")
    assert done.status == 3
    assert "error[model-unsafe]: " in done.stderr
    assert "hint: bigcode models convert " in done.stderr
    assert not canary.exists()


@pytest.fixture
def pickle_hub(hub: FakeHub, pickled: Path) -> FakeHub:
    """A hub where acme/tiny has pickles only."""
    hub.repositories[NAME] = Repository(folder_files(pickled))
    return hub


def test_a_pulled_pickle_is_a_model(
    pull: Pull, pickle_hub: FakeHub, run: Run, converted: Path, place: Path
) -> None:
    """Fetched only when asked for, verified, shown, used, removed; and pruned with its source."""
    refused = pull(NAME)
    assert refused.status == 3
    assert "error[model-unsafe]" in refused.stderr
    assert f"hint: bigcode models pull --convert {NAME}" in refused.stderr
    assert pickle_hub.paths(PICKLE) == []
    done = pull("--convert", NAME, "-v")
    assert done.status == 0
    (folder,) = models_in(converted)
    assert done.stdout == bytes(folder) + b"\n"
    assert "pickles are opened in a network namespace of its own" in done.stderr
    assert folder.stat().st_mode & 0o777 == 0o700
    assert run("complete", "-m", NAME, "--precision=float32", input=b"").stdout == b"hello"
    listed = run("models", "list", "--format=json").json["models"]
    pulled = [(e["name"], e["revision"]) for e in listed if e["source"] != "builtin"]
    assert pulled == [(NAME, COMMIT)]
    assert run("models", "path", NAME).stdout == bytes(folder) + b"\n"
    assert run("models", "verify", NAME, "--format=json").json["hashed_files"] == 3
    again = pull("--convert", NAME, "--format=json")
    assert again.json["fetched_bytes"] == 0
    assert "converting" not in again.stderr
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    assert "model.safetensors: its hash is " in run("models", "verify", NAME).stderr
    freed = run("models", "remove", "--yes", NAME, "--format=json").json["freed_bytes"]
    assert freed > len(data) * 3 // 2
    assert models_in(converted) == []
    assert not place.exists()


def test_51_records_of_another_version_are_left_alone(
    pickled: Path, cache: Path, converted: Path, run: Run
) -> None:
    """What a newer program has written is neither used nor removed; nor is it in the way."""
    add_to_cache(cache, NAME, pickled)
    strange = converted / ("e" * 40)
    strange.mkdir(parents=True)
    record = {"format": 99, "source": {"repository": NAME, "cache": str(cache)}, "files": {}}
    (strange / "conversion.json").write_text(json.dumps(record), "utf-8")
    assert run("models", "show", NAME).status == 3
    assert run("models", "prune", "--yes").status == 0
    assert run("models", "remove", "--yes", NAME).status == 0
    assert strange.exists()
    assert not list(cache.rglob("conversion.json"))


def test_prune_removes_conversions_of_what_is_gone(
    pickled: Path, cache: Path, converted: Path, run: Run
) -> None:
    """Converted where there is no network at all."""
    snapshot = add_to_cache(cache, NAME, pickled)
    assert run("models", "convert", NAME, program=("unshare", "-rn", BIGCODE)).status == 0
    assert run("models", "prune", "--yes", "--format=json").json["freed_bytes"] == 0
    (folder,) = models_in(converted)
    size = sum(path.stat().st_size for path in folder.iterdir())
    for path in snapshot.iterdir():
        path.unlink()
    assert run("models", "prune", "--format=json").status == 2
    freed = run("models", "prune", "--yes", "--format=json").json["freed_bytes"]
    assert freed >= size
    assert models_in(converted) == []


def test_a_changed_pickle_is_not_opened(pickled: Path, cache: Path, run: Run) -> None:
    snapshot = add_to_cache(cache, NAME, pickled)
    data = bytearray((snapshot / PICKLE).read_bytes())
    data[-100] ^= 1
    (snapshot / PICKLE).write_bytes(data)
    done = run("models", "convert", NAME)
    assert (done.status, done.stdout) == (3, b"")
    assert f"{NAME}: {PICKLE}: its hash is " in done.stderr
    assert f"expected {(snapshot / PICKLE).readlink().name}" in done.stderr


def test_an_index_that_leads_out_is_refused(pull: Pull, pickle_hub: FakeHub) -> None:
    files = pickle_hub.repositories[NAME].files
    del files[PICKLE]
    files[f"{PICKLE}.index.json"] = b'{"weight_map": {"a": "../../x.bin"}}'
    done = pull("--convert", NAME)
    assert done.status == 3
    assert "error[repo-unsafe]" in done.stderr


def test_52_a_killed_conversion_leaves_nothing_half_done(
    pickled: Path, cache: Path, run: Run, converted: Path
) -> None:
    """Killed at random times: there is no model, or a whole one; the process dies too."""
    add_to_cache(cache, NAME, pickled)
    moments = random.Random(5)
    began = time.monotonic()
    assert run("models", "convert", pickled, run.folder / "new").status == 0
    longest = 1.2 * (time.monotonic() - began)
    silent: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for _ in range(4):
        process = run.start("models", "convert", NAME, **silent)
        time.sleep(moments.uniform(0.0, longest))
        process.kill()
        process.wait(TIMEOUT_SECONDS)
        for folder in models_in(converted):
            assert run("models", "verify", folder).status == 0
    assert run("models", "convert", NAME).status == 0
    assert leftovers(converted) == []
    assert run("models", "verify", NAME).status == 0


@pytest.mark.timing
def test_35_an_interrupted_conversion(pickled: Path, run: Run, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [BIGCODE, "models", "convert", pickled, tmp_path / "new"],
        env=dict(run.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 30
    while not leftovers(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (child := children.read_text("ascii").split()) and time.monotonic() < deadline:
        time.sleep(0.02)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    assert time.monotonic() - start < 2
    assert (process.returncode, stdout) == (130, b"")
    assert b"Traceback" not in stderr
    assert leftovers(tmp_path) == []
    while Path(f"/proc/{child[0]}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert time.monotonic() < deadline
    assert not (tmp_path / "new").exists()


def test_update_converts_what_was_converted(
    pull: Pull, pickle_hub: FakeHub, environment: dict[str, str], run: Run, converted: Path
) -> None:
    """And as long as the new pickle is not converted, the old model stays."""
    assert pull("--convert", NAME).status == 0
    repository = pickle_hub.repositories[NAME]
    good, before = repository.files[PICKLE], models_in(converted)
    repository.files[PICKLE], repository.commit = b"broken", "b" * 40
    failed = run("models", "update", NAME, env=environment)
    assert failed.status == 3
    assert run("models", "path", NAME).stdout == bytes(before[0]) + b"\n"
    size = (before[0] / WEIGHTS).stat().st_size
    repository.files[PICKLE], repository.commit = good, "c" * 40
    repository.files["config.json"] = repository.files["config.json"].replace(b"{", b"{ ", 1)
    done = run("models", "update", NAME, "--format=json", env=environment)
    assert done.status == 0
    (entry,) = done.json["models"]
    assert entry["revision"] == "c" * 40
    assert [change["name"] for change in entry["files"]] == ["config.json"]
    assert (Path(entry["path"]) / WEIGHTS).stat().st_size == size


def as_santacoder(files: dict[str, bytes]) -> None:
    """Give a repository the original layout: projections turned, queries apart from the rest."""
    tensors = load(files.pop(WEIGHTS))
    for name in [name for name in tensors if re.search(r"(attn|mlp)\.c_\w+\.weight", name)]:
        tensors[name] = tensors[name].T.contiguous()
    for kind in ("weight", "bias"):
        joined = tensors.pop(f"transformer.h.0.attn.c_attn.{kind}")
        width = len(tensors["transformer.ln_f.bias"])
        tensors[f"transformer.h.0.attn.q_attn.{kind}"] = joined[..., :width].contiguous()
        tensors[f"transformer.h.0.attn.kv_attn.{kind}"] = joined[..., width:].contiguous()
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    files[PICKLE] = buffer.getvalue()
    config = json.loads(files["config.json"])
    del config["multi_query"]
    config |= {"model_type": "gpt2", "architectures": ["GPT2LMHeadCustomModel"]}
    config |= {"attention_head_type": "multiquery", "auto_map": {"AutoConfig": "x.Y"}}
    files["config.json"] = json.dumps(config).encode()


def test_the_layout_of_santacoder_is_converted(
    pull: Pull, hub: FakeHub, run: Run, converted: Path
) -> None:
    as_santacoder(hub.repositories[NAME].files)
    done = pull(NAME)
    assert done.status == 3
    assert "error[model-unsupported]: acme/tiny: its weights have the layout of" in done.stderr
    assert f"hint: bigcode models pull --convert {NAME}" in done.stderr
    assert hub.paths(PICKLE) == []
    assert pull("--convert", NAME).status == 0
    done = run("complete", "-m", NAME, input=b"")
    assert (done.status, done.stdout) == (0, b"hello")
    (folder,) = models_in(converted)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert (config["model_type"], config["multi_query"]) == ("gpt_bigcode", True)
    assert "auto_map" not in config
    assert run("models", "verify", NAME).status == 0
