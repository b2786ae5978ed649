"""The output folder: parts of blocks, one file for each input, the manifest, `_SUCCESS`."""

import json
import os
import posixpath
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from bigcode_cli.distributed import json_lines
from bigcode_cli.distributed.plan import Block, BlockStats, DataFormat, InputFile, Plan
from bigcode_cli.framework.errors import Failure

_MANIFEST = "_manifest.json"
_SUCCESS = "_SUCCESS"
_PARTS = "_parts"
_COPIED_AT_ONCE = 1 << 20
_MAX_MANIFEST_BYTES = 64 << 20


class Output:
    """What a run writes; everything appears under its final name only when it is complete.

    Parts lie in `_parts/` until all blocks of a file are there and are joined in their order, so a
    run that goes on writes the same bytes as one that was never interrupted.
    """

    def __init__(self, filesystem: pafs.FileSystem, root: str, output_format: DataFormat) -> None:
        self._fs, self._root, self._format = filesystem, root, output_format

    def prepare(self, plan: Plan, files: Iterable[InputFile]) -> bool:
        """Create the folder, or check that it is of this plan and these files.

        Returns:
            Whether an earlier run has begun here.

        Raises:
            Failure: it is of another run, or holds other files.
        """
        wanted = _manifest(plan, files)
        path = self._path(_MANIFEST)
        found = self._fs.get_file_info(path)
        if found.type == pafs.FileType.File:
            self._compare(self._read_json(path), wanted)
            return True
        listed = self._fs.get_file_info(pafs.FileSelector(self._root, allow_not_found=True))
        if listed:
            hint = "--output names a folder that does not exist, is empty, or is of the same run"
            raise Failure("output-folder", f"{self._root} holds other files", hint=hint)
        self._fs.create_dir(self._root, recursive=True)
        self._write(path, json.dumps(wanted, indent=1, sort_keys=True).encode())
        return False

    def is_done(self, file: InputFile) -> bool:
        """Whether the file's output is there."""
        path = self._path(self.name_of(file))
        return bool(self._fs.get_file_info(path).type == pafs.FileType.File)

    def name_of(self, file: InputFile) -> str:
        """The output's name below the folder."""
        name = file.name.replace(os.sep, "/")
        return name if name.endswith(f".{self._format}") else f"{name}.{self._format}"

    def part_stats(self, file: InputFile, block: Block) -> BlockStats | None:
        """What an earlier run counted in a block; None if it is not there."""
        path = self._part(file, block, "json")
        if self._fs.get_file_info(path).type != pafs.FileType.File:
            return None
        try:
            with self._fs.open_input_stream(path) as stream:
                return BlockStats.from_json(stream.read().decode())
        except (ValueError, TypeError, OSError):
            return None

    def write_part(
        self, file: InputFile, block: Block, schema: pa.Schema, tables: Iterator[pa.Table]
    ) -> None:
        """Write the rows of a block as they are computed; the counts follow by `finish_part`."""
        path = self._part(file, block, self._format.value)
        self._fs.create_dir(posixpath.dirname(path), recursive=True)
        with self._fs.open_output_stream(f"{path}.tmp-{os.getpid()}") as stream:
            if self._format is DataFormat.JSONL:
                for table in tables:
                    stream.write(json_lines.write(table))
            else:
                with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
                    for table in tables:
                        writer.write_table(table)
        self._fs.move(f"{path}.tmp-{os.getpid()}", path)

    def finish_part(self, file: InputFile, block: Block, stats: BlockStats) -> None:
        """Say that a block is complete."""
        self._write(self._part(file, block, "json"), stats.to_json().encode())

    def join(self, file: InputFile, blocks: Iterable[Block], schema: pa.Schema) -> None:
        """Make the file's output of its parts, and drop them."""
        target = self._path(self.name_of(file))
        parts = [self._part(file, block, self._format.value) for block in blocks]
        self._fs.create_dir(posixpath.dirname(target), recursive=True)
        temporary = f"{target}.tmp"
        with self._fs.open_output_stream(temporary) as stream:
            if self._format is DataFormat.JSONL:
                self._copy(parts, stream)
            else:
                self._join_parquet(parts, schema, stream)
        self._keep_stats(file, blocks)
        self._fs.move(temporary, target)
        folder = posixpath.join(self._path(_PARTS), file.key)
        if self._fs.get_file_info(folder).type == pafs.FileType.Directory:
            self._fs.delete_dir(folder)

    def file_stats(self, file: InputFile) -> BlockStats:
        """What was counted in a file that is done."""
        path = self._path(posixpath.join("_stats", f"{file.key}.json"))
        with self._fs.open_input_stream(path) as stream:
            return BlockStats.from_json(stream.read().decode())

    def succeed(self) -> None:
        """Say that everything is there."""
        parts = self._path(_PARTS)
        if self._fs.get_file_info(parts).type == pafs.FileType.Directory:
            self._fs.delete_dir(parts)
        self._write(self._path(_SUCCESS), b"")

    def _keep_stats(self, file: InputFile, blocks: Iterable[Block]) -> None:
        total = BlockStats()
        for block in blocks:
            total.merge(self.part_stats(file, block) or BlockStats())
        path = self._path(posixpath.join("_stats", f"{file.key}.json"))
        self._fs.create_dir(posixpath.dirname(path), recursive=True)
        self._write(path, total.to_json().encode())

    def _copy(self, parts: Iterable[str], stream: Any) -> None:
        for part in parts:
            with self._fs.open_input_stream(part) as source:
                while data := source.read(_COPIED_AT_ONCE):
                    stream.write(data)

    def _join_parquet(self, parts: Iterable[str], schema: pa.Schema, stream: Any) -> None:
        with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
            for part in parts:
                with self._fs.open_input_file(part) as source:
                    writer.write_table(pq.ParquetFile(source).read())

    def _compare(self, found: Any, wanted: dict[str, Any]) -> None:
        if not isinstance(found, dict):
            raise Failure("output-folder", f"{self._path(_MANIFEST)} is damaged")
        for section in ("plan", "files"):
            if found.get(section) == wanted[section]:
                continue
            what = _difference(found.get(section), wanted[section])
            raise Failure(
                "output-folder",
                f"{self._root} is of another run: {section} differ in {what}",
                hint="name another --output, or repeat the call that began it",
            )

    def _part(self, file: InputFile, block: Block, ending: str) -> str:
        return posixpath.join(self._path(_PARTS), file.key, f"{block.number:08}.{ending}")

    def _path(self, name: str) -> str:
        return posixpath.join(self._root, name)

    def _write(self, path: str, data: bytes) -> None:
        with self._fs.open_output_stream(f"{path}.tmp") as stream:
            stream.write(data)
        self._fs.move(f"{path}.tmp", path)

    def _read_json(self, path: str) -> Any:
        with self._fs.open_input_stream(path) as stream:
            data = stream.read(_MAX_MANIFEST_BYTES)
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            return None


def _manifest(plan: Plan, files: Iterable[InputFile]) -> dict[str, Any]:
    listed = [[file.name, file.kind, file.size, len(file.members)] for file in files]
    return {"plan": json.loads(json.dumps(plan.identity())), "files": listed}


def _difference(found: Any, wanted: Any, place: str = "") -> str:
    """Name the first place where two values differ."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for name in sorted({*found, *wanted}):
            if found.get(name) != wanted.get(name):
                below = f"{place}.{name}" if place else name
                return _difference(found.get(name), wanted.get(name), below)
    if isinstance(wanted, list):
        return "number, names or sizes"
    return f"{place} ({str(found)[:60]}, now {str(wanted)[:60]})"
