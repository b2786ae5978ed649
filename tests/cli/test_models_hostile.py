"""Model folders that somebody else filled: pipes, links that lead out, damaged records, depth."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cached_models import COMMIT, add_to_cache
from pickled_models import PICKLE, as_pickle
from program import BIGCODE, Outcome, Run
from scripted_models import encode, write_checkpoint

NAME = "acme/tiny"
INDEX = f"{PICKLE}.index.json"
SECRET = "PRIVATE KEY"  # noqa: S105  # what must not be copied


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model", script=encode("hello"), positions=2048)


@pytest.fixture
def pickled(folder: Path, tmp_path: Path) -> Path:
    as_pickle(folder, tmp_path / "pickled")
    return tmp_path / "pickled"


@pytest.fixture
def cache(run: Run) -> Path:
    return Path(run.environment["HOME"]) / ".cache" / "huggingface" / "hub"


def assert_failed(done: Outcome, words: str) -> None:
    assert (done.status, done.stdout) == (3, b"")
    assert words in done.stderr
    assert "error[internal]" not in done.stderr


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("command", [("complete", "-m"), ("models", "show"), ("models", "verify")])
def test_a_pipe_is_no_file(name: str, command: tuple[str, ...], folder: Path, run: Run) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert_failed(run(*command, folder), name)


@pytest.mark.parametrize("name", ["README.md", "conversion.json"])
def test_a_pipe_that_nobody_needs_is_left_alone(name: str, folder: Path, run: Run) -> None:
    os.mkfifo(folder / name)
    assert run("models", "show", folder).status == 0
    assert run("models", "verify", folder).status == 0


def test_a_pipe_for_a_reference(folder: Path, cache: Path, run: Run) -> None:
    add_to_cache(cache, NAME, folder, reference=None)
    os.mkfifo(cache / "models--acme--tiny" / "refs" / "main")
    listed = run("models", "list", "--format=json")
    assert NAME in [entry["name"] for entry in listed.json["models"]]
    assert_failed(run("models", "show", NAME), "does not hold a commit")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_an_index_that_is_no_file(make: Callable[[Path], None], pickled: Path, run: Run) -> None:
    (pickled / PICKLE).unlink()
    make(pickled / INDEX)
    assert_failed(run("models", "convert", pickled, "new"), INDEX)


@pytest.mark.parametrize("name", ["README.md", "tokenizer_config.json", PICKLE])
def test_convert_follows_no_link_out_of_the_folder(
    name: str, pickled: Path, run: Run, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text(SECRET, "utf-8")
    (pickled / name).unlink(missing_ok=True)
    (pickled / name).symlink_to("../outside")
    assert_failed(run("models", "convert", pickled, "new"), f"{name} is a link that leads out")
    assert not (run.folder / "new").exists()


def test_convert_follows_a_link_inside_the_folder(pickled: Path, run: Run) -> None:
    (pickled / PICKLE).rename(pickled / "weights")
    (pickled / PICKLE).symlink_to("weights")
    assert run("models", "convert", pickled, "new").status == 0


def test_convert_counts_every_file_before_it_writes(
    pickled: Path, run: Run, tmp_path: Path
) -> None:
    """There is room for the weights, and not for the card beside them."""
    disk = tmp_path / "disk"
    disk.mkdir()
    (pickled / "README.md").write_bytes(b"x" * (3 << 20))
    script = f'mount -t tmpfs -o size=2m none {disk}; exec "$@"'
    program = ("unshare", "-rm", "sh", "-ec", script, "sh", BIGCODE)
    done = run("models", "convert", pickled, disk / "new", program=program)
    assert_failed(done, "error[no-space]: needs 3.")


def test_a_device_is_not_copied(pickled: Path, run: Run) -> None:
    (pickled / "README.md").symlink_to("/dev/zero")
    assert_failed(run("models", "convert", pickled, "new"), "README.md")


@pytest.mark.parametrize("files", [{"config.json": "\u00e9"}, {"config.json": 5}, {"x": "../x"}])
def test_a_record_without_hashes_is_none(files: object, folder: Path, run: Run) -> None:
    record = {"format": 1, "source": {}, "files": files}
    (folder / "conversion.json").write_text(json.dumps(record), "utf-8")
    assert run("models", "verify", folder).status == 0


def test_a_recorded_file_that_is_a_pipe(folder: Path, run: Run) -> None:
    record = {"format": 1, "source": {}, "files": {"README.md": "0" * 64}}
    (folder / "conversion.json").write_text(json.dumps(record), "utf-8")
    os.mkfifo(folder / "README.md")
    assert_failed(run("models", "verify", folder), "README.md: is a named pipe")


@pytest.mark.parametrize(
    "change", [{"added_tokens": 5}, {"added_tokens": 1.5}, {"added_tokens": True}]
)
def test_one_bad_model_does_not_hide_the_others(
    change: dict[str, object], folder: Path, run: Run
) -> None:
    bad = folder.parent / "bad"
    bad.mkdir()
    for path in folder.iterdir():
        (bad / path.name).write_bytes(path.read_bytes())
    tokenizer = json.loads((bad / "tokenizer.json").read_text("utf-8"))
    (bad / "tokenizer.json").write_text(json.dumps({**tokenizer, **change}), "utf-8")
    done = run("models", "list", "--format=json", env={"BIGCODE_MODEL_FOLDERS": str(folder.parent)})
    assert done.status == 0
    assert "model" in [entry["name"] for entry in done.json["models"]]
    assert "error[internal]" not in run("models", "show", bad).stderr
    assert_failed(run("models", "verify", bad), "tokenizer.json")


@pytest.fixture
def deep(run: Run) -> Iterator[Path]:
    """A folder of 1,200 levels, more than pytest itself can clear away."""
    top = run.folder / "deep"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    yield top
    subprocess.run(["rm", "-rf", top], check=True)


def test_a_deep_folder_is_no_fault(deep: Path, folder: Path, run: Run) -> None:
    assert_failed(run("models", "verify", "./deep"), "config.json")
    for path in folder.iterdir():
        path.rename(deep / path.name)
    assert run("models", "verify", "./deep").status == 0
    assert run("models", "show", "./deep").status == 0


def test_a_folder_without_a_model_is_not_walked(run: Run) -> None:
    for place in ("/", ".."):  # the first would take longer than `run` waits
        assert_failed(run("models", "verify", place), "config.json")


def test_a_conversion_of_another_user_is_not_used(pickled: Path, cache: Path, run: Run) -> None:
    """Its name follows from hashes that everybody knows, so another user can be there first."""
    add_to_cache(cache, NAME, pickled)
    converted = Path(run("models", "convert", NAME).stdout.decode().strip())
    assert run("models", "path", NAME).stdout.decode().strip() == str(converted)
    strange = (
        "import os",
        "os.geteuid = lambda: 54321",
        "from bigcode_cli.__main__ import run; run()",
    )
    program = (sys.executable, "-c", "\n".join(strange))
    assert_failed(run("models", "path", NAME, program=program), "only a pickle")
    converted.chmod(0o777)
    assert_failed(run("models", "path", NAME), "only a pickle")


_NOT_LINUX = """
import ctypes, pathlib
class Library:
    def __init__(self, *_, **__): pass
ctypes.CDLL = Library
real = pathlib.Path.read_text
def read_text(self, *arguments, **named):
    if str(self).startswith("/proc"):
        raise FileNotFoundError(2, "No such file or directory")
    return real(self, *arguments, **named)
pathlib.Path.read_text = read_text
"""


def test_convert_needs_no_system_call_of_linux(pickled: Path, run: Run, tmp_path: Path) -> None:
    """Without prctl, unshare and /proc, the audit hook keeps the network out."""
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch" / "sitecustomize.py").write_text(_NOT_LINUX, "utf-8")
    environment = {"PYTHONPATH": str(tmp_path / "patch")}
    done = run("models", "convert", pickled, "new", env=environment)
    assert (done.status, done.stdout) == (0, bytes(run.folder / "new") + b"\n"), done.stderr
    assert run("models", "verify", "./new").status == 0


def test_a_repository_may_lie_on_another_disk(
    folder: Path, cache: Path, run: Run, tmp_path: Path
) -> None:
    add_to_cache(cache, NAME, folder)
    place = cache / "models--acme--tiny"
    place.rename(tmp_path / "disk")
    place.symlink_to(tmp_path / "disk")
    done = run("complete", "-m", NAME)
    assert (done.status, done.stdout) == (0, b"hello")
    listed = run("models", "list", "--format=json").json["models"]
    assert NAME in [entry["name"] for entry in listed]
    assert run("models", "verify", NAME).status == 0
    assert_failed(run("models", "remove", "--yes", NAME), "error[cache-link]: acme/tiny: ")
    assert run("models", "prune", "--yes").status == 0
    assert (tmp_path / "disk" / "snapshots" / COMMIT / "config.json").exists()


def test_contents_may_lie_on_another_disk(
    folder: Path, cache: Path, run: Run, tmp_path: Path
) -> None:
    add_to_cache(cache, NAME, folder)
    blobs = cache / "models--acme--tiny" / "blobs"
    blobs.rename(tmp_path / "blobs")
    blobs.symlink_to(tmp_path / "blobs")
    assert run("complete", "-m", NAME).stdout == b"hello"
