"""Greedy texts of the built-in model in NumPy and in PyTorch float32, token by token.

Knows no sampling. Prompts are what stands before random lines of installed packages' files. At the
first token that differs it tells how far the best two logits are apart, and by how much the two
engines' logits differ there: products are summed in another order, so ties may fall either way.

Run: python benchmarks/engines_agree.py [--prompts 300] [--tokens 32]
"""

import argparse
import os
import random
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import torch

import pocket_coder
from contest import machine
from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.backends.torch_decoder import TorchDecoder
from gpt_bigcode.checkpoint.loading import load_model
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from speculation_texts import behind_code

BUILT_IN = Path(pocket_coder.__path__[0])


@dataclass(frozen=True)
class Difference:
    """Where two texts part.

    Attributes:
        prompt: its number.
        token: how many tokens were equal.
        gap_in_numpy: the best logit less the second.
        gap_in_torch: the same there.
        error: the largest difference of a logit between the engines.
        other_ranks: whether each engine's choice is not the other's second.
    """

    prompt: int
    token: int
    gap_in_numpy: float
    gap_in_torch: float
    error: float
    other_ranks: bool


class Pair:
    """Both engines, which read the same tokens."""

    def __init__(self) -> None:
        """Load both."""
        self.numpy = NumpyDecoder.load(BUILT_IN)
        self.torch = TorchDecoder(load_model(BUILT_IN, dtype=torch.float32))  # type: ignore[arg-type]
        self.errors: list[float] = []
        self.gaps: list[float] = []

    def follow(self, number: int, prompt: list[int], tokens: int) -> Difference | None:
        """Write greedily until the texts part; None if they do not."""
        ours, theirs = self.numpy.prefill([prompt])[0], self.torch.prefill([prompt])[0]
        for count in range(tokens):
            error = float(np.abs(ours - theirs).max())
            self.errors.append(error)
            self.gaps.append(_gap(ours))
            token, other = int(ours.argmax()), int(theirs.argmax())
            if token != other:
                seconds = int(np.argsort(ours)[-2]), int(np.argsort(theirs)[-2])
                ranks = seconds != (other, token)
                return Difference(number, count, _gap(ours), _gap(theirs), error, ranks)
            if count + 1 < tokens:
                ours, theirs = self.numpy.decode([token])[0], self.torch.decode([token])[0]
        return None


def _gap(logits: np.ndarray) -> float:
    second, first = np.partition(logits, -2)[-2:]
    return float(first - second)


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--context", type=int, default=256, help="the most tokens of a prompt")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    tokenizer = CodeTokenizer.from_file(BUILT_IN / "tokenizer.json")
    pair = Pair()
    texts = behind_code(random.Random(arguments.seed))  # noqa: S311 - the same for everyone
    room = min(arguments.context, pair.numpy.context_length - arguments.tokens)
    differences, lengths = [], []
    for number in range(arguments.prompts):
        prompt = tokenizer.encode(next(texts)[0])[-room:] or list(tokenizer.end_ids)[:1]
        lengths.append(len(prompt))
        found = pair.follow(number, prompt, arguments.tokens)
        if found is not None:
            differences.append(found)
    print(f"{machine()}\n")
    print(
        f"{arguments.prompts} prompts of {min(lengths)} to {max(lengths)} tokens "
        f"(median {int(np.median(lengths))}), {len(pair.errors)} steps compared. Largest difference"
        f" of a logit: median {np.median(pair.errors):.1e}, at most {max(pair.errors):.1e}. "
        f"Smallest distance of the best two: {min(pair.gaps):.1e}. "
        f"Texts that differ: {len(differences)}.\n"
    )
    if differences:
        print(
            "| prompt | equal tokens | best two apart, NumPy | PyTorch | logits differ by | tie |"
        )
        print("|---" * 6 + "|")
    for one in differences:
        tie = "no" if one.other_ranks or one.gap_in_numpy > 2 * one.error else "yes"
        print(
            f"| {one.prompt} | {one.token} | {one.gap_in_numpy:.1e} | {one.gap_in_torch:.1e} "
            f"| {one.error:.1e} | {tie} |"
        )


if __name__ == "__main__":
    main()
