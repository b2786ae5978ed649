"""Writes a checkpoint directory that every reader of the GPTBigCode format loads unchanged.

Run as `python -m training.export --target DIR`, at any time of a run.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gpt_bigcode.checkpoint.loading import save_model
from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM
from training.paths import WORK
from training.shape import configuration
from training.train_tokenizer import SPECIAL_TOKENS

if TYPE_CHECKING:
    from gpt_bigcode.config import GPTBigCodeConfig


def restore(path: Path, *, averaged: bool) -> GPTBigCodeForCausalLM:
    """The model in a training checkpoint; averaged weights if wanted and there."""
    saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    config: GPTBigCodeConfig = replace(configuration(), n_layer=saved["layers"])
    model = GPTBigCodeForCausalLM(config)
    model.load_state_dict(saved["model"])
    if averaged and saved["average"]:
        model.load_state_dict(saved["average"], strict=False)
    return model.eval()


def write(model: GPTBigCodeForCausalLM, tokenizer: Path, target: Path) -> None:
    """config.json, model.safetensors in bfloat16, tokenizer files, generation_config.json."""
    save_model(model.to(torch.bfloat16), target)
    write_tokenizer(tokenizer, target, model.config.n_positions)
    _write_json(target / "generation_config.json", {"bos_token_id": 0, "eos_token_id": 0})


def write_tokenizer(tokenizer: Path, target: Path, positions: int) -> None:
    """tokenizer.json and the file that tells other programs which tokens are special."""
    shutil.copyfile(tokenizer, target / "tokenizer.json")
    end = SPECIAL_TOKENS[0]
    details = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end,
        "eos_token": end,
        "unk_token": end,
        "additional_special_tokens": list(SPECIAL_TOKENS),
        "model_max_length": positions,
        "clean_up_tokenization_spaces": False,
    }
    _write_json(target / "tokenizer_config.json", details)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    """Reads the options, exports, prints what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--run", default="pocket-coder")
    parser.add_argument("--last", action="store_true", help="the last weights, not the average")
    options = parser.parse_args()
    model = restore(WORK / "runs" / options.run / "checkpoint.pt", averaged=not options.last)
    write(model, WORK / "tokenizer.json", options.target)
    for path in sorted(options.target.iterdir()):
        print(f"{path.stat().st_size:>12,} {path.name}")


if __name__ == "__main__":
    main()
