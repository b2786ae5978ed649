"""Puts folders into a cache of the hub's layout, as the client library would. Knows no test."""

import hashlib
import os
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE_SUFFIXES = (".safetensors", ".bin")


def blob_name(name: str, data: bytes) -> str:
    """The hash under which the hub knows a file: sha256 for large files, git's sha1 for others."""
    if name.endswith(LARGE_SUFFIXES):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def add_to_cache(
    root: Path,
    repository: str,
    folder: Path,
    *,
    commit: str = COMMIT,
    reference: str | None = "main",
) -> Path:
    """Store a folder's files as a snapshot; return the snapshot's folder."""
    place = root / f"models--{repository.replace('/', '--')}"
    snapshot, blobs = place / "snapshots" / commit, place / "blobs"
    for path in (snapshot, blobs, place / "refs"):
        path.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        data = path.read_bytes()
        blob = blobs / blob_name(path.name, data)
        blob.write_bytes(data)
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    if reference is not None:
        (place / "refs" / reference).write_text(commit, "utf-8")
    return snapshot
