"""Chooses the files of a repository that a model needs.

Names and numbers come from a server: they are checked before they become a path, a URL or a size,
and no message repeats them.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bigcode_cli.framework.errors import Failure
from bigcode_cli.hub.checksums import is_digest
from gpt_bigcode.reading import parse_json

CONFIG_FILE, TOKENIZER_FILE = "config.json", "tokenizer.json"
TOKENIZER_PARTS = ("vocab.json", "merges.txt")
MAX_INDEX_BYTES = 16 << 20
_SUPPORTING_FILES = (
    *(CONFIG_FILE, "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt"),
    *("README.md", "LICENSE", "LICENSE.md", "LICENSE.txt"),
)
MAX_SUPPORTING_BYTES = 64 << 20
_MAX_FILE_BYTES = 1 << 50
_HOSTILE = re.compile(r"^/|\\|^[A-Za-z]:|(^|/)\.{0,2}(/|$)|\0")
_SHARD = re.compile(r"[A-Za-z0-9][\w.-]{0,199}", re.ASCII)
_UNREADABLE = {".gguf": "GGUF files", ".ggml": "GGML files", ".onnx": "ONNX files"}


@dataclass(frozen=True)
class WeightsForm:
    """How weights are stored: in a single file, or in those that an index names."""

    single: str
    index: str
    suffix: str


SAFETENSORS = WeightsForm("model.safetensors", "model.safetensors.index.json", ".safetensors")
PICKLES = WeightsForm("pytorch_model.bin", "pytorch_model.bin.index.json", ".bin")


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
            message = "the repository lists a name that leads out of its folder"
            raise Failure("repo-unsafe", message, hint=hint)
        if name in files:
            raise Failure("hub-invalid", "the hub lists one name twice")
        files[name] = _remote_file(name, entry)
    return files


def _remote_file(name: str, entry: Mapping[str, Any]) -> RemoteFile:
    large = entry.get("lfs")
    source = large if isinstance(large, dict) else entry
    digest, size = source.get("oid"), source.get("size", entry.get("size"))
    if not isinstance(digest, str) or not is_digest(digest):
        raise Failure("hub-invalid", "the hub lists a file without a hash")
    if type(size) is not int or not 0 <= size <= _MAX_FILE_BYTES:
        raise Failure("hub-invalid", "the hub lists a file without a size")
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


def choose_form(files: Mapping[str, RemoteFile], repository: str, *, convert: bool) -> WeightsForm:
    """Choose the one form of weights to fetch: safetensors where there are any.

    Args:
        files: what the repository holds.
        repository: its name, for messages.
        convert: whether pickles may be fetched.

    Raises:
        Failure: `model-unsafe` if there are only pickles, `model-missing` if there is nothing.
    """
    if SAFETENSORS.single in files or SAFETENSORS.index in files:
        return SAFETENSORS
    if PICKLES.single in files or PICKLES.index in files:
        if convert:
            return PICKLES
        message = f"{repository}: its weights are only a pickle ({PICKLES.single!r})"
        hint = f"bigcode models pull --convert {repository} converts it to safetensors in a sandbox"
        raise Failure("model-unsafe", message, hint=hint)
    if any(name.endswith((".bin", ".pt", ".pth", ".ckpt")) for name in files):
        message = f"{repository}: its weights are pickles in an unsupported form"
        hint = "pickles can run code: look for a copy in safetensors files"
        raise Failure("model-unsafe", message, hint=hint)
    raise Failure("model-missing", f"{repository}: it holds no {SAFETENSORS.single}")


def shard_names(content: bytes, index: str, suffix: str) -> list[str]:
    """Read from the content of an index which files hold the weights.

    Raises:
        Failure: `repo-unsafe` for a name that is not a plain file's, `model-corrupt` for no index.
    """
    try:
        listed = parse_json(content)["weight_map"].values()
        names = sorted({str(name) for name in listed})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Failure("model-corrupt", f"{index}: is not an index of weights") from None
    for name in names:
        if not _SHARD.fullmatch(name) or not name.endswith(suffix):
            raise Failure("repo-unsafe", f"{index}: names a file outside its folder")
    if not names:
        raise Failure("model-corrupt", f"{index}: names no file")
    return names


def require_tokenizer(files: Collection[str], repository: str) -> None:
    """Refuse a model that could read no text, before its weights are fetched.

    Raises:
        Failure: `model-missing`: it has no tokenizer.json, nor what one can be made of.
    """
    if TOKENIZER_FILE not in files and not files_of_tokenizer(files):
        message = f"{repository}: it has no {TOKENIZER_FILE}, nor vocab.json and merges.txt"
        raise Failure("model-missing", message, hint="nothing was fetched")


def files_of_tokenizer(files: Collection[str]) -> bool:
    """Tell whether a tokenizer.json can be made of the files that older tools write."""
    return all(name in files for name in TOKENIZER_PARTS)


def supporting_files(names: Iterable[str]) -> list[str]:
    """Choose what a model needs besides its weights: configuration, tokenizer, card."""
    there = set(names)
    return [name for name in _SUPPORTING_FILES if name in there]


def files_to_fetch(
    files: Mapping[str, RemoteFile], form: WeightsForm, shards: Sequence[str] | None
) -> list[RemoteFile]:
    """Choose the files of a model: configuration, tokenizer, card, and one form of weights.

    Raises:
        Failure: a shard is not there, or a small file is huge.
    """
    chosen = [files[name] for name in supporting_files(files)]
    for file in chosen:
        if file.size > MAX_SUPPORTING_BYTES:
            raise Failure("repo-unsafe", f"{file.name}: {file.size:,} bytes are too many for it")
    if shards is None:
        return [*chosen, files[form.single]]
    for name in shards:
        if name not in files:
            raise Failure("model-corrupt", f"{form.index}: names a file that is not there")
    return [*chosen, files[form.index], *(files[name] for name in shards)]
