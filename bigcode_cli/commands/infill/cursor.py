"""Finds the gap, named in one of four ways, and the text on both sides of it.

Bytes are never changed: prefix, gap and suffix together are the file.
"""

from dataclasses import dataclass
from pathlib import Path

from bigcode_cli.commands.infill.options import END, ColumnUnit, PlaceOptions
from bigcode_cli.framework.errors import UsageFailure
from bigcode_cli.io import text_input
from bigcode_cli.io.atomic_files import Target
from bigcode_cli.io.text_input import InputText
from gpt_bigcode.text_form import mark_size, splits_crlf, without_line_end, without_mark

_ENCODINGS = {
    ColumnUnit.CHARACTER: "utf-32-le",
    ColumnUnit.UTF_16: "utf-16-le",
    ColumnUnit.BYTE: "utf-8",
}
_UNIT_BYTES = {ColumnUnit.CHARACTER: 4, ColumnUnit.UTF_16: 2, ColumnUnit.BYTE: 1}
_COUNTED = {
    ColumnUnit.CHARACTER: "",
    ColumnUnit.UTF_16: ", counted in UTF-16",
    ColumnUnit.BYTE: ", counted in bytes",
}
_CONTINUATION = frozenset(range(0x80, 0xC0))
_WAYS = "--at, --offset, --marker, or --prefix-file and --suffix-file"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A gap in a text.

    Attributes:
        source: the file; with --prefix-file, that of the text before the gap.
        data: the bytes of the file as they are; None if the sides come from two files.
        before: the bytes before the gap, byte order mark included.
        after: the bytes after it.
    """

    source: InputText
    data: bytes | None
    before: bytes
    after: bytes

    @property
    def prefix(self) -> str:
        """The text before the gap; the library leaves its byte order mark out."""
        return self.before.decode()

    @property
    def suffix(self) -> str:
        """The text after the gap."""
        return self.after.decode()

    @property
    def gap(self) -> bytes:
        """The bytes that the answer replaces: the marker, if there is one."""
        data = self.data or b""
        return data[len(self.before) : len(data) - len(self.after)]

    def filled(self, middle: str) -> bytes:
        """The file with the gap filled."""
        return self.before + middle.encode() + self.after


def check_way(file: Path | None, options: PlaceOptions) -> None:
    """Require exactly one way to name the gap, before any slow work.

    Raises:
        UsageFailure: no way is given, more than one, or one that does not go with FILE.
    """
    pair = (options.prefix_file, options.suffix_file)
    ways = [options.at, options.offset, options.marker, pair if any(pair) else None]
    given = sum(way is not None for way in ways)
    if given != 1:
        how = "nothing says" if not given else "more than one option says"
        raise UsageFailure(f"{how} where the gap is", hint=f"give one of {_WAYS}")
    if not any(pair):
        text_input.refuse_unusable(file, command="infill")
        return
    if not all(pair):
        missing = "--prefix-file" if options.prefix_file is None else "--suffix-file"
        raise UsageFailure(f"{missing} is missing", hint="/dev/null is an empty file")
    if file is not None:
        raise UsageFailure(f"{file}: FILE does not go with --prefix-file and --suffix-file")
    if str(pair[0]) == str(pair[1]) == "-":
        raise UsageFailure("--prefix-file and --suffix-file cannot both be standard input")
    for path in pair:
        text_input.refuse_unusable(path, command="infill")


def find_place(file: Path | None, options: PlaceOptions, target: Target | None = None) -> Place:
    """Read the file, or both, and find the gap.

    Args:
        file: its name on the command line.
        options: where the gap is.
        target: the same file, if it will be written; its name is not resolved again.

    Raises:
        UsageFailure: the position is not in the file.
        Failure: a file is unreadable, not a text, or too large.
    """
    if options.prefix_file is not None:
        first, second = _read(options.prefix_file), _read(options.suffix_file)
        after = without_mark(second.data)
        return Place(source=first, data=None, before=first.data, after=after)
    source = _read(file, target)
    if options.marker is not None:
        start, end = _find_marker(source, options.marker.encode())
    elif options.offset is not None:
        start = end = _check_offset(source, options.offset)
    else:
        start = end = _find_position(source, str(options.at), options.column_unit)
    return Place(
        source=source, data=source.data, before=source.data[:start], after=source.data[end:]
    )


def _read(file: Path | None, target: Target | None = None) -> InputText:
    if target is None:
        return text_input.read_text(file, whole=True)
    return text_input.read_bytes(target.data, Path(target.name))


def _find_marker(source: InputText, marker: bytes) -> tuple[int, int]:
    count = source.data.count(marker)
    start = source.data.find(marker)
    if count == 1 and source.data.find(marker, start + 1) >= 0:
        count = 2  # two that overlap
    if count != 1:
        often = "is not in it" if not count else f"is in it {count} times, not once"
        raise UsageFailure(f"--marker: {source.name}: {marker.decode()!r} {often}")
    return start, start + len(marker)


def _check_offset(source: InputText, offset: int) -> int:
    data = source.data
    if not offset:
        return mark_size(data)
    if offset > len(data):
        size = f"{len(data)} bytes long"
        raise UsageFailure(f"--offset: {offset} is not in {source.name}, which is {size}")
    if offset < len(data) and data[offset] in _CONTINUATION:
        raise UsageFailure(f"--offset: byte {offset} of {source.name} is inside a character")
    if splits_crlf(data, offset):
        raise UsageFailure(f"--offset: byte {offset} of {source.name} is inside a line break")
    return offset


def _find_position(source: InputText, at: str, unit: ColumnUnit) -> int:
    """Return the offset of LINE:COLUMN, of the end of LINE, or of the end of the file."""
    if at == END:
        return len(source.data)
    line, _, column = at.partition(":")
    start, end = _find_line(source, int(line), at)
    if not column:
        return end
    encoded = source.data[start:end].decode().encode(_ENCODINGS[unit])
    size = _UNIT_BYTES[unit]
    most = len(encoded) // size + 1
    if int(column) > most:
        why = f"line {line} has columns 1 to {most}{_COUNTED[unit]}"
        raise UsageFailure(f"--at: {at} is not in {source.name}: {why}")
    try:
        before = encoded[: (int(column) - 1) * size].decode(_ENCODINGS[unit])
    except UnicodeDecodeError:
        message = f"--at: column {column} of line {line} of {source.name} is inside a character"
        raise UsageFailure(f"{message}{_COUNTED[unit]}") from None
    return start + len(before.encode())


def _find_line(source: InputText, line: int, at: str) -> tuple[int, int]:
    """Return where a line starts and ends; its line break, LF or CRLF, is not a part of it."""
    data = source.data
    start = mark_size(data)
    for number in range(1, line):
        start = data.find(b"\n", start) + 1
        if not start:
            lines = "1 line" if number == 1 else f"{number} lines"
            raise UsageFailure(f"--at: {at} is not in {source.name}, which has {lines}")
    end = data.find(b"\n", start)
    if end < 0:
        return start, len(data)
    return start, start + len(without_line_end(data[start : end + 1]))
