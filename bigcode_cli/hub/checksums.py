"""The two hashes by which a hub names contents: sha256 of large files, git's sha1 of small ones."""

import hashlib
import os
import re
from pathlib import Path
from typing import Protocol

from gpt_bigcode.reading import open_checked

_CHUNK_BYTES = 1 << 20
_SHA256_DIGITS = 64
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Hasher(Protocol):
    """What hashlib's objects do."""

    def update(self, data: bytes, /) -> None:
        """Take more of the content."""

    def hexdigest(self) -> str:
        """Return the hash of all of it."""


def is_digest(text: str) -> bool:
    """Tell whether a text is a hash: nothing else may become the name of a file."""
    return bool(_DIGEST.fullmatch(text))


def new_hasher(digest: str, size: int) -> Hasher:
    """Start the hash that `digest` is one of, for a content of `size` bytes."""
    if len(digest) == _SHA256_DIGITS:
        return hashlib.sha256()
    # git's name for a blob; it identifies here what sha256 is not given for
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def file_digest(path: Path, digest: str) -> str:
    """Compute of a file the hash that `digest` is one of.

    Raises:
        UnreadableFileError, OSError: it is no regular file, or cannot be read.
    """
    with open_checked(path) as stream:
        hasher = new_hasher(digest, os.fstat(stream.fileno()).st_size)
        while chunk := stream.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()
