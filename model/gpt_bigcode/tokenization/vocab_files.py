"""A tokenizer.json made of the files that older tools write instead: vocab.json and merges.txt."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpt_bigcode.errors import TokenizerError, UnreadableFileError
from gpt_bigcode.reading import read_checked, read_json_object

VOCABULARY_FILE, MERGES_FILE = "vocab.json", "merges.txt"
_ADDED_FILE, _CONFIG_FILE = "added_tokens.json", "tokenizer_config.json"
PARTS = (VOCABULARY_FILE, MERGES_FILE, _ADDED_FILE, _CONFIG_FILE)
"""All files that a tokenizer without tokenizer.json is made of."""
# "No limit" is written as int(1e30) in tokenizer_config.json's model_max_length.
_MAX_DIGITS = 40
_BYTE_LEVEL = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}


def has_vocab_files(folder: Path) -> bool:
    """Tell whether a folder holds both files."""
    return all((folder / name).is_file() for name in (VOCABULARY_FILE, MERGES_FILE))


def tokenizer_values(folder: Path, *, max_bytes: int) -> dict[str, Any]:
    """Build what tokenizer.json would hold, as transformers' GPT-2 tokenizer reads these files.

    Args:
        folder: where the files are.
        max_bytes: the most that each may hold.

    Raises:
        TokenizerError: one of the files is not what it should be; it is named.
    """
    vocabulary = _object(folder / VOCABULARY_FILE, max_bytes)
    text = _text(folder / MERGES_FILE, max_bytes)
    config = _optional(folder / _CONFIG_FILE, max_bytes)
    prefix = bool(config.get("add_prefix_space", False))
    return {
        "added_tokens": list(_added_tokens(folder, config, max_bytes)),
        "normalizer": None,
        "pre_tokenizer": {**_BYTE_LEVEL, "add_prefix_space": prefix},
        "decoder": {**_BYTE_LEVEL, "add_prefix_space": True},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": list(_merges(text, vocabulary))},
    }


def _merges(text: str, vocabulary: dict[str, Any]) -> Iterator[list[str]]:
    for number, ended in enumerate(text.split("\n"), start=1):
        line = ended.rstrip("\r")
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        pair = line.split(" ")
        if len(pair) != 2:  # a merge joins two tokens
            raise TokenizerError(f"{MERGES_FILE}: line {number}: expected two tokens")
        lacking = next((token for token in (*pair, "".join(pair)) if token not in vocabulary), None)
        if lacking is not None:
            raise TokenizerError(
                f"{MERGES_FILE}: line {number}: {lacking[:40]!r} is not in {VOCABULARY_FILE}"
            )
        yield pair


def _added_tokens(folder: Path, config: dict[str, Any], max_bytes: int) -> Iterator[dict[str, Any]]:
    """Tokens beside the BPE's, by both of the ways in which they are written down."""
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    described = config.get("added_tokens_decoder")
    found: dict[str, dict[str, Any]] = {}
    for content, token in _optional(folder / _ADDED_FILE, max_bytes).items():
        if type(token) is not int:
            raise TokenizerError(f"{_ADDED_FILE}: {content[:40]!r}: expected a token id")
        found[content] = {"id": token, "content": content, "special": False, **plain}
    for token, entry in (described if isinstance(described, dict) else {}).items():
        is_entry = isinstance(entry, dict) and isinstance(entry.get("content"), str)
        if not is_entry or not token.isdecimal():
            raise TokenizerError(f"{_CONFIG_FILE}: added_tokens_decoder: expected ids and tokens")
        content, is_special = entry["content"], entry.get("special") is True
        found[content] = {"id": int(token), "content": content, "special": is_special, **plain}
    yield from found.values()


def _optional(path: Path, max_bytes: int) -> dict[str, Any]:
    return _object(path, max_bytes) if os.path.lexists(path) else {}


def _object(path: Path, max_bytes: int) -> dict[str, Any]:
    try:
        return read_json_object(path, max_bytes=max_bytes, max_digits=_MAX_DIGITS)
    except UnreadableFileError as error:
        raise TokenizerError(f"{path.name}: {error.reason}") from None


def _text(path: Path, max_bytes: int) -> str:
    try:
        return read_checked(path, max_bytes=max_bytes).decode("utf-8-sig", "replace")
    except UnreadableFileError as error:
        raise TokenizerError(f"{path.name}: {error.reason}") from None
