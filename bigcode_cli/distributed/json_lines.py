"""JSON Lines in blocks: cut once at line ends, read from the first byte of each block."""

import json
from collections.abc import Iterator
from typing import Any, Self

import pyarrow as pa
import pyarrow.fs as pafs

from bigcode_cli.distributed.plan import BATCH_ROWS, BLOCK_ROWS, Block, InputFile

_SKIPPED_AT_ONCE = 1 << 20
_INFERRED_AT_ONCE = 4096


def scan(filesystem: pafs.FileSystem, file: InputFile) -> tuple[list[Block], pa.Schema]:
    """Read a file once: where its blocks begin, and the columns of all of its lines.

    Raises:
        ValueError: a line is not a JSON object.
    """
    blocks: list[Block] = []
    schema = pa.schema([])
    place = start = rows = 0
    waiting: list[dict[str, Any]] = []
    with _opened(filesystem, file) as stream:
        for number, line in enumerate(stream, 1):
            if rows == BLOCK_ROWS:
                blocks.append(Block(number=len(blocks), rows=rows, start=start))
                start, rows = place, 0
            place += len(line)
            if line.strip():
                rows += 1
                waiting.append(_parsed(line, number))
            if len(waiting) == _INFERRED_AT_ONCE:
                schema, waiting = _wider(schema, waiting), []
    if rows:
        blocks.append(Block(number=len(blocks), rows=rows, start=start))
    return blocks, _wider(schema, waiting)


def read(filesystem: pafs.FileSystem, file: InputFile, block: Block) -> Iterator[pa.Table]:
    """The rows of a block, some at a time."""
    schema = pa.ipc.read_schema(pa.py_buffer(file.schema))
    rows: list[dict[str, Any]] = []
    left = block.rows
    with _opened(filesystem, file) as stream:
        _skip(stream, block.start)
        for line in stream:
            if not line.strip():
                continue
            rows.append(_parsed(line, 0))
            left -= 1
            if len(rows) == BATCH_ROWS or not left:
                yield pa.Table.from_pylist(rows, schema=schema)
                rows = []
            if not left:
                return


def write(table: pa.Table) -> bytes:
    """Rows as lines; nulls are written, non-finite numbers become null."""
    lines = [json.dumps(_strict(row), ensure_ascii=False) for row in table.to_pylist()]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")


def _strict(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {name: _strict(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    return value if isinstance(value, (int, str, type(None))) else _other(value)


def _other(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def _opened(filesystem: pafs.FileSystem, file: InputFile) -> "_Lines":
    return _Lines(filesystem.open_input_stream(file.path, compression=file.compression))


class _Lines:
    """A stream of pyarrow with lines; its own `readline` is not implemented."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._kept = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def read(self, size: int) -> bytes:
        if self._kept:
            data, self._kept = self._kept[:size], self._kept[size:]
            return data
        return bytes(self._raw.read(size))

    def __iter__(self) -> Iterator[bytes]:
        parts = [self._kept]
        while data := bytes(self._raw.read(_SKIPPED_AT_ONCE)):
            *lines, rest = data.split(b"\n")
            for line in lines:
                parts.append(line)
                yield b"".join([*parts, b"\n"])
                parts = []
            parts.append(rest)
        if last := b"".join(parts):
            yield last


def _skip(stream: _Lines, size: int) -> None:
    while size:
        data = stream.read(min(size, _SKIPPED_AT_ONCE))
        if not data:
            raise EOFError("the file has become shorter")
        size -= len(data)


def _parsed(line: bytes, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"line {number} is not a JSON object")  # noqa: TRY004  # of the data
    return value


def _wider(schema: pa.Schema, rows: list[dict[str, Any]]) -> pa.Schema:
    """The columns of these rows too; int and float become float, null becomes anything."""
    if not rows:
        return schema
    found = pa.Table.from_pylist(rows, schema=None).schema
    extra = [name for row in rows for name in row if name not in found.names]
    for name in dict.fromkeys(extra):
        found = found.append(pa.field(name, pa.array([row.get(name) for row in rows]).type))
    return pa.unify_schemas([schema, found], promote_options="permissive")
