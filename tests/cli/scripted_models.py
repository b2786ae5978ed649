"""Tiny checkpoints that write a known text; made without PyTorch. Knows no test."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

SPECIAL_TOKENS = (
    *("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<filename>"),
    *("<gh_stars>", "<issue_start>", "<issue_comment>", "<issue_closed>", "<jupyter_start>"),
    *("<jupyter_text>", "<jupyter_code>", "<jupyter_output>", "<empty_output>"),
    *("<commit_before>", "<commit_msg>", "<commit_after>", "<reponame>"),
)
END_OF_TEXT = 0
WIDTH = 64


def encode(text: str | bytes) -> list[int]:
    """Ids of a text in the tiny vocabulary: one for each byte."""
    data = text.encode() if isinstance(text, str) else text
    return [len(SPECIAL_TOKENS) + byte for byte in data]


def write_checkpoint(
    folder: Path, *, script: Sequence[int], at: int = 0, positions: int = 4096, sharp: float = 8.0
) -> Path:
    """Write a checkpoint that predicts `script[i]` at position `at + i`, then the end of the text.

    The one block adds nothing to the residual stream. The embedding of a position is that of the
    token to be predicted there, so that the tied head finds it; `sharp` scales the logits.
    """
    random = np.random.default_rng(7)
    vocabulary = len(SPECIAL_TOKENS) + 256
    tokens = random.standard_normal((vocabulary, WIDTH)).astype(np.float32)
    tokens -= tokens.mean(axis=1, keepdims=True)
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    targets = np.full(positions, END_OF_TEXT)
    targets[at : at + len(script)] = script[: positions - at]
    ones, zeros = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    tensors = {
        "transformer.wte.weight": tokens,
        "transformer.wpe.weight": 40 * tokens[targets],
        "transformer.ln_f.weight": ones * sharp,
        "transformer.ln_f.bias": zeros,
        **_idle_block(),
    }
    return _save(folder, tensors, _config(vocabulary, positions))


def write_classifier(
    folder: Path,
    endings: Mapping[str, bytes],
    *,
    positions: int = 64,
    sharp: float = 4.0,
    other: float = 0.0,
    **fields: Any,
) -> Path:
    """Write a checkpoint whose labels for a window of bytes are known from the last of them.

    A label's logit is `sharp` if that byte is among its endings, else `other`.
    """
    vocabulary = len(SPECIAL_TOKENS) + 256
    labels = [frozenset(encode(ending)) for ending in endings.values()]
    kinds = [tuple(token in ending for ending in labels) for token in range(vocabulary)]
    distinct = sorted(set(kinds))
    # One direction for every kind of byte, of the size that the last norm gives anyway.
    states = np.random.default_rng(7).standard_normal((len(distinct), WIDTH))
    states -= states.mean(axis=1, keepdims=True)
    states *= np.sqrt(WIDTH) / np.linalg.norm(states, axis=1, keepdims=True)
    tensors = {
        "transformer.wte.weight": states[[distinct.index(kind) for kind in kinds]],
        "transformer.wpe.weight": np.zeros((positions, WIDTH)),
        "transformer.ln_f.weight": np.ones(WIDTH),
        "transformer.ln_f.bias": np.zeros(WIDTH),
        "score.weight": (np.linalg.pinv(states) @ np.where(distinct, sharp, other)).T,
        **_idle_block(),
    }
    names = {str(place): name for place, name in enumerate(endings)}
    head = {"architectures": ["GPTBigCodeForSequenceClassification"], "id2label": names}
    return _save(folder, tensors, {**_config(vocabulary, positions), **head, **fields})


def _idle_block() -> dict[str, NDArray[np.float32]]:
    """A layer that adds nothing to what it reads."""
    ones, zeros = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    head = WIDTH // 2
    block = {
        "ln_1.weight": ones,
        "ln_1.bias": zeros,
        "ln_2.weight": ones,
        "ln_2.bias": zeros,
        "attn.c_attn.weight": np.zeros((WIDTH + 2 * head, WIDTH), np.float32),
        "attn.c_attn.bias": np.zeros(WIDTH + 2 * head, np.float32),
        "attn.c_proj.weight": np.zeros((WIDTH, WIDTH), np.float32),
        "attn.c_proj.bias": zeros,
        "mlp.c_fc.weight": np.zeros((WIDTH, WIDTH), np.float32),
        "mlp.c_fc.bias": zeros,
        "mlp.c_proj.weight": np.zeros((WIDTH, WIDTH), np.float32),
        "mlp.c_proj.bias": zeros,
    }
    return {f"transformer.h.0.{name}": value for name, value in block.items()}


def _save(folder: Path, tensors: dict[str, Any], config: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    save_file(
        {name: np.ascontiguousarray(value) for name, value in tensors.items()},
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer()), "utf-8")
    return folder


def _config(vocabulary: int, positions: int) -> dict[str, Any]:
    return {
        "model_type": "gpt_bigcode",
        "architectures": ["GPTBigCodeForCausalLM"],
        "vocab_size": vocabulary,
        "n_positions": positions,
        "n_embd": WIDTH,
        "n_layer": 1,
        "n_head": 2,
        "n_inner": WIDTH,
        "multi_query": True,
        "bos_token_id": END_OF_TEXT,
        "eos_token_id": END_OF_TEXT,
    }


def _tokenizer() -> dict[str, Any]:
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in itself]
    spelled = {byte: chr(byte) for byte in itself}
    spelled |= {byte: chr(0x100 + place) for place, byte in enumerate(others)}
    vocabulary = {content: number for number, content in enumerate(SPECIAL_TOKENS)}
    vocabulary |= {spelled[byte]: len(SPECIAL_TOKENS) + byte for byte in range(256)}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": number, "content": content, "special": True, **plain}
        for number, content in enumerate(SPECIAL_TOKENS)
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {**level, "use_regex": True},
        "decoder": {**level, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }


def numbered_lines(count: int) -> str:
    """A text that never repeats itself, so that no loop guard cuts it."""
    return "".join(f"value_{number} = {number * number}\n" for number in range(count))
