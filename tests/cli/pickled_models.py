"""Checkpoints whose weights are pickles, harmless and not. Knows no test."""

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

WEIGHTS, PICKLE = "model.safetensors", "pytorch_model.bin"


def as_pickle(source: Path, target: Path, *, shards: int = 1) -> dict[str, Tensor]:
    """Copy a checkpoint, its weights as pickles in several types, with what old files carry."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(WEIGHTS))
    tensors = load_file(source / WEIGHTS)
    for number, name in enumerate(sorted(tensors)):
        kind = (torch.float32, torch.float16, torch.bfloat16)[number % 3]
        if ".h." in name:
            tensors[name] = tensors[name].to(kind)
    stored = {**tensors, "lm_head.weight": tensors["transformer.wte.weight"]}
    stored["transformer.h.0.attn.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    stored["transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4)
    if shards == 1:
        torch.save(stored, target / PICKLE)
        return tensors
    names = [f"pytorch_model-{n:05}-of-{shards:05}.bin" for n in range(1, shards + 1)]
    places = {key: names[at % shards] for at, key in enumerate(sorted(stored))}
    for name in names:
        part = {key: stored[key] for key, place in places.items() if place == name}
        torch.save(part, target / name)
    (target / f"{PICKLE}.index.json").write_text(json.dumps({"weight_map": places}), "utf-8")
    return tensors


class Payload:
    """Runs a command when it is unpickled carelessly."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self._canary}",)


def write_hostile(path: Path, form: str, canary: Path) -> None:
    """Write a pickle that would make `canary`, or would unpack to much more than it is."""
    tensors = {"a": torch.zeros(2), "b": Payload(canary)}
    if form == "archive":
        torch.save(tensors, path)
    elif form == "legacy":
        torch.save(tensors, path, _use_new_zipfile_serialization=False)
    elif form == "raw":
        path.write_bytes(pickle.dumps(tensors))
    elif form == "packed":
        plain = path.with_suffix(".plain")
        torch.save({"a": torch.zeros(10_000_000)}, plain)
        with (
            zipfile.ZipFile(plain) as old,
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
        ):
            for entry in old.infolist():
                new.writestr(entry.filename, old.read(entry))
        plain.unlink()
    else:
        raise AssertionError(form)
