"""One short name for the weights of a checkpoint, for everything that is kept about them."""

import json
import os
import re
from hashlib import blake2b
from pathlib import Path
from typing import Any

from gpt_bigcode.checkpoint.tensor_index import CONFIG_FILE, weight_files
from gpt_bigcode.config import MAX_CONFIG_BYTES
from gpt_bigcode.reading import open_checked, read_checked

_ID_BYTES = 16
_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100 << 20
_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def weights_id(folder: Path) -> str:
    """Name the weights of a checkpoint by 32 hexadecimal digits; other weights get another name.

    The name covers config.json and the weight files. A file of the Hugging Face cache is stored
    under the hash of its content, which is taken as it is. Any other file is known by its device,
    inode, size and times to the nanosecond, of which the change time cannot be set back, and by its
    header with the names and shapes: reading all of it would take longer than quantizing it.

    Raises:
        CheckpointError: there are no weights.
        UnreadableFileError: they, or config.json, cannot be read.
    """
    config = read_checked(folder / CONFIG_FILE, max_bytes=MAX_CONFIG_BYTES)
    found = blake2b(config, digest_size=_ID_BYTES)
    for path in weight_files(folder):
        found.update(json.dumps(_identity(path.resolve())).encode())
    return found.hexdigest()


def _identity(path: Path) -> list[Any]:
    with open_checked(path) as stream:
        status = os.fstat(stream.fileno())
        if path.parent.name == "blobs" and _BLOB.fullmatch(path.name):
            return [path.name, status.st_size]
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        header = blake2b(stream.read(min(length, _MAX_HEADER_BYTES))).hexdigest()
    times = [status.st_mtime_ns, status.st_ctime_ns]
    return [status.st_dev, status.st_ino, status.st_size, *times, header]
