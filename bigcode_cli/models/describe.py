"""Describes what a checkpoint can do and needs, from headers, without loading it."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gpt_bigcode.checkpoint.tensor_index import CONFIG_FILE, stored_formats, weight_files
from gpt_bigcode.config import MAX_CONFIG_BYTES, GPTBigCodeConfig, read_json_object
from gpt_bigcode.errors import GPTBigCodeError, UnreadableFileError
from gpt_bigcode.hardware import Precision, weight_bytes
from gpt_bigcode.reading import open_checked, read_checked
from gpt_bigcode.tokenization.tokenizer_json import INFILL_SPELLINGS, MAX_TOKENIZER_BYTES
from gpt_bigcode.tokenization.vocab_files import has_vocab_files, tokenizer_values

# Of the key/value cache, which is float32 for quantized weights.
BYTES_PER_NUMBER = MappingProxyType(
    {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 4, "int4": 4}
)
_STORED = MappingProxyType(
    {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
)
_LANGUAGE_MODEL = "GPTBigCodeForCausalLM"
_CLASSIFIER, _TAGGER = "GPTBigCodeForSequenceClassification", "GPTBigCodeForTokenClassification"
_LANGUAGE_MODELS = frozenset({_LANGUAGE_MODEL, "GPTBigCodeLMHeadModel"})
_ADDED_TOKENS = re.compile(r'"added_tokens"\s*:\s*')
_LICENCE = re.compile(r"^license(?:_name)?:[ \t]*[\"']?([^\s\"'#]+)", re.MULTILINE)
_CARD_BYTES = 1 << 16
_TOKENIZER_FILE, _CARD_FILE = "tokenizer.json", "README.md"


@dataclass(frozen=True, kw_only=True)
class Description:
    """What config.json and the tokenizer say about a checkpoint.

    Attributes:
        architecture: the class that config.json names.
        config: the configuration.
        infill_tokens: prefix, middle and suffix as the vocabulary spells them, if it has them.
        labels: the labels of a classifier or tagger; empty for a language model.
        tasks: the commands that it can run.
    """

    architecture: str
    config: GPTBigCodeConfig
    infill_tokens: tuple[str, ...]
    labels: tuple[str, ...]
    tasks: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """Parameters of the trunk and the tied head."""
        return self.config.parameter_count()

    def cache_bytes_per_token(self, precision: str) -> int:
        """Bytes of keys and values of one token."""
        config = self.config
        numbers = 2 * config.n_layer * config.kv_heads * config.head_dim
        return numbers * BYTES_PER_NUMBER[precision]

    def memory_bytes(self, precision: str) -> int:
        """Bytes of the weights and of a full context."""
        weights = weight_bytes(Precision(precision), self.parameters)
        return weights + self.config.n_positions * self.cache_bytes_per_token(precision)


def describe(folder: Path) -> Description:
    """Describe the checkpoint in a folder.

    Raises:
        GPTBigCodeError: config.json, the tokenizer or weights are missing, or of another family.
    """
    values = read_json_object(folder / CONFIG_FILE, MAX_CONFIG_BYTES)
    config = GPTBigCodeConfig.from_dict(values)
    weight_files(folder)
    architecture = _architecture(values)
    has_tokenizer = os.path.lexists(folder / _TOKENIZER_FILE) or has_vocab_files(folder)
    infill = _infill_tokens(folder) if has_tokenizer else ()
    tasks = _tasks(architecture, can_infill=bool(infill)) if has_tokenizer else ()
    return Description(
        architecture=architecture,
        config=config,
        infill_tokens=infill,
        labels=_labels(architecture, config),
        tasks=tasks,
    )


def describe_if_whole(folder: Path) -> Description | None:
    """Describe the checkpoint in a folder; None if it is missing, incomplete or damaged."""
    try:
        return describe(folder)
    except (GPTBigCodeError, OSError):
        return None


def stored_precision(folder: Path) -> str:
    """Name the number formats of the stored weights.

    Raises:
        GPTBigCodeError: the weights are missing, or damaged.
    """
    kinds = stored_formats(folder)
    return ", ".join(sorted(_STORED.get(kind, kind.lower()) for kind in kinds)) or "unknown"


def licence(folder: Path) -> str | None:
    """Read the licence that the card's header names."""
    try:
        with open_checked(folder / _CARD_FILE) as stream:
            text = stream.read(_CARD_BYTES).decode("utf-8", "replace")
    except (UnreadableFileError, OSError):
        return None
    if not text.startswith("---"):
        return None
    found = _LICENCE.search(text[: text.find("\n---", 3)])
    return found[1] if found else None


def _architecture(values: dict[str, Any]) -> str:
    names = values.get("architectures") or [_LANGUAGE_MODEL]
    return str(names[0] if isinstance(names, list) else names)


def _labels(architecture: str, config: GPTBigCodeConfig) -> tuple[str, ...]:
    """Return the labels of a head; those of a tagger without prefixes such as B-."""
    names = [name for _, name in sorted((config.id2label or {}).items())]
    if architecture == _TAGGER:
        names = [re.sub(r"^[BIES]-", "", name) for name in names if name != "O"]
    is_labelling = architecture in (_CLASSIFIER, _TAGGER)
    return tuple(dict.fromkeys(names)) if is_labelling else ()


def _tasks(architecture: str, *, can_infill: bool) -> tuple[str, ...]:
    if architecture in _LANGUAGE_MODELS:
        return ("complete", "infill", "score") if can_infill else ("complete", "score")
    return {_CLASSIFIER: ("classify",), _TAGGER: ("tag",)}.get(architecture, ())


def _infill_tokens(folder: Path) -> tuple[str, ...]:
    path = folder / _TOKENIZER_FILE
    spelled = _added_tokens(path) if os.path.lexists(path) else _tokens_of_parts(folder)
    for spelling in INFILL_SPELLINGS:
        names = tuple(spelling.format(part) for part in ("prefix", "middle", "suffix"))
        if spelled.issuperset(names):
            return names
    return ()


def _tokens_of_parts(folder: Path) -> set[str]:
    """Read the tokens of a tokenizer that is built from vocab.json and merges.txt."""
    values = tokenizer_values(folder, max_bytes=MAX_TOKENIZER_BYTES)
    return {*values["model"]["vocab"], *(entry["content"] for entry in values["added_tokens"])}


def _added_tokens(path: Path) -> set[str]:
    """Read the added tokens only: the vocabulary after them is a hundred times longer."""
    text = read_checked(path, max_bytes=MAX_TOKENIZER_BYTES).decode("utf-8", "replace")
    found = _ADDED_TOKENS.search(text)
    if found is None:
        return set()
    try:
        entries, _ = json.JSONDecoder().raw_decode(text, found.end())
    except (ValueError, RecursionError):
        return set()
    entries = entries if isinstance(entries, list) else []
    contents = (entry.get("content") for entry in entries if isinstance(entry, dict))
    return {content for content in contents if isinstance(content, str)}
