"""Says what a weights file is that safetensors does not read."""

from pathlib import Path

from safetensors import SafetensorError

from gpt_bigcode.errors import CheckpointError, UnreadableFileError, UnsafeCheckpointError
from gpt_bigcode.reading import open_checked

_LENGTH_BYTES = 8
_LONGEST_REASON = 200
_PICKLES = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
# What a file that is not weights begins with, in lower case -> what it is.
_OTHER_FORMATS = (
    (b"gguf", "is a GGUF file of llama.cpp"),
    (b"\x89hdf\r\n", "is an HDF5 file of Keras"),
    (b"\x1f\x8b", "is compressed by gzip"),
    (b"\x28\xb5\x2f\xfd", "is compressed by zstd"),
    (b"\xfd7zxz", "is compressed by xz"),
    (b"<!doctype", "is an HTML page"),
    (b"<html", "is an HTML page"),
    (b"<?xml", "is an XML page"),
)
_FETCH_AGAIN = "download or copy the file again"


def explained(
    path: Path, error: SafetensorError | OSError | UnreadableFileError
) -> CheckpointError:
    """Say why a weights file cannot be read: what it is instead, or what is wrong with it."""
    try:
        other = _other_format(path)
    except UnreadableFileError as unreadable:
        return CheckpointError(f"{path.name}: {unreadable.reason}")
    if other is not None:
        return other
    reason = str(error).removeprefix("Error while deserializing header: ")
    hint = _FETCH_AGAIN if isinstance(error, SafetensorError) else None
    return CheckpointError(f"{path.name}: {reason[:_LONGEST_REASON]}", hint=hint)


def _other_format(path: Path) -> CheckpointError | None:
    """Recognize common files that are not weights; the parser would report a large header."""
    with open_checked(path) as stream:
        start = stream.read(64)
    # Every header begins with a brace; the length before it may be any bytes.
    if start[_LENGTH_BYTES:].startswith(b"{"):
        return None
    if start.startswith(b"version https://git-lfs"):
        return CheckpointError(f"{path.name}: is a git-lfs pointer", hint="run: git lfs pull")
    if start.startswith((b"PK\x03\x04", *_PICKLES)):
        return UnsafeCheckpointError(
            f"{path.name}: is a pickle, not safetensors",
            hint="rename it to pytorch_model.bin and convert it: bigcode models convert NAME PATH",
        )
    lowered = start.lstrip().lower()
    kind = next((words for mark, words in _OTHER_FORMATS if lowered.startswith(mark)), None)
    if kind is None and start and _is_text(start):
        kind = "is a text"
    if kind is None:
        return None
    return CheckpointError(f"{path.name}: {kind}, not weights", hint=_FETCH_AGAIN)


def _is_text(start: bytes) -> bool:
    """Whether a file begins with words, such as the error message of a server."""
    return start.isascii() and start.decode("ascii").replace("\n", " ").isprintable()
