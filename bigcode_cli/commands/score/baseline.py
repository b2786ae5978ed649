"""The baseline of `bigcode score`: the bits per byte of the files in an earlier report."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bigcode_cli.files.sources import FileNames, repository_top
from bigcode_cli.framework.errors import Failure
from gpt_bigcode import reading
from gpt_bigcode.errors import UnreadableFileError

_MAX_BYTES = 256 << 20
_HINT = "bigcode score --format json PATH... > FILE makes one"


@dataclass(frozen=True)
class ScoreBaseline:
    """An earlier report.

    Attributes:
        values: bits per byte by the name of the file.
        names: how files are named.
        model: what made the report, where it says so.
    """

    values: Mapping[str, float]
    names: FileNames
    model: str | None = None

    @classmethod
    def read(cls, file: Path) -> "ScoreBaseline":
        """Read a report in JSON or JSONL.

        Raises:
            Failure: `baseline`: the file cannot be read or is no report of finite numbers.
        """
        try:
            entries, summary = _parse(_read(file))
            values = dict(_values(entries))
            names = FileNames.beside(file)
            starts = _starts(summary.get("directory"), names.folder)
            start = names.within(_start(values, starts))
            found = {start.of(path): value for path, value in values.items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            message = f"{file}: is not a report of bigcode score{_reason(error)}"
            raise Failure("baseline", message, hint=_HINT) from None
        return cls(found, names, summary.get("model"))

    def within(self, root: str) -> "ScoreBaseline":
        """Return the same baseline for paths that are relative to another folder."""
        return ScoreBaseline(self.values, self.names.within(root), self.model)

    def get(self, path: str) -> float | None:
        """Return the bits per byte of a file; None if it is not in the report."""
        return self.values.get(self.names.of(path))


def _starts(directory: str | None, folder: str) -> Iterator[str]:
    """Yield the folders that a report's paths may be relative to, the likeliest first."""
    if directory is not None:
        tops = (repository_top(os.curdir), repository_top(folder))
        yield from (os.path.join(top, directory) for top in tops if top is not None)  # noqa: PTH118
    if directory is not None and os.path.isabs(directory):  # noqa: PTH117  # text
        yield directory
    yield from (folder, os.curdir)


def _start(paths: Mapping[str, float], starts: Iterator[str]) -> str:
    """Return the first folder in which most of these paths exist."""

    def count(start: str) -> int:
        return sum(os.path.lexists(os.path.join(start, path)) for path in paths)  # noqa: PTH118

    return max(starts, key=count)


def _read(file: Path) -> bytes:
    try:
        with reading.open_checked(file, pipes=True) as stream:
            return reading.read_stream(stream, file, max_bytes=_MAX_BYTES)
    except UnreadableFileError as error:
        raise Failure("baseline", str(error)) from None


def _parse(data: bytes) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the files of a report, and its summary."""
    try:
        document = reading.parse_json(data, file_names=True)
    except ValueError:
        lines = filter(None, map(bytes.strip, data.split(b"\n")))
        return [reading.parse_json(line, file_names=True) for line in lines], {}
    if "files" in document:
        if not isinstance(document["files"], list):
            raise TypeError("not a list of files")
        return document["files"], document.get("summary", {})
    return [document], {}


def _values(entries: list[dict[str, Any]]) -> Iterator[tuple[str, float]]:
    for entry in entries:
        path = entry["path"]
        if entry["status"] != "ok" or (value := entry["bits_per_byte"]) is None:
            continue
        if not isinstance(path, str) or type(value) not in (int, float):
            raise TypeError("not a path and a number")
        if value < 0:
            raise ValueError("negative bits per byte")
        yield path, float(value)


def _reason(error: Exception) -> str:
    """Return the parser's message, if there is one."""
    return f": {error}" if type(error) is ValueError else ""
