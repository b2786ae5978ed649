"""The weighted mean of exported checkpoints that grew from the same weights.

Run as `python -m training.languages.mean --target DIR 0.3=FIRST 0.7=SECOND`: better than either on
packages that neither saw (Wortsman et al. 2022, "Model soups").
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from collections.abc import Sequence

WEIGHTS = "model.safetensors"


def write(target: Path, parts: Sequence[tuple[float, Path]]) -> None:
    """Write their mean; everything but the weights is that of the first.

    Args:
        target: a new directory, or one to write over.
        parts: of each checkpoint its weight and its directory.
    """
    shutil.copytree(parts[0][1], target, dirs_exist_ok=True)
    states = [(weight, load_file(folder / WEIGHTS)) for weight, folder in parts]
    total = sum(weight for weight, _ in states)
    mean = {}
    for name, value in states[0][1].items():
        summed = torch.stack([weight * state[name].float() for weight, state in states]).sum(dim=0)
        mean[name] = (summed / total).to(value.dtype).contiguous()
    save_file(mean, target / WEIGHTS, metadata={"format": "pt"})


def weighted(text: str) -> tuple[float, Path]:
    """A weight and a directory, from the command line."""
    weight, _, folder = text.partition("=")
    if not folder or float(weight) <= 0:
        raise argparse.ArgumentTypeError("expected WEIGHT=DIR, for example 0.5=checkpoint")
    return float(weight), Path(folder)


def main() -> None:
    """Reads the options, writes the mean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("parts", type=weighted, nargs="+", metavar="WEIGHT=DIR")
    options = parser.parse_args()
    write(options.target, options.parts)


if __name__ == "__main__":
    main()
