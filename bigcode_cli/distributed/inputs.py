"""The files of a data set and the rows in them: Parquet, JSON Lines, folders of source files."""

import fnmatch
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from bigcode_cli.distributed import json_lines
from bigcode_cli.distributed.plan import BATCH_ROWS, BLOCK_ROWS, Block, InputFile
from bigcode_cli.files.walk import find_sources
from bigcode_cli.framework.errors import Failure, UsageFailure

_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_MAX_SOURCE_BYTES = 256 << 20
SOURCES = "sources"


def open_filesystem(data: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a path or URI, and the path on it.

    Raises:
        Failure: there is none for it.
    """
    if "://" not in data:
        return pafs.LocalFileSystem(), os.path.abspath(data)  # noqa: PTH100  # keeps `..` of a glob
    try:
        filesystem, path = pafs.FileSystem.from_uri(data)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise Failure("input", f"{data}: {_first_line(error)}") from None
    return filesystem, path


def find_files(data: str) -> tuple[pafs.FileSystem, list[InputFile]]:
    """The files of a data set, in the order of their names.

    Raises:
        Failure: nothing is there, or it cannot be listed.
    """
    filesystem, path = open_filesystem(data)
    try:
        top, infos = _listed(filesystem, path)
    except OSError as error:
        raise Failure("input", f"{data}: {_first_line(error)}") from None
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
    size = sum(os.path.getsize(name) for name in names)  # noqa: PTH202  # many of them
    file = InputFile(name="files", path=folder, kind=SOURCES, size=size, members=tuple(names))
    return [file]


def split(filesystem: pafs.FileSystem, file: InputFile) -> tuple[list[Block], pa.Schema, InputFile]:
    """Cut a file into blocks, always alike.

    Returns:
        The blocks, the columns, and the file with what was learned of it.

    Raises:
        Failure: it is damaged.
    """
    try:
        if file.kind == SOURCES:
            schema = pa.schema([("path", pa.string()), ("content", pa.binary())])
            return list(_cut(len(file.members), 0, 0)), schema, file
        if file.kind == "parquet":
            with filesystem.open_input_file(file.path) as stream:
                parquet = pq.ParquetFile(stream)
                return _parquet_blocks(parquet.metadata), parquet.schema_arrow, file
        blocks, schema = json_lines.scan(filesystem, file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Failure("input", f"{file.name}: {_first_line(error)}") from None
    serialized = schema.serialize().to_pybytes()
    learned = InputFile(**{**vars(file), "schema": serialized})
    return blocks, schema, learned


def _parquet_blocks(metadata: pq.FileMetaData) -> list[Block]:
    blocks: list[Block] = []
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        blocks += _cut(rows, group, len(blocks))
    return blocks


def _cut(rows: int, group: int, first: int) -> Iterator[Block]:
    for number, start in enumerate(range(0, rows, BLOCK_ROWS)):
        size = min(BLOCK_ROWS, rows - start)
        yield Block(number=first + number, rows=size, group=group, start=start)


def read_block(filesystem: pafs.FileSystem, file: InputFile, block: Block) -> Iterator[pa.Table]:
    """The rows of a block, some at a time, in order."""
    if file.kind == SOURCES:
        yield from _read_sources(file.members[block.start : block.start + block.rows])
    elif file.kind == "parquet":
        yield from _read_parquet(filesystem, file, block)
    else:
        yield from json_lines.read(filesystem, file, block)


def _read_parquet(filesystem: pafs.FileSystem, file: InputFile, block: Block) -> Iterator[pa.Table]:
    with filesystem.open_input_file(file.path) as stream:
        parquet = pq.ParquetFile(stream)
        seen, stop = 0, block.start + block.rows
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS, row_groups=[block.group]):
            first, last = max(block.start - seen, 0), min(stop - seen, batch.num_rows)
            seen += batch.num_rows
            if first < last:
                yield pa.Table.from_batches([batch.slice(first, last - first)])
            if seen >= stop:
                return


def _read_sources(paths: Sequence[str]) -> Iterator[pa.Table]:
    for start in range(0, len(paths), BATCH_ROWS):
        names = paths[start : start + BATCH_ROWS]
        content = [_content(name) for name in names]
        shown = [os.fsencode(name).decode("utf-8", "replace") for name in names]
        columns = {"path": pa.array(shown), "content": pa.array(content, pa.binary())}
        yield pa.table(columns)


def _content(path: str) -> bytes | None:
    try:
        if os.path.getsize(path) > _MAX_SOURCE_BYTES:  # noqa: PTH202
            return None
        return Path(path).read_bytes()
    except OSError:
        return None


def require_columns(schema: pa.Schema, needed: Sequence[str], added: Sequence[str]) -> None:
    """Check that a file has what a job reads, and not what it adds.

    Raises:
        UsageFailure: it has not.
    """
    names = ", ".join(schema.names[:20])
    for name in needed:
        if name not in schema.names:
            raise UsageFailure(
                f"no column {name!r} in the data; there are {names}",
                hint="--text-column names the column that holds the text",
            )
        if not _is_text(schema.field(name).type):
            raise UsageFailure(f"column {name!r} holds {schema.field(name).type}, not text")
    taken = [name for name in added if name in schema.names]
    if taken:
        raise UsageFailure(
            f"the data already have a column {taken[0]!r}, which the result would replace",
            hint="rename or drop it first",
        )


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)
    return any(check(kind) for check in (*kinds, pa.types.is_large_binary, pa.types.is_string_view))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
