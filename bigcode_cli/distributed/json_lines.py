"""JSON Lines in blocks: cut once at line ends, read from the first byte of each block."""

import json
from collections.abc import Iterator
from typing import Any, Self

import pyarrow as pa
import pyarrow.fs as pafs

from bigcode_cli.distributed.plan import Block, BlockSize, InputFile

_SKIPPED_AT_ONCE = 1 << 20
_INFERRED_AT_ONCE = 4096
_DIGITS = 20  # every whole number of 64 bits has fewer, its sign included


def scan(
    filesystem: pafs.FileSystem, file: InputFile, size: BlockSize
) -> tuple[list[Block], pa.Schema]:
    """Read a file once: where its blocks begin, and the columns of all of its lines.

    A line that is not a JSON object is a row without values.

    Raises:
        ValueError: no line is one, or a column has values of different types.
    """
    blocks: list[Block] = []
    schema = pa.schema([])
    place = start = rows = 0
    waiting: list[dict[str, Any]] = []
    reason = ""
    with _opened(filesystem, file) as stream:
        for number, line in enumerate(stream, 1):
            if rows == size.rows or (rows and place - start >= size.bytes):
                blocks.append(Block(number=len(blocks), rows=rows, start=start))
                start, rows = place, 0
            place += len(line)
            if line.strip():
                rows += 1
                values = parse(line)
                if isinstance(values, str):
                    reason = reason or f"line {number} {values}"
                else:
                    waiting.append(values)
            if len(waiting) == _INFERRED_AT_ONCE:
                schema, waiting = _wider(schema, waiting), []
    if rows:
        blocks.append(Block(number=len(blocks), rows=rows, start=start))
    schema = _wider(schema, waiting)
    if reason and not schema.names:
        raise ValueError(reason)
    return blocks, schema


def read(filesystem: pafs.FileSystem, file: InputFile, block: Block) -> Iterator[bytes]:
    """The lines of a block that are not empty."""
    left = block.rows
    with _opened(filesystem, file) as stream:
        _skip(stream, block.start)
        for line in stream:
            if not left:
                return
            if line.strip():
                left -= 1
                yield line
    if left:
        raise EOFError("the file has become shorter")


def parse(line: bytes) -> dict[str, Any] | str:
    """The values of a line, or why there are none."""
    try:
        value = json.loads(line.decode(), parse_int=_whole)
        if b"\\u" in line:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        return f"byte 0x{line[error.start]:02x} at offset {error.start} of the line is not UTF-8"
    except UnicodeEncodeError:
        return "holds half of a surrogate pair"
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else "is not a JSON object"


def _whole(text: str) -> int | float:
    """A whole number; a column of 64 bits holds larger ones as floats."""
    value = int(text) if len(text) <= _DIGITS else 1 << 64
    return value if -(1 << 63) <= value < 1 << 63 else float(text)


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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def read(self, size: int) -> bytes:
        return bytes(self._raw.read(size))

    def __iter__(self) -> Iterator[bytes]:
        parts: list[bytes] = []
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


def _wider(schema: pa.Schema, rows: list[dict[str, Any]]) -> pa.Schema:
    """The columns of these rows too; int and float become float, null becomes anything."""
    if not rows:
        return schema
    found = pa.Table.from_pylist(rows, schema=None).schema
    extra = [name for row in rows for name in row if name not in found.names]
    for name in dict.fromkeys(extra):
        found = found.append(pa.field(name, pa.array([row.get(name) for row in rows]).type))
    return pa.unify_schemas([schema, found], promote_options="permissive")
