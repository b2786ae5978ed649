"""models verify, remove, prune and default: on caches like those that the hub's tools leave."""

import json
import os
import pty
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cached_models import COMMIT, add_to_cache
from fake_hub import FakeHub, Handler
from program import BIGCODE, TIMEOUT_SECONDS, Run

NAME = "acme/tiny"
OTHER = "f" * 40
DAY_SECONDS = 24 * 3600


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    place = tmp_path / "folder"
    shutil.copytree(checkpoint, place)
    return place


@pytest.fixture
def cache(run: Run) -> Path:
    return Path(run.environment["HOME"]) / ".cache" / "huggingface" / "hub"


@pytest.fixture
def snapshot(cache: Path, folder: Path) -> Path:
    """acme/tiny in the cache."""
    return add_to_cache(cache, NAME, folder)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_verify_hashes_every_file(run: Run, snapshot: Path) -> None:
    done = run("models", "verify", NAME, "--format=json")
    assert (done.status, done.stderr) == (0, "")
    assert (done.json["status"], done.json["hashed_files"]) == ("ok", 3)
    assert done.json["hashed_bytes"] == size_of(snapshot)
    assert run("models", "verify", NAME).stdout.startswith(b"acme/tiny  ok: 3 of 3 files have ")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("time_of_change", ["kept", "new"])
def test_23_verify_finds_one_changed_bit(
    name: str,
    time_of_change: str,
    run: Run,
    snapshot: Path,
) -> None:
    path = snapshot / name
    before, data = path.stat(), bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)
    if time_of_change == "kept":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = run("models", "verify", NAME)
    assert (done.status, done.stdout) == (3, b"")
    assert f"error[model-corrupt]: acme/tiny: {name}: its hash is " in done.stderr
    assert f"expected {path.readlink().name}\n" in done.stderr
    assert "hint: bigcode models pull acme/tiny repairs it" in done.stderr


def test_verify_finds_a_missing_file(run: Run, snapshot: Path) -> None:
    (snapshot / "tokenizer.json").resolve().unlink()
    done = run("models", "verify", NAME)
    assert done.status == 3
    assert "tokenizer.json: is not there" in done.stderr


def change_config(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **fields}), "utf-8")


@pytest.mark.parametrize(
    ("fields", "slug"),
    [
        ({"n_layer": 2}, "model-mismatch"),
        ({"vocab_size": 100}, "model-mismatch"),
        ({"model_type": "bert"}, "model-unsupported"),
    ],
)
def test_verify_compares_with_the_configuration(
    fields: dict[str, object], slug: str, run: Run, folder: Path
) -> None:
    assert run("models", "verify", folder).status == 0
    change_config(folder, **fields)
    done = run("models", "verify", folder)
    assert (done.status, done.stdout) == (3, b"")
    assert f"error[{slug}]" in done.stderr


def _without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _merge_of_strangers(folder: Path) -> None:
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text("utf-8"))
    values["model"]["merges"] = ["zz yy"]
    path.write_text(json.dumps(values), "utf-8")


def _unknown_version(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "version": "9.0"}), "utf-8")


def _end_that_is_no_token(folder: Path) -> None:
    (folder / "generation_config.json").write_text('{"eos_token_id": "x"}', "utf-8")


def _broken_generation_config(folder: Path) -> None:
    os.mkfifo(folder / "generation_config.json")


@pytest.mark.parametrize(
    "damage",
    [
        *(_without_tokenizer, _merge_of_strangers, _unknown_version),
        *(_end_that_is_no_token, _broken_generation_config),
    ],
)
def test_verify_refuses_what_loading_refuses(
    damage: Callable[[Path], None], run: Run, folder: Path
) -> None:
    damage(folder)
    loaded = run("complete", "-m", folder, input=b"x = ")
    verified = run("models", "verify", folder)
    assert (verified.status, verified.stderr) == (loaded.status, loaded.stderr)
    assert verified.status == 3


@pytest.mark.parametrize("header", [b"null", b'{"a":{"dtype":"F32","shape":[1]}}', b"{} x"])
def test_show_refuses_weights_that_loading_refuses(header: bytes, run: Run, folder: Path) -> None:
    weights = len(header).to_bytes(8, "little") + header
    (folder / "model.safetensors").write_bytes(weights)
    done = run("models", "show", folder)
    assert done.status == 3
    assert "error[model-corrupt]: model.safetensors: " in done.stderr


def test_verify_finds_a_tokenizer_of_another_model(run: Run, folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    extra = {"id": 5000, "content": "<more>", "special": True}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    tokenizer["added_tokens"].append({**extra, **plain})
    path.write_text(json.dumps(tokenizer), "utf-8")
    done = run("models", "verify", folder)
    assert done.status == 3
    assert "error[tokenizer-corrupt]: tokenizer.json: id 5000" in done.stderr


def test_remove_frees_what_it_says(run: Run, cache: Path, snapshot: Path) -> None:
    size = size_of(snapshot)
    (cache / ".locks" / "models--acme--tiny").mkdir(parents=True)
    done = run("models", "remove", "--yes", NAME, "--format=json")
    assert done.json == {"name": NAME, "revision": None, "freed_bytes": size + len(COMMIT)}
    assert list(cache.rglob("*tiny*")) == []
    assert run("models", "remove", "--yes", NAME).status == 3


def test_remove_asks_nobody_without_a_terminal(run: Run, snapshot: Path) -> None:
    done = run("models", "remove", NAME, input=b"y\n")
    assert done.status == 2
    assert "hint: --yes goes on without asking" in done.stderr
    assert run("models", "remove", NAME, env={"BIGCODE_YES": "1"}).status == 2
    assert snapshot.exists()


@pytest.mark.parametrize(("answer", "status"), [(b"n\n", 3), (b"\n", 3), (b"y\n", 0)])
def test_remove_asks_on_a_terminal(answer: bytes, status: int, run: Run, snapshot: Path) -> None:
    main, side = pty.openpty()
    process = subprocess.Popen(
        [BIGCODE, "models", "remove", NAME],
        stdin=side,
        stderr=side,
        stdout=subprocess.DEVNULL,
        env=dict(run.environment),
    )
    os.close(side)
    shown = b""
    while b"[y/N] " not in shown:
        shown += os.read(main, 1000)
    os.write(main, answer)
    assert process.wait(TIMEOUT_SECONDS) == status
    os.close(main)
    assert b"Delete acme/tiny (" in shown
    assert snapshot.exists() == (status != 0)


def test_remove_of_one_revision_keeps_what_the_other_needs(
    run: Run, cache: Path, snapshot: Path, folder: Path
) -> None:
    change_config(folder, n_positions=8192, pad_token_id=3)
    second = add_to_cache(cache, NAME, folder, commit=OTHER, reference="v2")
    config = (second / "config.json").stat().st_size
    done = run("models", "remove", "--yes", f"{NAME}@v2", "--format=json")
    assert (done.json["revision"], done.json["freed_bytes"]) == (OTHER, config)
    assert not second.exists()
    assert not (cache / "models--acme--tiny" / "refs" / "v2").exists()
    assert run("models", "verify", NAME).status == 0
    assert snapshot.exists()


@pytest.mark.parametrize("name", ["pocket-coder@x y", "./folder", "/etc", "../x", "~", "a/../b"])
def test_remove_takes_only_repositories(name: str, run: Run) -> None:
    assert run("models", "remove", "--yes", name).status == 2


def test_50_remove_follows_no_link(run: Run, cache: Path, tmp_path: Path, snapshot: Path) -> None:
    precious = tmp_path / "precious"
    (precious / "snapshots" / COMMIT).mkdir(parents=True)
    (precious / "file").touch()
    (cache / "models--acme--link").symlink_to(precious)
    assert run("models", "remove", "--yes", "acme/link").status == 3
    (snapshot / "sub").symlink_to(precious)
    (snapshot / "file").symlink_to(precious / "file")
    assert run("models", "remove", "--yes", NAME).status == 0
    assert (precious / "file").exists()
    assert (precious / "snapshots" / COMMIT).exists()
    assert not snapshot.exists()


def test_50_remove_waits_for_no_reader(run: Run, cache: Path, snapshot: Path) -> None:
    process = subprocess.Popen(
        [BIGCODE, "complete", "-m", NAME, "--max-tokens", "1500"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=dict(run.environment),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    first = process.stdout.read(1)
    assert run("models", "remove", "--yes", NAME).status == 0
    with process.stdout:
        text = first + process.stdout.read()
    assert process.wait(TIMEOUT_SECONDS) == 0
    assert text.startswith(b"value_0 = 0\nvalue_1 = 1\n")


def test_50_remove_refuses_while_a_download_is_going_on(
    run: Run, hub: FakeHub, environment: dict[str, str], place: Path
) -> None:
    asked, release = threading.Event(), threading.Event()

    def slow(handler: Handler) -> bool:
        if "model.safetensors" in handler.request_seen.path:
            asked.set()
            release.wait(TIMEOUT_SECONDS)
        return False

    hub.fault = slow
    patient = {**environment, "HF_HUB_DOWNLOAD_TIMEOUT": "300"}
    call = ("models", "pull", "-q", NAME)
    with run.start(*call, env=patient, stdout=subprocess.DEVNULL) as process:
        assert asked.wait(TIMEOUT_SECONDS)
        soon = "import bigcode_cli.hub.remove as r; r._WAIT_SECONDS = 0.1"
        done = run("models", "remove", "--yes", NAME, statements=soon)
        release.set()
        assert process.wait(TIMEOUT_SECONDS) == 0
    assert done.status == 3
    assert "error[busy]: acme/tiny: it is being downloaded" in done.stderr
    assert (place / "snapshots" / COMMIT / "model.safetensors").exists()


def test_prune_removes_what_nothing_refers_to(
    run: Run, cache: Path, snapshot: Path, folder: Path
) -> None:
    change_config(folder, pad_token_id=3)
    old = add_to_cache(cache, NAME, folder, commit=OTHER, reference=None)
    config = (old / "config.json").stat().st_size
    blobs = cache / "models--acme--tiny" / "blobs"
    ago = time.time() - 2 * DAY_SECONDS
    for name, age in (("a.1.incomplete", ago), ("b.1.incomplete", time.time()), ("c" * 64, ago)):
        (blobs / name).write_bytes(b"x" * 100)
        os.utime(blobs / name, (age, age))
    assert run("models", "prune").status == 2
    assert old.exists()
    done = run("models", "prune", "--yes", "--format=json")
    freed = config + 200
    expected = {"models": [{"name": NAME, "freed_bytes": freed}], "freed_bytes": freed}
    assert done.json == expected
    assert not old.exists()
    assert [path.name for path in blobs.glob("*.incomplete")] == ["b.1.incomplete"]
    assert run("models", "verify", NAME).status == 0
    assert run("models", "prune", "--format=json").json["freed_bytes"] == 0


def test_prune_keeps_commits_where_there_are_no_references(
    run: Run, cache: Path, folder: Path
) -> None:
    snapshot = add_to_cache(cache, NAME, folder, reference=None)
    assert run("models", "prune", "--yes").stdout == b"total  0 B freed\n"
    assert snapshot.exists()


@pytest.fixture
def config(run: Run) -> Path:
    path = Path(run.environment["HOME"]) / ".config" / "bigcode" / "config.toml"
    path.parent.mkdir(parents=True)
    return path


def test_default_is_used_without_model(run: Run, snapshot: Path, config: Path) -> None:
    config.parent.rmdir()
    assert run("models", "default", NAME).stdout == b"acme/tiny\n"
    assert config.read_text("utf-8") == 'model = "acme/tiny"\n'
    assert config.parent.stat().st_mode & 0o777 == 0o700
    assert run("models", "default").stdout.splitlines()[0].endswith(b"  acme/tiny")
    done = run("complete", "--max-tokens=7", input=b"")
    assert (done.status, done.stdout) == (0, b"value_0")


def test_default_keeps_the_rest_of_the_file(run: Run, folder: Path, config: Path) -> None:
    before = '# mine\nmax-tokens = 64\n  model   = "x" # old\nstop = ["a", "b"]\n'
    config.write_text(before, "utf-8")
    config.chmod(0o640)
    assert run("models", "default", folder).status == 0
    after = before.replace('  model   = "x" # old', f'model = "{folder}"')
    assert config.read_text("utf-8") == after
    assert config.stat().st_mode & 0o777 == 0o640
    assert list(config.parent.iterdir()) == [config]


@pytest.mark.parametrize("content", ["model = \n", 'stop = """\nmodel = 1\n"""\nmodel = "x"\n'])
def test_default_never_breaks_the_file(
    content: str, run: Run, snapshot: Path, config: Path
) -> None:
    config.write_text(content, "utf-8")
    assert run("models", "default", NAME).status == 2
    assert config.read_text("utf-8") == content


@pytest.mark.parametrize("name", ["acme/other", "./nothing", "starcoder"])
def test_default_must_be_here(name: str, run: Run, config: Path) -> None:
    done = run("models", "default", name)
    assert done.status == 3
    assert not config.exists()
