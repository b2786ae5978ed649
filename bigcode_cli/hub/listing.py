"""What a repository offers, and which of its files a model needs.

Knows no network and no disk. Every name and number in here was sent by a server: it is checked
before it becomes a path, a URL or a size.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bigcode_cli.failures import Failure
from bigcode_cli.hub.hashes import is_digest

CONFIG_FILE = "config.json"
WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
MAX_INDEX_BYTES = 16 << 20
_SUPPORTING_FILES = (
    *(CONFIG_FILE, "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt"),
    *("README.md", "LICENSE", "LICENSE.md", "LICENSE.txt"),
)
_MAX_SUPPORTING_BYTES = 64 << 20
_MAX_FILE_BYTES = 1 << 50
_HOSTILE = re.compile(r"^/|\\|^[A-Za-z]:|(^|/)\.{0,2}(/|$)|\0")
_SHARD = re.compile(r"[A-Za-z0-9][\w.-]{0,199}\.safetensors", re.ASCII)
_UNREADABLE = {".gguf": "GGUF files", ".ggml": "GGML files", ".onnx": "ONNX files"}


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file of a repository: its name, its size in bytes and its hash."""

    name: str
    size: int
    digest: str


def read_entries(entries: Iterable[Any]) -> dict[str, RemoteFile]:
    """Check one listing of a repository; folders are left out.

    Raises:
        Failure: `hub-invalid` for anything that a hub does not send, `repo-unsafe` for a name that
            leads out of its folder.
    """
    files: dict[str, RemoteFile] = {}
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
            raise Failure("hub-invalid", "the hub's list of files is not one")
        if entry.get("type") != "file":
            continue
        name = entry["path"]
        if _HOSTILE.search(name):
            hint = "the repository is broken or hostile; nothing was fetched"
            message = f"the repository lists {name[:80]!r}, which leads out of its folder"
            raise Failure("repo-unsafe", message, hint=hint)
        if name in files:
            raise Failure("hub-invalid", f"the hub lists {name[:80]!r} twice")
        files[name] = _remote_file(name, entry)
    return files


def _remote_file(name: str, entry: Mapping[str, Any]) -> RemoteFile:
    large = entry.get("lfs")
    source = large if isinstance(large, dict) else entry
    digest, size = source.get("oid"), source.get("size", entry.get("size"))
    if not isinstance(digest, str) or not is_digest(digest):
        raise Failure("hub-invalid", f"{name[:80]!r}: the hub gives {str(digest)[:80]!r} as hash")
    if type(size) is not int or not 0 <= size <= _MAX_FILE_BYTES:
        raise Failure("hub-invalid", f"{name[:80]!r}: the hub gives {str(size)[:80]!r} as size")
    return RemoteFile(name=name, size=size, digest=digest)


def require_config(files: Mapping[str, RemoteFile], repository: str) -> RemoteFile:
    """Return the configuration, without which nothing else is fetched.

    Raises:
        Failure: `model-unsupported`, naming what the repository holds instead.
    """
    if CONFIG_FILE in files:
        return files[CONFIG_FILE]
    endings = {name[name.rfind(".") :].lower() for name in files if "." in name}
    others = [text for ending, text in _UNREADABLE.items() if ending in endings]
    held = f": it holds {' and '.join(others)}" if others else ""
    hint = "bigcode reads GPTBigCode models in safetensors files"
    raise Failure("model-unsupported", f"{repository}: no {CONFIG_FILE}{held}", hint=hint)


def weights_to_read_first(files: Mapping[str, RemoteFile], repository: str) -> RemoteFile | None:
    """Return the index of sharded weights, None if they are one file.

    Raises:
        Failure: `model-unsafe` if there are only pickles, `model-missing` if there is nothing.
    """
    if WEIGHTS_FILE in files:
        return None
    if INDEX_FILE in files:
        return files[INDEX_FILE]
    pickles = sorted(name for name in files if name.endswith((".bin", ".pt", ".pth", ".ckpt")))
    if pickles:
        message = f"{repository}: its weights are only a pickle ({pickles[0][:80]!r})"
        hint = "pickles can run code and are not fetched: look for a copy in safetensors files"
        raise Failure("model-unsafe", message, hint=hint)
    raise Failure("model-missing", f"{repository}: it holds no {WEIGHTS_FILE}")


def shard_names(index: bytes) -> list[str]:
    """Read from an index which files hold the weights.

    Raises:
        Failure: `repo-unsafe` for a name that is not a plain file's, `model-corrupt` for no index.
    """
    try:
        listed = json.loads(index)["weight_map"].values()
        names = sorted({str(name) for name in listed})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Failure("model-corrupt", f"{INDEX_FILE}: is not an index of weights") from None
    for name in names:
        if not _SHARD.fullmatch(name):
            raise Failure("repo-unsafe", f"{INDEX_FILE}: {name[:80]!r} is not a file beside it")
    if not names:
        raise Failure("model-corrupt", f"{INDEX_FILE}: names no file")
    return names


def files_to_fetch(
    files: Mapping[str, RemoteFile], shards: Sequence[str] | None
) -> list[RemoteFile]:
    """Choose the files of a model: configuration, tokenizer, card, and one format of weights.

    Raises:
        Failure: a shard is not there, or a small file is huge.
    """
    chosen = [files[name] for name in _SUPPORTING_FILES if name in files]
    for file in chosen:
        if file.size > _MAX_SUPPORTING_BYTES:
            raise Failure("repo-unsafe", f"{file.name}: {file.size:,} bytes are too many for it")
    if shards is None:
        return [*chosen, files[WEIGHTS_FILE]]
    for name in shards:
        if name not in files:
            raise Failure("model-corrupt", f"{INDEX_FILE}: {name} is not in the repository")
    return [*chosen, files[INDEX_FILE], *(files[name] for name in shards)]
