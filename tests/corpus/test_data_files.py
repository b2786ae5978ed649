"""A data set is cut into blocks that together hold every row once, in order."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bigcode_cli.distributed import inputs
from bigcode_cli.distributed.blocks import BlockReader
from bigcode_cli.distributed.plan import BlockSize
from bigcode_cli.framework.errors import Failure, UsageFailure

SIZE = BlockSize()
ROWS: list[dict[str, Any]] = [
    {"id": n, "content": f"text {n}\n", "meta": {"stars": n, "tags": ["ä", None]}, "x": n / 2}
    for n in range(2 * SIZE.rows + 7)
]


def rows_of(folder: Path | str) -> dict[str, list[Any]]:
    filesystem, files = inputs.find_files(str(folder))
    found = {}
    for file in files:
        blocks, schema, learned = inputs.split(filesystem, file, SIZE)
        assert [block.number for block in blocks] == list(range(len(blocks)))
        read, reader = [], BlockReader(filesystem)
        for block in blocks:
            tables = [rows.table for rows in reader.read(learned, block)]
            again = [rows.table for rows in BlockReader(filesystem).read(learned, block)]
            assert tables == again  # wherever the reader was before
            assert sum(table.num_rows for table in tables) == block.rows
            assert all(table.schema.equals(schema) for table in tables)
            read += [row for table in tables for row in table.to_pylist()]
        found[file.name] = read
    return found


def test_every_format_gives_every_row(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "sub" / "a.parquet", row_group_size=1500)
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    (tmp_path / "b.jsonl").write_bytes(lines.rstrip(b"\n"))
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(lines))
    with pa.CompressedOutputStream(str(tmp_path / "d.jsonl.zst"), "zstd") as stream:
        stream.write(lines)
    (tmp_path / "_hidden.parquet").write_bytes(b"not read")
    (tmp_path / "notes.txt").write_text("not read")
    found = rows_of(tmp_path)
    assert list(found) == ["b.jsonl", "c.jsonl.gz", "d.jsonl.zst", "sub/a.parquet"]
    assert all(rows == ROWS for rows in found.values())
    assert list(rows_of(f"{tmp_path}/*.jsonl*")) == ["b.jsonl", "c.jsonl.gz", "d.jsonl.zst"]
    assert list(rows_of((tmp_path / "b.jsonl").as_uri())) == ["b.jsonl"]


def test_columns_of_json_lines_are_those_of_all_lines(tmp_path: Path) -> None:
    lines = [{"content": "a", "n": 1}, {"content": None, "n": 2.5}, {"content": "b", "new": [True]}]
    text = "\n\n".join(map(json.dumps, lines))
    (tmp_path / "a.jsonl").write_text(text, "utf-8")
    assert rows_of(tmp_path)["a.jsonl"] == [
        {"content": "a", "n": 1.0, "new": None},
        {"content": None, "n": 2.5, "new": None},
        {"content": "b", "n": None, "new": [True]},
    ]


def test_a_folder_of_source_files(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"x = 1\n")
    (tmp_path / "b.bin").write_bytes(b"\0\xff")
    (found,) = rows_of(tmp_path).values()
    assert [row["content"] for row in found] == [b"x = 1\n", b"\0\xff"]
    assert [Path(row["path"]).name for row in found] == ["a.py", "b.bin"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.parquet", b"PAR1 damaged PAR1"),
        ("a.jsonl", b'{"content": '),
        ("a.jsonl", b'{"content": "a"}\n{"content": 1}\n'),
        ("a.jsonl", b"[" * 100_000),
        ("a.jsonl.gz", b"not gzip"),
        ("a.jsonl.zst", b"not zstd"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(Failure, match=name):
        rows_of(tmp_path)


def test_lines_that_cannot_be_read_keep_their_place(tmp_path: Path) -> None:
    lines = [
        *(b'{"content": "a", "n": 123456789012345678901234567890}', b"[1]", b'{"content": "\xff"}'),
        *(b'{"content": "\\ud800"}', b'{"content": "b", "n": 5}', b'{"cut'),
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    filesystem, (file,) = inputs.find_files(str(tmp_path))
    (block,), _, learned = inputs.split(filesystem, file, SIZE)
    (rows,) = BlockReader(filesystem).read(learned, block)
    assert [row["content"] for row in rows.table.to_pylist()] == ["a", None, None, None, "b", None]
    assert rows.table["n"].to_pylist() == [1.2345678901234568e29, None, None, None, 5.0, None]
    assert rows.faults == {
        1: "is not a JSON object",
        2: "byte 0xff at offset 13 of the line is not UTF-8",
        3: "holds half of a surrogate pair",
        5: "is not a JSON object",
    }


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_blocks_end_by_bytes_too(tmp_path: Path, name: str) -> None:
    rows = [{"content": "x" * 50_000 + str(n)} for n in range(100)]
    if name == "a.jsonl":
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    filesystem, (file,) = inputs.find_files(str(tmp_path))
    blocks, _, _ = inputs.split(filesystem, file, SIZE)
    assert sum(block.rows for block in blocks) == 100
    assert max(block.rows for block in blocks) < 60
    assert rows_of(tmp_path) == {name: rows}


def test_large_data_sets_have_larger_blocks() -> None:
    assert BlockSize.of(10**9) == SIZE
    large = BlockSize.of(3 * 10**12)
    assert large.rows // SIZE.rows == large.bytes // SIZE.bytes > 10
    assert large.rows_of(10**6, 10**10) == large.bytes // 10**4
    assert large.rows_of(10**6, 10**8) == large.rows


def test_nothing_there(tmp_path: Path) -> None:
    for data in (tmp_path, tmp_path / "missing", tmp_path / "*.parquet", "nosuch://bucket/x"):
        with pytest.raises(Failure):
            rows_of(data)


def test_columns_are_checked() -> None:
    schema = pa.schema([("content", pa.string()), ("n", pa.int64()), ("score", pa.float64())])
    inputs.require_columns("a.parquet", schema, ["content"], ["nll"])
    with pytest.raises(UsageFailure, match="no column 'text'"):
        inputs.require_columns("a.parquet", schema, ["text"], [])
    with pytest.raises(UsageFailure, match="int64, not text"):
        inputs.require_columns("a.parquet", schema, ["n"], [])
    with pytest.raises(UsageFailure, match="a column 'score' already"):
        inputs.require_columns("a.parquet", schema, ["content"], ["label", "score"])
