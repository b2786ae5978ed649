"""Damaged and hostile checkpoints through the real program: cases 1 to 24 of the catalogue.

Every form of damage is tried on the library in test_checkpoint_damage, test_config and
test_tokenizer; here it is seen that the program survives, says what it is, and stays small.
"""

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cached_models import COMMIT, add_to_cache
from fake_hub import FakeHub, Handler, Repository
from program import TIMEOUT_SECONDS, Outcome, Run
from scripted_models import encode, write_checkpoint

WEIGHTS = "model.safetensors"
SIXTEEN = bytes(16)
# A gigabyte more address space than the process has.
LITTLE_MEMORY = """
import resource
has = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (has + (1 << 30), has + (1 << 30)))
"""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "sound"
    return write_checkpoint(folder, script=encode("hello"), positions=256)


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "folder"))


@pytest.fixture
def refused(run: Run, folder: Path) -> Callable[..., Outcome]:
    """The program refuses the folder with a slug, in little memory, and says a word."""

    def check(slug: str, word: str = "") -> Outcome:
        done = run("complete", "-m", folder, input=b"x", statements=LITTLE_MEMORY)
        assert (done.status, done.stdout) == (3, b""), done
        assert done.stderr.startswith(f"bigcode: error[{slug}]: "), done.stderr
        assert word in done.stderr
        assert len(done.stderr) < 600
        return done

    return check


Refused = Callable[..., Outcome]


def file_of(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A safetensors file; a header of bytes is taken as it is."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def tensor(start: int, end: int, *, dtype: str = "F32", shape: Any = (4,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


TWICE = (
    b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'
    b'"a":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}}'
)
DEEP = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
FILES = {
    "01-empty": b"",
    "01-seven-bytes": bytes(7),
    "02-header-longer-than-file": file_of({"a": tensor(0, 16)}, SIXTEEN, length=2**63),
    "02-header-too-long": file_of({"a": tensor(0, 16)}, SIXTEEN, length=100_000_001),
    "03-not-json": file_of(b'{"\xff": 1}'),
    "03-nested": file_of(DEEP),
    "04-overlap": file_of({f"t{i}": tensor(0, 16) for i in range(100_000)}, SIXTEEN),
    "05-hole": file_of({"a": tensor(0, 16), "b": tensor(20, 36)}, bytes(36)),
    "05-trailing": file_of({"a": tensor(0, 16)}, bytes(20)),
    "06-shape": file_of({"a": tensor(0, 16, shape=(2**33, 2**33))}, SIXTEEN),
    "06-type": file_of({"a": tensor(0, 16, dtype="F31")}, SIXTEEN),
    "07-name-twice": file_of(TWICE, bytes(32)),
    "10-web-page": b"<!DOCTYPE html>\n<html><body>Log in</body></html>",
    "10-git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
}


@pytest.mark.parametrize("case", FILES)
def test_01_to_10_files_that_are_no_weights(case: str, folder: Path, refused: Refused) -> None:
    (folder / WEIGHTS).write_bytes(FILES[case])
    refused("model-corrupt", WEIGHTS)


def test_10_a_renamed_pickle(folder: Path, refused: Refused) -> None:
    (folder / WEIGHTS).write_bytes(b"\x80\x04]q\x00.")
    refused("model-unsafe", "is a pickle")


def test_08_tensors_of_another_model(folder: Path, refused: Refused) -> None:
    tensors = load_file(folder / WEIGHTS)
    bias = tensors.pop("transformer.ln_f.bias")
    save_file({**tensors, "transformer.other": bias}, folder / WEIGHTS)
    refused("model-mismatch", "1 tensors missing (transformer.ln_f.bias), 1 unexpected")
    save_file({}, folder / WEIGHTS)
    refused("model-mismatch", "missing")
    save_file({**tensors, "transformer.ln_f.bias": np.zeros(64, np.int64)}, folder / WEIGHTS)
    refused("model-mismatch", "ln_f.bias")


def test_09_numbers_that_are_none(folder: Path, run: Run) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["transformer.ln_f.weight"][:] = np.nan
    save_file(tensors, folder / WEIGHTS)
    for options in ((), ("--temperature=1", "--seed=1")):
        done = run("complete", "-m", folder, *options, input=b"x")
        assert (done.status, done.stdout) == (3, b"")
        assert "error[model-nonfinite]" in done.stderr


@pytest.mark.parametrize(
    "make",
    [
        Path.mkdir,
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("nowhere"),
    ],
    ids=["folder", "pipe", "device", "dangling"],
)
def test_11_what_is_no_regular_file(make: Callable[[Path], None], folder: Path, run: Run) -> None:
    (folder / WEIGHTS).unlink()
    make(folder / WEIGHTS)
    done = run("complete", "-m", folder, input=b"x")
    assert (done.status, done.stdout) == (3, b"")
    assert WEIGHTS in done.stderr


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "gone.safetensors"])
def test_12_an_index_that_leads_elsewhere(name: str, folder: Path, run: Run) -> None:
    (folder / WEIGHTS).unlink()
    index = {"weight_map": {"transformer.wte.weight": name}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index), "utf-8")
    done = run("complete", "-m", folder, input=b"x")
    assert (done.status, done.stdout) == (3, b"")
    assert "error[model-" in done.stderr


def change(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **fields}), "utf-8")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("n_layer", 10**9), ("n_embd", 10**9), ("vocab_size", 10**10), ("n_head", 0)),
        *(("n_positions", -1), ("n_layer", 2.0), ("n_layer", True), ("n_embd", "64")),
    ],
)
def test_16_hostile_numbers(field: str, value: Any, folder: Path, refused: Refused) -> None:
    change(folder, **{field: value})
    refused("model-config", field)


def test_17_code_that_a_file_asks_for(folder: Path, run: Run, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (folder / "modeling_evil.py").write_text(f"open({str(canary)!r}, 'w')", "utf-8")
    change(folder, auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"}, _name_or_path="../..")
    done = run("complete", "-m", folder, input=b"")
    assert (done.status, done.stdout) == (0, b"hello")
    change(folder, architectures=["EvilForCausalLM"])
    done = run("complete", "-m", folder, input=b"")
    assert done.status == 3
    assert "error[model-unsupported]" in done.stderr
    assert "EvilForCausalLM" in done.stderr
    assert not canary.exists()


CONFIGS = {
    "huge": b" " * (2 << 20) + b"{}",
    "deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "NaN": b'{"layer_norm_epsilon": NaN}',
    "digits": b'{"n_layer": ' + b"9" * 5000 + b"}",
    "nul": b'{"a": "\0"}',
    "empty": b"",
}


@pytest.mark.parametrize("form", CONFIGS)
def test_18_a_configuration_that_is_none(form: str, folder: Path, refused: Refused) -> None:
    (folder / "config.json").write_bytes(CONFIGS[form])
    refused("model-config", "config.json")


def test_18_a_byte_order_mark_is_no_fault(folder: Path, run: Run) -> None:
    path = folder / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert run("complete", "-m", folder, input=b"").stdout == b"hello"


TOKENIZERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "19-object": lambda _: {},
    "19-array": lambda _: [],
    "19-far-id": lambda t: t["model"]["vocab"].update({"zz": 10**9}) or t,
    "19-unknown-merge": lambda t: t["model"]["merges"].append(["qq", "zz"]) or t,
    "19-one-id-twice": lambda t: t["model"]["vocab"].update({"zz": 30}) or t,
    "20-one-too-many": lambda t: t["model"]["vocab"].update({"zz": 275}) or t,
    "21-regular-expression": lambda t: (
        t.update({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}}}) or t
    ),
}


@pytest.mark.parametrize("case", TOKENIZERS)
def test_19_to_21_hostile_tokenizers(case: str, folder: Path, refused: Refused) -> None:
    path = folder / "tokenizer.json"
    changed = TOKENIZERS[case](json.loads(path.read_text("utf-8")))
    path.write_text(json.dumps(changed), "utf-8")
    refused("tokenizer-corrupt")


def test_19_an_empty_tokenizer(folder: Path, refused: Refused) -> None:
    (folder / "tokenizer.json").write_bytes(b"")
    refused("tokenizer-corrupt")


@pytest.mark.parametrize("kept", [8, 1000, -4])
def test_22_weights_cut_short_before_they_are_mapped(
    kept: int, folder: Path, refused: Refused
) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:kept])
    refused("model-corrupt", WEIGHTS)


def test_22_weights_cut_short_while_they_are_used(
    checkpoint: Path, run: Run, tmp_path: Path
) -> None:
    """A small model is copied into memory, so that nothing of the file is needed any more."""
    folder = Path(shutil.copytree(checkpoint, tmp_path / "folder"))
    streams: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    process = run.start("complete", "-m", folder, "--max-tokens", "1500", **streams)
    assert process.stdout is not None
    first = process.stdout.read(1)
    os.truncate(folder / WEIGHTS, 100)
    with process.stdout:
        text = first + process.stdout.read()
    assert process.wait(TIMEOUT_SECONDS) == 0
    assert len(text) == 1500


def test_24_two_commits_never_mix(
    pull: Callable[..., Outcome], hub: FakeHub, run: Run, place: Path
) -> None:
    """The hub moves on between the question for the commit and that for the files."""
    before = hub.repositories["acme/tiny"]
    after = {**before.files, "README.md": b"the next commit"}

    def move(handler: Handler) -> bool:
        if "/tree/" in handler.request_seen.path:
            hub.repositories["acme/tiny"] = Repository(after, commit="d" * 40)
            handler.reply(404, b"{}", headers={"X-Error-Code": "RevisionNotFound"})
            return True
        return False

    hub.fault = move
    assert pull("acme/tiny").status == 3
    assert not place.exists()
    hub.fault = lambda _: False
    assert pull("acme/tiny").status == 0
    card = place / "snapshots" / ("d" * 40) / "README.md"
    assert card.read_bytes() == b"the next commit"


def test_24_everything_is_read_from_one_snapshot(run: Run, sound: Path, tmp_path: Path) -> None:
    root = Path(run.environment["HOME"]) / ".cache" / "huggingface" / "hub"
    add_to_cache(root, "acme/tiny", sound)
    other = write_checkpoint(tmp_path / "other", script=encode("bye"), positions=128)
    add_to_cache(root, "acme/tiny", other, commit="d" * 40, reference="next")
    for revision, text in ((COMMIT, b"hello"), ("next", b"bye"), ("main", b"hello")):
        done = run("complete", "-m", f"acme/tiny@{revision}", input=b"")
        assert (done.status, done.stdout) == (0, text)
