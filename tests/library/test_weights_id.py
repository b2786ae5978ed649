"""Other weights have another name, however little tells them apart; the same ones keep theirs."""

import os
import re
from pathlib import Path

import pytest

from gpt_bigcode.checkpoint.loading import save_model
from gpt_bigcode.checkpoint.tensor_index import weights_id
from gpt_bigcode.errors import CheckpointMissingError
from reference_models import make_ours, tiny_fields


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    save_model(make_ours(tiny_fields()), folder)
    return folder


def test_the_name_is_the_same_until_something_changes(folder: Path) -> None:
    name = weights_id(folder)
    assert re.fullmatch(r"[0-9a-f]{32}", name)
    assert weights_id(folder) == name
    (folder / "README.md").write_text("no weights")
    assert weights_id(folder) == name
    config = folder / "config.json"
    config.write_bytes(config.read_bytes() + b"\n")
    assert weights_id(folder) != name


def test_only_the_change_time_tells_of_a_byte_in_the_middle(folder: Path) -> None:
    name, path = weights_id(folder), folder / "model.safetensors"
    status = path.stat()
    with path.open("r+b") as stream:
        stream.seek(status.st_size // 2)
        byte = stream.read(1)[0]
        stream.seek(status.st_size // 2)
        stream.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert weights_id(folder) != name


def test_a_file_of_the_hugging_face_cache_is_known_by_its_content(folder: Path) -> None:
    path, blobs = folder / "model.safetensors", folder.parent / "blobs"
    blobs.mkdir()
    names = []
    for digest in ("a" * 64, "b" * 64):
        blob = blobs / digest
        blob.write_bytes(path.read_bytes())
        path.unlink()
        path.symlink_to(blob)
        names.append(weights_id(folder))
        os.utime(blob, ns=(1, 1))
        assert weights_id(folder) == names[-1]
    assert names[0] != names[1]


def test_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointMissingError):
        weights_id(tmp_path)
