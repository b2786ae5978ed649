"""Compares `bigcode score --window disjoint` with lm-eval's own rolling log-likelihood, on values.

Not part of the test suite: lm-eval brings some sixty packages. Install it where bigcode is
(`pip install 'lm_eval==0.4.*'`), then: python benchmarks/compare_lm_eval.py [-m FOLDER] FILE...
Ends with 1 if a file differs by more than 1e-4 of its value. Files that spell control tokens are
left out: lm-eval's tokenizer reads them as such, ours as text.
"""

import argparse
import json
import math
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from bigcode_cli.models.resolve import find_model
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

TOLERANCE = 1e-4
SPECIAL = {"eos_token": "<|endoftext|>"}


def main() -> int:
    """Compare all files, one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--model", help="a folder; default: the built-in model")
    parser.add_argument("files", nargs="+", type=Path)
    arguments = parser.parse_args()
    folder = find_model(arguments.model).directory
    special = CodeTokenizer.from_file(folder / "tokenizer.json").special_ids
    texts = {path: path.read_bytes().decode() for path in arguments.files}
    texts = {path: text for path, text in texts.items() if not any(s in text for s in special)}
    ours = _score(folder, list(texts))
    theirs = _rolling(folder, list(texts.values()))
    worst = 0.0
    for path, entry, other in zip(texts, ours, theirs, strict=True):
        difference = abs(entry["nll"] + other) / entry["nll"]
        worst = max(worst, difference)
        bits = -other / entry["bytes"] / math.log(2)
        print(
            f"{path.name}: {entry['tokens']} tokens, {entry['windows']} windows,"
            f" nll {entry['nll']:.4f}, lm-eval {-other:.4f};"
            f" bits/byte {entry['bits_per_byte']:.6f}, lm-eval {bits:.6f};"
            f" difference {difference:.1e}"
        )
    print(f"{len(ours)} files, worst difference {worst:.1e}")
    return int(worst > TOLERANCE)


def _score(folder: Path, files: list[Path]) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "bigcode_cli", "score", "-m", str(folder)]
    options = ["--window", "disjoint", "--format", "json", "--no-cache", "--"]
    done = subprocess.run([*command, *options, *files], check=True, stdout=subprocess.PIPE)
    entries: list[dict[str, Any]] = json.loads(done.stdout)["files"]
    return entries


def _rolling(folder: Path, texts: list[str]) -> list[float]:
    """What lm-eval computes, with its class for models of transformers."""
    api = import_module("lm_eval.api.instance")
    huggingface = import_module("lm_eval.models.huggingface")
    from transformers import GPTBigCodeForCausalLM, PreTrainedTokenizerFast

    model: Any = GPTBigCodeForCausalLM.from_pretrained(folder, dtype="float32")
    tokenizer_class: Any = PreTrainedTokenizerFast
    tokenizer = tokenizer_class(tokenizer_file=str(folder / "tokenizer.json"), **SPECIAL)
    peer = huggingface.HFLM(pretrained=model, tokenizer=tokenizer, device="cpu", batch_size=1)
    requests = [
        api.Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=place)
        for place, text in enumerate(texts)
    ]
    return [float(value) for value in peer.loglikelihood_rolling(requests, disable_tqdm=True)]


if __name__ == "__main__":
    sys.exit(main())
