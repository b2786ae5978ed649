"""Writes the classifier's checkpoint directory, which every reader of the format loads unchanged.

Run as `python -m training.languages.export --target DIR`, at any time of a
run. The model card and the report in the directory stay as they are.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from gpt_bigcode.checkpoint.loading import save_model
from gpt_bigcode.modeling.heads import GPTBigCodeForSequenceClassification
from training.languages.shape import PAD, configuration
from training.languages.snippets import tokenizer_path
from training.languages.sources import HOME
from training.train_tokenizer import SPECIAL_TOKENS


def restore(path: Path, *, averaged: bool) -> GPTBigCodeForSequenceClassification:
    """The model in a training checkpoint; averaged weights if wanted and there."""
    saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    model = GPTBigCodeForSequenceClassification(configuration())
    model.load_state_dict(saved["model"])
    if averaged and saved["average"]:
        model.load_state_dict(saved["average"], strict=False)
    return model.eval()


def write(model: GPTBigCodeForSequenceClassification, tokenizer: Path, target: Path) -> None:
    """config.json, model.safetensors in bfloat16, tokenizer.json, tokenizer_config.json."""
    save_model(model.to(torch.bfloat16), target)
    shutil.copyfile(tokenizer, target / "tokenizer.json")
    details = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL_TOKENS[0],
        "eos_token": SPECIAL_TOKENS[0],
        "unk_token": SPECIAL_TOKENS[0],
        "pad_token": SPECIAL_TOKENS[PAD],
        "additional_special_tokens": list(SPECIAL_TOKENS),
        "model_max_length": model.config.n_positions,
        "clean_up_tokenization_spaces": False,
    }
    text = json.dumps(details, indent=2, sort_keys=True) + "\n"
    (target / "tokenizer_config.json").write_text(text, encoding="utf-8")


def main() -> None:
    """Reads the options, exports, prints what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--run", default="pocket-languages")
    parser.add_argument("--last", action="store_true", help="the last weights, not the average")
    options = parser.parse_args()
    model = restore(HOME / "runs" / options.run / "checkpoint.pt", averaged=not options.last)
    write(model, tokenizer_path(), options.target)
    for path in sorted(options.target.iterdir()):
        print(f"{path.stat().st_size:>12,} {path.name}")


if __name__ == "__main__":
    main()
