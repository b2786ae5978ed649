"""What tokenizer.json says, checked before anything is built from it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from gpt_bigcode.errors import (
    CheckpointMissingError,
    GPTBigCodeError,
    MissingFileError,
    TokenizerError,
    UnreadableFileError,
)
from gpt_bigcode.reading import read_json_object
from gpt_bigcode.tokenization.vocab_files import (
    MERGES_FILE,
    VOCABULARY_FILE,
    has_vocab_files,
    tokenizer_values,
)

MAX_TOKENIZER_BYTES = 64 << 20
END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>")
INFILL_SPELLINGS = ("<fim_{}>", "<fim-{}>")

# Control tokens of the family by content: some published files do not mark them as special.
_CONTROL = frozenset(
    {
        *END_OF_TEXT,
        *(
            spelling.format(part)
            for spelling in INFILL_SPELLINGS
            for part in ("prefix", "middle", "suffix", "pad")
        ),
        *("<filename>", "<gh_stars>", "<reponame>", "<file_sep>", "<empty_output>"),
        *("<issue_start>", "<issue_comment>", "<issue_closed>"),
        *("<jupyter_start>", "<jupyter_text>", "<jupyter_code>", "<jupyter_output>"),
        *("<commit_before>", "<commit_msg>", "<commit_after>"),
        *("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    }
)
# A pattern from a hostile file can take exponential time: only the family's own are run.
_KNOWN_PATTERNS = frozenset(
    {
        r"\p{N}",
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    }
)
_UNSUPPORTED = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")


def _byte_alphabet() -> dict[str, int]:
    """Character -> byte of GPT-2's byte-level alphabet.

    Printable Latin-1 maps to itself, the other bytes to the characters from U+0100 on.
    """
    itself = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in itself]
    moved = {chr(0x100 + place): byte for place, byte in enumerate(others)}
    return {chr(byte): byte for byte in itself} | moved


BYTE_OF = MappingProxyType(_byte_alphabet())


@dataclass(frozen=True)
class TokenizerDefinition:
    """A byte-level BPE.

    Attributes:
        contents: id -> token, as spelled in the file.
        special_ids: token -> id of what is marked special or is a control token of the family.
        literal_ids: ids of the other added tokens, which spell their own text.
        ordinary: the tokens of the BPE itself, in the byte-level alphabet.
        encoder_json: a tokenizer.json for text of the user, without added tokens.
    """

    contents: Mapping[int, str]
    special_ids: Mapping[str, int]
    literal_ids: frozenset[int]
    ordinary: frozenset[str]
    encoder_json: str

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a tokenizer.json of at most 64 MiB, or else vocab.json and merges.txt beside it.

        Raises:
            CheckpointMissingError: no such file.
            TokenizerError: damaged, not a byte-level BPE, or with a pattern that is not known.
        """
        try:
            values = _read_values(path)
        except MissingFileError:
            message = f"{path}: no such file, and no {VOCABULARY_FILE} with {MERGES_FILE} instead"
            raise CheckpointMissingError(message) from None
        except UnreadableFileError as error:
            raise TokenizerError(f"{path.name}: {error.reason}") from None
        try:
            return cls.from_dict(values)
        except GPTBigCodeError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise TokenizerError(f"{path.name}: not a tokenizer: {reason[:200]}") from None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The same from parsed JSON; a wrong type may also be a plain TypeError or KeyError."""
        added = _added_tokens(values)
        vocabulary = _vocabulary(values)
        _check_steps(values)
        contents = _contents(vocabulary, added)
        special_ids = _special_ids(vocabulary, added)
        ordinary = frozenset(vocabulary.keys() - special_ids.keys())
        _check_alphabet(ordinary)
        return cls(
            contents=contents,
            special_ids=special_ids,
            literal_ids=frozenset(entry["id"] for entry in added) - {*special_ids.values()},
            ordinary=ordinary,
            encoder_json=_encoder_json(values),
        )


def _read_values(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path, max_bytes=MAX_TOKENIZER_BYTES)
    except MissingFileError:
        if not has_vocab_files(path.parent):
            raise
        return tokenizer_values(path.parent, max_bytes=MAX_TOKENIZER_BYTES)


def _added_tokens(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    added = values.get("added_tokens") or []
    if not isinstance(added, list) or not all(map(_is_token, added)):
        raise TokenizerError("tokenizer.json: added_tokens: expected tokens with id and content")
    return added


def _is_token(entry: Any) -> bool:
    """Whether an added token has an id and a content."""
    is_object = isinstance(entry, dict)
    return is_object and type(entry.get("id")) is int and isinstance(entry.get("content"), str)


def _vocabulary(values: Mapping[str, Any]) -> dict[str, int]:
    """Token -> id of the BPE model."""
    model = values.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        raise TokenizerError("tokenizer.json: no model with a vocabulary")
    if model.get("type", "BPE") != "BPE":
        raise TokenizerError(f"tokenizer.json: {str(model['type'])[:80]!r} is not a byte-level BPE")
    for name in _UNSUPPORTED:
        if model.get(name):
            raise TokenizerError(f"tokenizer.json: model.{name} is not supported")
    vocabulary: dict[str, int] = model["vocab"]
    if not vocabulary or not all(type(token) is int for token in vocabulary.values()):
        raise TokenizerError("tokenizer.json: model.vocab: expected token ids")
    unknown = model.get("unk_token")
    if unknown is not None and (not isinstance(unknown, str) or unknown not in vocabulary):
        raise TokenizerError("tokenizer.json: model.unk_token is not in the vocabulary")
    return vocabulary


def _contents(vocabulary: Mapping[str, int], added: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Id -> token; each id has one token and each token one id."""
    contents: dict[int, str] = {}
    pairs = chain(vocabulary.items(), ((entry["content"], entry["id"]) for entry in added))
    for content, token in pairs:
        if token < 0:
            raise TokenizerError(f"tokenizer.json: {content[:40]!r} has the negative id {token}")
        known = contents.setdefault(token, content)
        if known != content:
            raise TokenizerError(
                f"tokenizer.json: id {token} stands for {known[:40]!r} and {content[:40]!r}"
            )
        if vocabulary.get(content, token) != token:
            raise TokenizerError(f"tokenizer.json: {content[:40]!r} has two ids")
    return contents


def _special_ids(
    vocabulary: Mapping[str, int], added: Sequence[Mapping[str, Any]]
) -> Mapping[str, int]:
    unmarked = {content: vocabulary[content] for content in _CONTROL & vocabulary.keys()}
    marked = {
        entry["content"]: entry["id"]
        for entry in added
        if entry.get("special") or entry["content"] in _CONTROL
    }
    return MappingProxyType(unmarked | marked)


def _check_steps(values: Mapping[str, Any]) -> None:
    """Refuse what changes text before the BPE, and patterns that are not the family's."""
    if values.get("normalizer") is not None:
        raise TokenizerError("tokenizer.json: a normalizer changes the text")
    steps = _flatten(values.get("pre_tokenizer"))
    byte_level = [step for step in steps if step.get("type") == "ByteLevel"]
    if not byte_level or any(step.get("add_prefix_space", True) for step in byte_level):
        raise TokenizerError("tokenizer.json: not a byte-level BPE without a prefix space")
    for step in steps:
        kind = step.get("type")
        if kind == "Split" and _pattern(step) not in _KNOWN_PATTERNS:
            raise TokenizerError("tokenizer.json: pre_tokenizer: an unknown pattern")
        if kind not in ("ByteLevel", "Digits", "Split"):
            raise TokenizerError(
                f"tokenizer.json: pre_tokenizer: {str(kind)[:80]!r} is not supported"
            )


def _flatten(step: Any) -> list[dict[str, Any]]:
    """The single steps of a pre-tokenizer."""
    if not isinstance(step, dict):
        return []
    if step.get("type") == "Sequence":
        parts = step.get("pretokenizers")
        return [
            leaf for part in (parts if isinstance(parts, list) else []) for leaf in _flatten(part)
        ]
    return [step]


def _pattern(step: Mapping[str, Any]) -> Any:
    """The regular expression that a step splits at."""
    pattern = step.get("pattern")
    return pattern.get("Regex") if isinstance(pattern, dict) else pattern


def _check_alphabet(ordinary: Iterable[str]) -> None:
    strange: set[str] = set().union(*ordinary) - BYTE_OF.keys()
    if strange:
        raise TokenizerError(f"tokenizer.json: not a byte-level BPE: {min(strange)!a} is no byte")


def _encoder_json(values: Mapping[str, Any]) -> str:
    # Without added tokens nothing in a text can match one, marked as special or not.
    dropped = dict.fromkeys(("truncation", "padding", "post_processor"))
    return json.dumps({**values, **dropped, "added_tokens": []})
