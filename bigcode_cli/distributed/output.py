"""The output folder: parts of blocks, one file for each input, the manifest, `_SUCCESS`."""

import contextlib
import json
import os
import posixpath
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from bigcode_cli.distributed import json_lines
from bigcode_cli.distributed.blocks import first_line
from bigcode_cli.distributed.plan import Block, BlockSize, BlockStats, DataFormat, InputFile, Plan
from bigcode_cli.framework.errors import Failure

_MANIFEST = "_manifest.json"
_SUCCESS = "_SUCCESS"
_PARTS = "_parts"
_PARTIAL = ".tmp-"  # in the names of files that are being written
_COPIED_AT_ONCE = 1 << 20
_MAX_MANIFEST_BYTES = 256 << 20
_PART_GROUP_BYTES = 4 << 20
_GROUP_ROWS, _GROUP_BYTES = 1 << 16, 32 << 20


class Output:
    """What a run writes; everything appears under its final name only when it is complete.

    Parts are kept in `_parts/` until all blocks of a file are there and are joined in their order,
    so a run that is continued writes the same bytes as one that was never interrupted.
    """

    def __init__(self, filesystem: pafs.FileSystem, root: str, output_format: DataFormat) -> None:
        self._fs, self._root, self._format = filesystem, root, output_format

    def prepare(self, plan: Plan, files: Sequence[InputFile]) -> BlockSize:
        """Check that the folder is free, or of this plan and these files; nothing is written.

        Files that nothing was computed of may have come, gone or changed since an earlier run.

        Returns:
            How files are cut into blocks.

        Raises:
            Failure: it is of another run, or holds other files.
        """
        names = [self.name_of(file) for file in files]
        name, count = max(Counter(names).items(), key=itemgetter(1), default=("", 0))
        if count > 1:
            raise Failure("input", f"two files of the data would be written to {name}")
        found = self._fs.get_file_info(self._path(_MANIFEST))
        if found.type == pafs.FileType.File:
            return self._compare(self._read_json(self._path(_MANIFEST)), plan, files)
        listed = self._fs.get_file_info(pafs.FileSelector(self._root, allow_not_found=True))
        if listed:
            hint = "--output names a folder that does not exist, is empty, or is of the same run"
            raise Failure("output-folder", f"{self._root} holds other files", hint=hint)
        return BlockSize.of(sum(file.size for file in files))

    def begin(self, plan: Plan, files: Sequence[InputFile], size: BlockSize) -> None:
        """Create the folder and its manifest.

        Raises:
            Failure: it cannot be written.
        """
        manifest = {"plan": _plain(plan), "blocks": vars(size), "files": _listing(files)}
        with self._writing():
            self._fs.create_dir(self._root, recursive=True)
            self._write(_MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())

    def is_done(self, file: InputFile) -> bool:
        """Whether the file's output is there."""
        path = self._path(self.name_of(file))
        return bool(self._fs.get_file_info(path).type == pafs.FileType.File)

    def name_of(self, file: InputFile) -> str:
        """The output's name below the folder."""
        name = file.name.replace(os.sep, "/")
        return name if name.endswith(f".{self._format}") else f"{name}.{self._format}"

    def parts(self, file: InputFile) -> dict[int, BlockStats]:
        """What earlier runs counted in the blocks of a file that are complete."""
        folder = pafs.FileSelector(self._parts(file), allow_not_found=True)
        found: dict[int, BlockStats] = {}
        for info in self._fs.get_file_info(folder):
            number, _, ending = posixpath.basename(info.path).partition(".")
            if ending == "json":
                with contextlib.suppress(ValueError, TypeError, AttributeError, OSError):
                    found[int(number)] = self._read_stats(info.path)
        return found

    def write_part(
        self, file: InputFile, block: Block, schema: pa.Schema, tables: Iterator[pa.Table]
    ) -> None:
        """Write the rows of a block as they are computed; the counts follow by `finish_part`.

        Raises:
            Failure: `output`: it cannot be written. What `tables` raise is passed on.
        """
        name = self._part(file, block, self._format.value)
        with self._new_file(name) as stream:
            if self._format is DataFormat.JSONL:
                for table in tables:
                    with self._writing():
                        stream.write(json_lines.write(table))
            else:
                self._write_parquet(_gathered(tables, _PART_GROUP_BYTES), schema, stream)

    def finish_part(self, file: InputFile, block: Block, stats: BlockStats) -> None:
        """Say that a block is complete.

        Raises:
            Failure: `output`: it cannot be written.
        """
        self._write(self._part(file, block, "json"), stats.to_json().encode())

    def join(self, file: InputFile, blocks: Sequence[Block], schema: pa.Schema) -> None:
        """Make the file's output of its parts, and drop them.

        Raises:
            Failure: `output`: it cannot be written.
        """
        parts = [self._path(self._part(file, block, self._format.value)) for block in blocks]
        with self._writing():
            total = BlockStats()
            for block in blocks:
                total.merge(self._read_stats(self._path(self._part(file, block, "json"))))
            self._write(posixpath.join("_stats", f"{file.key}.json"), total.to_json().encode())
            with self._new_file(self.name_of(file)) as stream:
                if self._format is DataFormat.JSONL:
                    self._copy(parts, stream)
                else:
                    tables = _gathered(self._tables(parts), _GROUP_BYTES)
                    self._write_parquet(tables, schema, stream)
            if self._fs.get_file_info(self._parts(file)).type == pafs.FileType.Directory:
                self._fs.delete_dir(self._parts(file))

    def file_stats(self, file: InputFile) -> BlockStats:
        """What was counted in a file that is done.

        Raises:
            Failure: `output-folder`: the counts are missing or damaged.
        """
        path = self._path(posixpath.join("_stats", f"{file.key}.json"))
        try:
            return self._read_stats(path)
        except (ValueError, TypeError, AttributeError, OSError):
            hint = f"remove {self._path(self.name_of(file))}: it is computed again"
            raise Failure("output-folder", f"{path}: missing or damaged", hint=hint) from None

    def reopen(self) -> None:
        """Take `_SUCCESS` away: there is more to do."""
        with self._writing():
            if self._fs.get_file_info(self._path(_SUCCESS)).type == pafs.FileType.File:
                self._fs.delete_file(self._path(_SUCCESS))

    def drop_partials(self) -> None:
        """Delete what ended workers were still writing; a file system that refuses is left."""
        folder = pafs.FileSelector(self._path(_PARTS), recursive=True, allow_not_found=True)
        with contextlib.suppress(OSError):
            for info in self._fs.get_file_info(folder):
                if _PARTIAL in posixpath.basename(info.path):
                    self._fs.delete_file(info.path)

    def succeed(self) -> None:
        """Say that everything is there."""
        parts = self._path(_PARTS)
        with self._writing():
            if self._fs.get_file_info(parts).type == pafs.FileType.Directory:
                self._fs.delete_dir(parts)
            self._write(_SUCCESS, b"")

    def _tables(self, parts: Iterable[str]) -> Iterator[pa.Table]:
        for part in parts:
            with self._fs.open_input_file(part) as source:
                found = pq.ParquetFile(source, buffer_size=_COPIED_AT_ONCE, pre_buffer=False)
                for number in range(found.num_row_groups):
                    yield found.read_row_group(number, use_threads=False)

    def _write_parquet(self, tables: Iterator[pa.Table], schema: pa.Schema, stream: Any) -> None:
        with self._writing():
            writer = pq.ParquetWriter(stream, schema, compression="zstd")
        try:
            for table in tables:
                with self._writing():
                    writer.write_table(table, row_group_size=_GROUP_ROWS)
        except BaseException:
            with contextlib.suppress(OSError):
                writer.close()
            raise
        with self._writing():
            writer.close()

    def _copy(self, parts: Iterable[str], stream: Any) -> None:
        for part in parts:
            with self._fs.open_input_stream(part) as source:
                while data := source.read(_COPIED_AT_ONCE):
                    stream.write(data)

    def _compare(self, found: Any, plan: Plan, files: Sequence[InputFile]) -> BlockSize:
        hint = "name another --output, or repeat the call that began it"
        try:
            old_plan, size = found["plan"], BlockSize(**found["blocks"])
            old = {str(entry[0]): entry for entry in found["files"]}
        except (TypeError, ValueError, KeyError, IndexError):
            raise Failure("output-folder", f"{self._path(_MANIFEST)} is damaged") from None
        if old_plan != _plain(plan):
            what = _difference(old_plan, _plain(plan))
            message = f"{self._root} is of another run: its plan differs in {what}"
            raise Failure("output-folder", message, hint=hint)
        new = {str(entry[0]): entry for entry in _listing(files)}
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) == new.get(name):
                continue
            file = InputFile(name=name, path="", kind="", size=0)
            if plan.limit is not None or self.is_done(file) or self.parts(file):
                verb = "is not in the data" if name not in new else "has changed or is new"
                message = f"{self._root} is of another run: {name} {verb}"
                raise Failure("output-folder", message, hint=hint)
        return size

    def _parts(self, file: InputFile) -> str:
        return self._path(posixpath.join(_PARTS, file.key))

    def _part(self, file: InputFile, block: Block, ending: str) -> str:
        return posixpath.join(_PARTS, file.key, f"{block.number:08}.{ending}")

    def _path(self, name: str) -> str:
        return posixpath.join(self._root, name)

    def _write(self, name: str, data: bytes) -> None:
        with self._new_file(name) as stream, self._writing():
            stream.write(data)

    @contextlib.contextmanager
    def _new_file(self, name: str) -> Iterator[Any]:
        """A stream to a temporary file, which gets its name if all goes well."""
        target = self._path(name)
        partial = f"{target}{_PARTIAL}{secrets.token_hex(8)}"
        try:
            with self._writing():
                self._fs.create_dir(posixpath.dirname(target), recursive=True)
                stream = self._fs.open_output_stream(partial)
            try:
                yield stream
            except BaseException:
                with contextlib.suppress(OSError):
                    stream.close()
                raise
            with self._writing():
                stream.close()
                self._fs.move(partial, target)
        except BaseException:
            with contextlib.suppress(OSError):
                self._fs.delete_file(partial)
            raise

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Give what a file system raises as one line."""
        try:
            yield
        except OSError as error:
            raise Failure("output", f"{self._root}: {first_line(error)}") from None

    def _read_stats(self, path: str) -> BlockStats:
        with self._fs.open_input_stream(path) as stream:
            return BlockStats.from_json(stream.read().decode())

    def _read_json(self, path: str) -> Any:
        with self._fs.open_input_stream(path) as stream:
            data = stream.read(_MAX_MANIFEST_BYTES)
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            return None


def _gathered(tables: Iterator[pa.Table], size: int) -> Iterator[pa.Table]:
    """Tables of about a size: small ones are put together, large ones are left as they are."""
    held: list[pa.Table] = []
    total = 0
    for table in tables:
        total += table.nbytes
        if held and total > size:
            yield pa.concat_tables(held)
            held, total = [], table.nbytes
        held.append(table)
    if held:
        yield pa.concat_tables(held)


def _plain(plan: Plan) -> Any:
    return json.loads(json.dumps(plan.identity()))


def _listing(files: Iterable[InputFile]) -> list[list[Any]]:
    return [[file.name, file.kind, file.size, len(file.members)] for file in files]


def _difference(found: Any, wanted: Any, place: str = "") -> str:
    """Name the first place where two values differ."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for name in sorted({*found, *wanted}):
            if found.get(name) != wanted.get(name):
                below = f"{place}.{name}" if place else name
                return _difference(found.get(name), wanted.get(name), below)
    return f"{place} ({str(found)[:60]}, now {str(wanted)[:60]})"
