"""Which tokens end a text: what the vocabulary, config.json and generation_config.json name."""

from pathlib import Path

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import ConfigError, MissingFileError
from gpt_bigcode.reading import read_json_object
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

GENERATION_FILE = "generation_config.json"
_MAX_BYTES = 1 << 20


def end_token_ids(
    tokenizer: CodeTokenizer, config: GPTBigCodeConfig, directory: Path
) -> frozenset[int]:
    """Every control token, and the `eos_token_id` of config.json and generation_config.json.

    A fine-tuned model may end its answers with a token that the tokenizer does not mark as special.
    Ids that the vocabulary lacks are left out: files of the family often keep GPT-2's 50256.

    Raises:
        ConfigError: generation_config.json names an end token that is no token id.
        UnreadableFileError: generation_config.json is damaged.
    """
    named = {*config.end_token_ids, *_generation_ids(directory)}
    return tokenizer.control_ids | {token for token in named if tokenizer.has(token)}


def _generation_ids(directory: Path) -> tuple[int, ...]:
    try:
        values = read_json_object(directory / GENERATION_FILE, max_bytes=_MAX_BYTES)
    except MissingFileError:
        return ()
    ends = values.get("eos_token_id")
    listed = ends if isinstance(ends, list) else [] if ends is None else [ends]
    if not all(type(token) is int for token in listed):
        raise ConfigError(f"{GENERATION_FILE}: eos_token_id: expected token ids")
    return tuple(listed)
