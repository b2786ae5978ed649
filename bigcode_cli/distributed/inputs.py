"""The files of a data set and the rows in them: Parquet, JSON Lines, folders of source files."""

import fnmatch
import glob
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from bigcode_cli.distributed import json_lines
from bigcode_cli.distributed.blocks import SOURCES, first_line
from bigcode_cli.distributed.plan import Block, BlockSize, InputFile
from bigcode_cli.files.walk import find_sources
from bigcode_cli.framework.errors import Failure, UsageFailure

_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}


def open_filesystem(data: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a path or URI, and the path on it.

    Raises:
        Failure: no file system reads it.
    """
    if "://" not in data:
        return pafs.LocalFileSystem(), os.path.abspath(data)  # noqa: PTH100  # keeps `..` of a glob
    try:
        filesystem, path = pafs.FileSystem.from_uri(data)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise Failure("input", f"{data}: {first_line(error)}") from None
    return filesystem, path


def resolved(data: str) -> str:
    """A path that means the same in every folder and on every node."""
    return data if "://" in data else os.path.abspath(data)  # noqa: PTH100


def is_within(inner: str, outer: str) -> bool:
    """Whether one place is in a folder, or is the same; both are resolved."""
    if "://" not in inner and "://" not in outer:
        inner, outer = os.path.realpath(inner), os.path.realpath(outer)
    return (inner.rstrip("/") + "/").startswith(outer.rstrip("/") + "/")


def find_files(data: str) -> tuple[pafs.FileSystem, list[InputFile]]:
    """The files of a data set, in the order of their names.

    Raises:
        Failure: nothing is there, or it cannot be listed.
    """
    filesystem, path = open_filesystem(data)
    try:
        top, infos = _listed(filesystem, path)
    except OSError as error:
        raise Failure("input", f"{data}: {first_line(error)}") from None
    found = []
    for info in sorted(infos, key=lambda info: str(info.path)):
        kind, compression = _kind_of(info.path)
        name = os.path.relpath(info.path, top)
        hidden = any(part.startswith((".", "_")) for part in Path(name).parts)
        if kind is not None and not hidden:
            found.append(
                InputFile(
                    name=name, path=info.path, kind=kind, size=info.size, compression=compression
                )
            )
    if not found and isinstance(filesystem, pafs.LocalFileSystem) and Path(path).is_dir():
        found = _source_files(path)
    if not found:
        hint = "files end in .parquet, .jsonl, .jsonl.gz or .jsonl.zst"
        raise Failure("input", f"{data}: no data files there", hint=hint)
    return filesystem, found


def _listed(filesystem: pafs.FileSystem, path: str) -> tuple[str, list[pafs.FileInfo]]:
    """The folder that names are relative to, and what is there."""
    info = filesystem.get_file_info(path)
    if info.type == pafs.FileType.File:
        return os.path.dirname(path), [info]  # noqa: PTH120  # a path of any file system
    if info.type == pafs.FileType.Directory:
        infos = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
        return path, [info for info in infos if info.type == pafs.FileType.File]
    if not glob.has_magic(path):
        raise FileNotFoundError("No such file or directory")
    parts = path.split("/")
    plain = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    top = "/".join(parts[:plain])
    infos = filesystem.get_file_info(pafs.FileSelector(top, recursive=True))
    matching = [
        info
        for info in infos
        if info.type == pafs.FileType.File and fnmatch.fnmatchcase(info.path, path)
    ]
    return top, matching


def _kind_of(path: str) -> tuple[str | None, str | None]:
    """Parquet or jsonl, and the compression; None for other files."""
    plain, ending = os.path.splitext(path.lower())  # noqa: PTH122  # a path of any file system
    compression = _COMPRESSIONS.get(ending)
    if compression is not None:
        ending = os.path.splitext(plain)[1]  # noqa: PTH122
    if ending == ".parquet" and compression is None:
        return "parquet", None
    return ("jsonl", compression) if ending in (".jsonl", ".ndjson") else (None, None)


def _source_files(folder: str) -> list[InputFile]:
    """One input that stands for the text files of a folder; ignored files are left out."""
    names = [source.path for source in find_sources([Path(folder)]) if source.path]
    if not names:
        return []
    size = sum(map(_size_of, names))
    file = InputFile(name="files", path=folder, kind=SOURCES, size=size, members=tuple(names))
    return [file]


def split(
    filesystem: pafs.FileSystem, file: InputFile, size: BlockSize
) -> tuple[list[Block], pa.Schema, InputFile]:
    """Cut a file into blocks, always alike.

    Returns:
        The blocks, the columns, and the file with what was learned of it.

    Raises:
        Failure: it is damaged.
    """
    try:
        if file.kind == SOURCES:
            schema = pa.schema([("path", pa.string()), ("content", pa.binary())])
            return _source_blocks(file, size), schema, file
        if file.kind == "parquet":
            with filesystem.open_input_file(file.path) as stream:
                parquet = pq.ParquetFile(stream)
                return _parquet_blocks(parquet.metadata, size), parquet.schema_arrow, file
        blocks, schema = json_lines.scan(filesystem, file, size)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Failure("input", f"{file.name}: {first_line(error)}") from None
    serialized = schema.serialize().to_pybytes()
    learned = InputFile(**{**vars(file), "schema": serialized})
    return blocks, schema, learned


def _parquet_blocks(metadata: pq.FileMetaData, size: BlockSize) -> list[Block]:
    blocks: list[Block] = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        step = size.rows_of(group.num_rows, group.total_byte_size)
        for start in range(0, group.num_rows, step):
            rows = min(step, group.num_rows - start)
            blocks.append(Block(number=len(blocks), rows=rows, group=number, start=start))
    return blocks


def _source_blocks(file: InputFile, size: BlockSize) -> list[Block]:
    ends, start, held = [0], 0, 0
    for place, name in enumerate(file.members):
        if place > start and (place - start == size.rows or held >= size.bytes):
            ends.append(place)
            start, held = place, 0
        held += _size_of(name)
    ends.append(len(file.members))
    return [
        Block(number=number, rows=end - begin, start=begin)
        for number, (begin, end) in enumerate(pairwise(ends))
    ]


def _size_of(name: str) -> int:
    try:
        return os.path.getsize(name)  # noqa: PTH202  # any bytes
    except OSError:
        return 0


def require_columns(
    name: str, schema: pa.Schema, needed: Sequence[str], added: Sequence[str]
) -> None:
    """Check that a file has what a job reads, and not what it adds.

    Raises:
        UsageFailure: it has not.
    """
    names = ", ".join(schema.names[:20])
    for column in needed:
        if column not in schema.names:
            raise UsageFailure(
                f"{name}: no column {column!r} in the data; there are {names}",
                hint="--text-column names the column that holds the text",
            )
        if schema.names.count(column) > 1:
            raise UsageFailure(f"{name}: more than one column is called {column!r}")
        if not _is_text(schema.field(column).type):
            kind = schema.field(column).type
            raise UsageFailure(f"{name}: column {column!r} holds {kind}, not text")
    taken = [column for column in added if column in schema.names]
    if taken:
        raise UsageFailure(
            f"{name}: there is a column {taken[0]!r} already, which the result would replace",
            hint="rename or drop it first",
        )


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)
    return any(check(kind) for check in (*kinds, pa.types.is_large_binary, pa.types.is_string_view))
