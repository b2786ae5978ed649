"""The folders of converted models, each named by the hashes of its sources.

They are in our own cache: the cache that other tools share contains none of our files.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bigcode_cli.framework.errors import Failure
from bigcode_cli.framework.settings import cache_folder
from bigcode_cli.hub.cache_reader import CachedRepository
from bigcode_cli.hub.checksums import is_digest
from bigcode_cli.hub.repo_files import (
    CONFIG_FILE,
    MAX_INDEX_BYTES,
    PICKLES,
    SAFETENSORS,
    shard_names,
)
from gpt_bigcode.errors import GPTBigCodeError, UnreadableFileError
from gpt_bigcode.reading import open_checked, read_checked, read_json_object
from gpt_bigcode.storage.private_folder import private_folder

FORMAT = 1
RECORD_FILE = "conversion.json"
PARTIAL_SUFFIX = ".partial"
_PICKLES = (PICKLES.single, PICKLES.index)
_WEIGHTS = (SAFETENSORS.single, SAFETENSORS.index)
_TOKENIZER_FILE = "tokenizer.json"
_MAX_RECORD_BYTES, _MAX_CONFIG_BYTES = 1 << 20, 1 << 20
_OTHER_LAYOUT = b'"attention_head_type"'


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a converted model was made from, and its files.

    Attributes:
        folder: its folder.
        repository: the source; None for a folder.
        commit: the commit of the source.
        cache: the cache of the source.
        files: the SHA-256 of every file.
    """

    folder: Path
    repository: str | None
    commit: str | None
    cache: str | None
    files: Mapping[str, str]


def converted_root() -> Path:
    """Return the folder of converted models, which need not exist."""
    return cache_folder("converted")


def has_usable_weights(folder: Path) -> bool:
    """Tell whether a folder has weights that can be loaded as they are."""
    return _has(folder, _WEIGHTS) and not has_other_layout(folder)


def has_other_layout(folder: Path) -> bool:
    """Tell whether a configuration has the original layout of bigcode/santacoder."""
    try:
        with open_checked(folder / CONFIG_FILE) as stream:
            return _OTHER_LAYOUT in stream.read(_MAX_CONFIG_BYTES)
    except (UnreadableFileError, OSError):
        return False


def has_pickles(folder: Path) -> bool:
    """Tell whether a folder has weights that can be converted."""
    return _has(folder, _PICKLES)


def is_convertible(folder: Path) -> bool:
    """Tell whether a folder's model has to be converted before use."""
    return _has(folder, _PICKLES + _WEIGHTS) and not has_usable_weights(folder)


def _has(folder: Path, names: tuple[str, ...]) -> bool:
    return any(os.path.exists(folder / name) for name in names)  # noqa: PTH110  # never raises


def source_files(folder: Path) -> list[str]:
    """List the files with the weights of a convertible folder, in order.

    Raises:
        Failure: `model-corrupt` or `repo-unsafe`, for a damaged index.
        UnreadableFileError: the index is not a regular file, or too large.
    """
    single, index = _WEIGHTS if has_other_layout(folder) and _has(folder, _WEIGHTS) else _PICKLES
    if _has(folder, (single,)):
        return [single]
    content = read_checked(folder / index, max_bytes=MAX_INDEX_BYTES)
    return shard_names(content, index, Path(single).suffix)


def converted_folder(snapshot: Path) -> Path | None:
    """Name the folder for the conversion of a snapshot; None if its files are not links to blobs.

    The name is a hash of the hashes of the sources.
    """
    digests = {}
    for name in (CONFIG_FILE, _TOKENIZER_FILE, *source_files(snapshot)):
        path = snapshot / name
        if path.is_symlink() and is_digest(path.readlink().name):
            digests[name] = path.readlink().name
        elif name != _TOKENIZER_FILE or path.exists():
            return None
    text = json.dumps([FORMAT, sorted(digests.items())])
    return converted_root() / hashlib.sha256(text.encode()).hexdigest()[:40]


def usable_folder(snapshot: Path) -> Path:
    """Return a snapshot, or its conversion if it needs and has one."""
    if not is_convertible(snapshot):
        return snapshot
    try:
        folder = converted_folder(snapshot)
    except (Failure, GPTBigCodeError, OSError):
        return snapshot
    if folder is None or not is_own(folder) or read_record(folder) is None:
        return snapshot
    return folder


def is_own(folder: Path) -> bool:
    """Tell whether only this user can have written a conversion, whose name can be guessed."""
    for place in (folder.parent, folder):
        try:
            with private_folder(place) as opened:
                if opened is None:
                    return False
        except OSError:
            return False
    return True


def read_record(folder: Path) -> Record | None:
    """Read the record of a conversion; None if it is missing or of another version."""
    try:
        values = read_json_object(folder / RECORD_FILE, max_bytes=_MAX_RECORD_BYTES)
    except UnreadableFileError:
        return None
    if values.get("format") != FORMAT:
        return None
    source, files = values.get("source"), values.get("files")
    if not isinstance(source, dict) or not isinstance(files, dict):
        return None
    if not all(isinstance(digest, str) and is_digest(digest) for digest in files.values()):
        return None
    return Record(
        folder=folder,
        repository=source.get("repository"),
        commit=source.get("commit"),
        cache=source.get("cache"),
        files=files,
    )


def write_record(folder: Path, source: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Write the record of a conversion, the last of its files."""
    values = {"format": FORMAT, "source": dict(source), "files": dict(files)}
    text = json.dumps(values, indent=2, sort_keys=True) + "\n"
    (folder / RECORD_FILE).write_text(text, "utf-8")


def conversions(repository: CachedRepository | None = None) -> Iterator[Record]:
    """Iterate over the converted models, or those of one repository of one cache."""
    root = converted_root()
    try:
        folders = sorted(path for path in root.iterdir() if path.name[:1] != ".")
    except OSError:
        return
    for folder in folders:
        if folder.is_symlink():
            continue
        record = read_record(folder)
        own = repository is None or (
            record is not None
            and (record.repository, record.cache) == (repository.name, str(repository.root))
        )
        if record is not None and own:
            yield record
