"""The rows of a block: Parquet row groups, lines of JSON, source files; a few at a time."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from bigcode_cli.distributed import json_lines
from bigcode_cli.distributed.plan import BATCH_BYTES, BATCH_ROWS, Block, InputFile
from bigcode_cli.framework.errors import Failure
from gpt_bigcode.errors import UnreadableFileError
from gpt_bigcode.reading import read_checked

SOURCES = "sources"
_MAX_SOURCE_BYTES = 256 << 20
_BUFFER_BYTES = 1 << 20
_SYSTEM_ERROR = re.compile(r"\[errno \d+\] (.+)")  # as pyarrow writes it


@dataclass(frozen=True)
class Rows:
    """Some rows of a block.

    Attributes:
        table: their columns.
        faults: why a row could not be read, by its place in the table; its columns are null.
    """

    table: pa.Table
    faults: dict[int, str] = field(default_factory=dict)


class BlockReader:
    """Reads blocks; goes on in a row group where the block before ended."""

    def __init__(self, filesystem: pafs.FileSystem) -> None:
        self._filesystem = filesystem
        self._group: _RowGroup | None = None

    def read(self, file: InputFile, block: Block) -> Iterator[Rows]:
        """The rows of a block, some at a time, in order.

        Raises:
            Failure: `input`: the file is damaged.
        """
        try:
            if file.kind == SOURCES:
                yield from _read_sources(file.members[block.start : block.start + block.rows])
            elif file.kind == "parquet":
                yield from self._read_parquet(file, block)
            else:
                yield from _read_lines(self._filesystem, file, block)
        except (pa.ArrowException, OSError, ValueError, EOFError) as error:
            raise Failure("input", f"{file.name}: {first_line(error)}") from None

    def _read_parquet(self, file: InputFile, block: Block) -> Iterator[Rows]:
        group = self._group
        if group is None or (group.path, group.number) != (file.path, block.group):
            group = None
        if group is None or group.place > block.start:
            group = _RowGroup(self._filesystem, file.path, block.group)
        self._group = None  # an error, or a consumer that stops, leaves it at an unknown place
        for batch in group.rows(block.start, block.start + block.rows):
            yield Rows(pa.Table.from_batches([batch]))
        self._group = group


class _RowGroup:
    """An open row group: Parquet cannot be entered in the middle, so its rows are read on."""

    def __init__(self, filesystem: pafs.FileSystem, path: str, number: int) -> None:
        self.path, self.number, self.place = path, number, 0
        # Without a buffer, the whole group's column chunks would be read into memory.
        stream = filesystem.open_input_file(path)
        parquet = pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        found = parquet.metadata.row_group(number)
        fitting = BATCH_BYTES * found.num_rows // max(found.total_byte_size, 1)
        self._batches = parquet.iter_batches(
            batch_size=max(min(fitting, BATCH_ROWS), 1), row_groups=[number], use_threads=False
        )
        self._rest: pa.RecordBatch | None = None

    def rows(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """Rows start .. stop - 1, of which none was read before."""
        while self.place < stop:
            batch = next(self._batches) if self._rest is None else self._rest
            end = self.place + batch.num_rows
            first, last = max(start - self.place, 0), min(stop - self.place, batch.num_rows)
            self._rest = batch.slice(last) if last < batch.num_rows else None
            self.place = min(end, stop)
            if first < last:
                yield batch.slice(first, last - first)


def _read_lines(filesystem: pafs.FileSystem, file: InputFile, block: Block) -> Iterator[Rows]:
    schema = pa.ipc.read_schema(pa.py_buffer(file.schema))
    rows: list[dict[str, Any]] = []
    faults: dict[int, str] = {}
    size = 0
    for line in json_lines.read(filesystem, file, block):
        values = json_lines.parse(line)
        if isinstance(values, str):
            faults[len(rows)], values = values, {}
        rows.append(values)
        size += len(line)
        if len(rows) == BATCH_ROWS or size >= BATCH_BYTES:
            yield Rows(pa.Table.from_pylist(rows, schema=schema), faults)
            rows, faults, size = [], {}, 0
    if rows:
        yield Rows(pa.Table.from_pylist(rows, schema=schema), faults)


def _read_sources(paths: Sequence[str]) -> Iterator[Rows]:
    names: list[str] = []
    content: list[bytes | None] = []
    faults: dict[int, str] = {}
    size = 0
    for path in paths:
        try:
            data: bytes | None = read_checked(path, max_bytes=_MAX_SOURCE_BYTES)
        except UnreadableFileError as error:
            data = None
            faults[len(names)] = error.reason
        names.append(os.fsencode(path).decode("utf-8", "replace"))
        content.append(data)
        size += len(data or b"")
        if len(names) == BATCH_ROWS or size >= BATCH_BYTES:
            yield Rows(_sources(names, content), faults)
            names, content, faults, size = [], [], {}, 0
    if names:
        yield Rows(_sources(names, content), faults)


def _sources(names: Sequence[str], content: Sequence[bytes | None]) -> pa.Table:
    return pa.table({"path": pa.array(names), "content": pa.array(content, pa.binary())})


def first_line(error: BaseException) -> str:
    """What an error says, in one line; of one of the system, its own words."""
    text = str(getattr(error, "strerror", None) or str(error).strip() or type(error).__name__)
    found = _SYSTEM_ERROR.search(text)
    return (found[1] if found else text).splitlines()[0][:300]
