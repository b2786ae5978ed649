"""What lies in an output folder, or is missing from a model's, is told by name."""

import json
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

from bigcode_cli.distributed.cluster import content_hash
from bigcode_cli.distributed.output import Output
from bigcode_cli.distributed.plan import BlockSize, DataFormat, InputFile, JobKind, ModelPlan, Plan
from bigcode_cli.framework.errors import Failure

PLAN = Plan(
    job=JobKind.SCORE,
    model=ModelPlan(
        name="tiny",
        folder="/m",
        revision=None,
        content="0",
        device="cpu",
        precision="float32",
        threads=1,
        batch_tokens=None,
    ),
    text_column="content",
    options={},
    versions={},
)
FILE = InputFile(name="a.parquet", path="a.parquet", kind="parquet", size=1)


@pytest.fixture
def output(tmp_path: Path) -> Output:
    output = Output(pafs.LocalFileSystem(), str(tmp_path / "out"), DataFormat.PARQUET)
    output.begin(PLAN, [FILE], BlockSize())
    return output


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"5", b"[]", b"{}", b"[" * 5000, b'{"plan":{},"blocks":{"rows":0},"files":[]}'),
        *(b'{"plan":{},"blocks":{"rows":"7","bytes":70},"files":[]}', b'{"plan":NaN}', b"\xff"),
        *(b'{"plan":{},"blocks":{"rows":1.5},"files":[]}', b'{"plan":{},"blocks":{},"files":5}'),
    ],
)
def test_a_manifest_that_is_none(content: bytes, output: Output, tmp_path: Path) -> None:
    (tmp_path / "out" / "_manifest.json").write_bytes(content)
    with pytest.raises(Failure, match=r"_manifest\.json is damaged"):
        output.prepare(PLAN, [FILE])


@pytest.mark.parametrize(
    "content", [None, b"", b"[]", b"5", b'{"x":1}', b'{"rows":"1"}', b'{"bits":5}', b'{"rows":NaN}']
)
def test_counts_that_are_none(content: bytes | None, output: Output, tmp_path: Path) -> None:
    counts = tmp_path / "out" / "_stats" / f"{FILE.key}.json"
    counts.parent.mkdir()
    if content is not None:
        counts.write_bytes(content)
    with pytest.raises(Failure, match="missing or damaged"):
        output.file_stats(FILE)
    part = tmp_path / "out" / "_parts" / FILE.key / "00000000.json"
    part.parent.mkdir(parents=True)
    part.write_bytes(content or b"")
    assert output.parts(FILE) == {}  # computed again


def test_what_decides_values_is_hashed(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """A tokenizer in parts, and the end tokens of generation_config.json, too."""
    for path in tiny_checkpoint.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    hashes = [content_hash(tmp_path)]
    assert hashes == [content_hash(tiny_checkpoint)]

    def changed(name: str, value: Any) -> None:
        (tmp_path / name).write_text(json.dumps(value), "utf-8")
        hashes.append(content_hash(tmp_path))

    changed("generation_config.json", {"eos_token_id": 3})
    (tmp_path / "tokenizer.json").unlink()
    changed("vocab.json", {"a": 1})
    changed("merges.txt", "")
    changed("added_tokens.json", {"b": 2})
    assert len({*hashes}) == len(hashes)
