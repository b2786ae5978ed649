"""Tiny token classifiers that label the bytes they are told to; made without PyTorch.

Knows no test.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from string import ascii_uppercase, digits
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from scripted_models import WIDTH, encode, write_checkpoint

LABELS = {"KEY": ascii_uppercase, "DIGITS": f"{digits}@"}
"""Capital letters are keys; digits and the at sign have a label of no known shape."""
SURE = 0.99


def write_tagger(
    folder: Path,
    labels: Mapping[str, str] | None = None,
    *,
    positions: int = 64,
    scores: Mapping[str, float] | None = None,
    tagging: Any = None,
) -> Path:
    """Write a checkpoint that labels every byte by itself, wherever it stands.

    Args:
        folder: where.
        labels: label -> the characters that get it; all others get O. Default: `LABELS`.
        positions: the model's context.
        scores: how sure it is of single characters, instead of `SURE`.
        tagging: what config.json says under that name.
    """
    labels = LABELS if labels is None else labels
    write_checkpoint(folder, script=[], positions=positions)
    tensors: dict[str, Any] = load_file(folder / "model.safetensors")
    names = ["O", *labels]
    wanted = {(0, SURE): ""}
    for number, characters in enumerate(labels.values(), start=1):
        for character in characters:
            key = number, (scores or {}).get(character, SURE)
            wanted[key] = wanted.get(key, "") + character
    targets = _targets(list(wanted), len(names))
    kinds = np.zeros(len(tensors["transformer.wte.weight"]), np.int64)
    for kind, characters in enumerate(wanted.values()):
        kinds[encode(characters)] = kind
    rows = np.eye(len(wanted), WIDTH, dtype=np.float32)
    normed = (rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, keepdims=True)
    tensors["transformer.wte.weight"] = rows[kinds] * 100
    tensors["transformer.wpe.weight"] = np.zeros((positions, WIDTH), np.float32)
    tensors["transformer.ln_f.weight"] = np.ones(WIDTH, np.float32)
    tensors["classifier.weight"] = (np.linalg.pinv(normed) @ targets).T.astype(np.float32).copy()
    tensors["classifier.bias"] = np.zeros(len(names), np.float32)
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["architectures"] = ["GPTBigCodeForTokenClassification"]
    config["id2label"] = {str(number): name for number, name in enumerate(names)}
    if tagging is not None:
        config["tagging"] = tagging
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


def _targets(wanted: list[tuple[int, float]], count: int) -> NDArray[np.float64]:
    """The logits of every kind of byte: what is not the label's is that of O, nearly."""
    shares = np.full((len(wanted), count), 1e-9)
    for row, (label, share) in enumerate(wanted):
        shares[row, 0] = 1 - share
        shares[row, label] = share
    return np.asarray(np.log(shares))
