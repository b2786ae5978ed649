"""A few small sources and a tokenizer of them, for tests of the training recipe."""

from pathlib import Path

from tokenizers import Tokenizer

from training.documents import load_tokenizer
from training.train_tokenizer import train

SOURCE = '''def area(width, height):
    """Größe in m² — of a 12 by 34 field."""
    if width < 0:
        raise ValueError("width: 2024")
    return width * height
'''
TEXTS = [SOURCE, SOURCE.replace("area", "volume") * 3, "x = [1, 2, 3]\n" * 40]


def small_tokenizer(folder: Path) -> Tokenizer:
    """300 tokens: the special ones, the bytes, and a few merges."""
    train(TEXTS, vocabulary=300).save(str(folder / "tokenizer.json"))
    return load_tokenizer(str(folder / "tokenizer.json"))
