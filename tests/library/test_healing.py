"""A prompt may be cut anywhere: a model that writes ordinary tokens goes on exactly there."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gpt_bigcode.completion.options import CompletionOptions
from gpt_bigcode.completion.text_model import TextModel
from gpt_bigcode.generation.token_masks import Healing
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

SAMPLE = """\
def area(width, height):
    if width < 0 or height < 0:
        raise ValueError("negative size: %d x %d" % (width, height))
    return width * height


for number in range(2024):
    print(number, "größer", "日本語", "😀", sep=", ")
"""
WORDS = (b"", b"a", b"ab", b"abc", b"b", b"c", b"\n", b"\n  ")


@pytest.mark.parametrize(
    ("start", "written", "allowed"),
    [
        pytest.param(b"a", [], {1, 2, 3}, id="longer-tokens-too"),
        pytest.param(b"ab", [], {1, 2, 3}, id="shorter-ones-that-lead-there"),
        pytest.param(b"ab", [1], {4}, id="the-rest"),
        pytest.param(b"ab", [1, 4], set(range(8)), id="spelled"),
        pytest.param(b"ab", [3, 6], set(range(8)), id="gone-beyond"),
        pytest.param(b"\n", [], {6, 7}, id="a-line-break-with-its-indentation"),
    ],
)
def test_only_what_spells_the_start_is_possible(
    start: bytes, written: list[int], allowed: set[int]
) -> None:
    logits = np.arange(10, dtype=np.float32)  # two rows of the table that no token has
    healed = Healing(start, WORDS)(logits, written)
    if len(allowed) == len(WORDS):
        assert np.array_equal(healed, logits)
    else:
        assert set(np.flatnonzero(healed > -math.inf)) == allowed
        assert all(healed[token] == logits[token] for token in allowed)


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint: Path) -> CodeTokenizer:
    return CodeTokenizer.from_file(tiny_checkpoint / "tokenizer.json")


class Writer:
    """Knows the text's own tokens; writes the one that stands where the prompt ends."""

    context_length = 4096
    vocabulary_size = 400

    def __init__(self, ids: Sequence[int], sizes: Sequence[int], tokenizer: CodeTokenizer) -> None:
        self.borders = dict(zip(np.cumsum([0, *sizes[:-1]]).tolist(), ids, strict=True))
        self.tokenizer = tokenizer
        self.place = 0

    def prefill(self, prompts: Sequence[Sequence[int]]) -> np.ndarray:
        self.place = len(self.tokenizer.decode_bytes(prompts[0]))
        return self._logits()

    def decode(self, tokens: Sequence[int]) -> np.ndarray:
        self.place += len(self.tokenizer.token_bytes(tokens[0]))
        return self._logits()

    def select_rows(self, rows: Sequence[int]) -> None:
        assert list(rows) == [0]

    def _logits(self) -> np.ndarray:
        logits = np.zeros((1, self.vocabulary_size), np.float32)
        logits[0, self.borders.get(self.place, 0)] = 9.0
        return logits


@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_any_cut_is_continued_exactly(tokenizer: CodeTokenizer, temperature: float) -> None:
    ids = tokenizer.encode(SAMPLE)
    writer = Writer(ids, [len(tokenizer.token_bytes(token)) for token in ids], tokenizer)
    model = TextModel(writer, tokenizer)
    top_k = 1 if temperature else 0
    options = CompletionOptions(max_tokens=1000, temperature=temperature, top_k=top_k, seed=1)
    healed = 0
    for place in range(1, len(SAMPLE)):
        prompt = SAMPLE[:place]
        last = tokenizer.encode(prompt)[-1]
        if len(prompt.encode()) - len(tokenizer.token_bytes(last)) in writer.borders:
            assert model.complete(prompt, options).choices[0].text == SAMPLE[place:]
            healed += 1
    # Elsewhere the text's own tokens do not begin where the prompt's last token does.
    assert healed > len(SAMPLE) / 2


def test_a_prompt_of_one_token_stays(tokenizer: CodeTokenizer, tiny_checkpoint: Path) -> None:
    model = TextModel.load(tiny_checkpoint)
    for prompt in ("", "d", "\n"):
        completion = model.complete(prompt, CompletionOptions(max_tokens=4))
        assert completion.prompt_tokens >= 1
