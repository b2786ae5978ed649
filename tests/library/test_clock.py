"""Greedy text never depends on the clock: random delays, guesses allowed, both engines.

Every prompt is written three times: plainly, and twice with guesses and different delays before
every pass of the model. The texts and the passes must be the same. The full 500 prompts take ten
minutes on one core.
"""

import random
import sysconfig
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amounts import amount
from gpt_bigcode.backends.interfaces import StepDecoder
from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.backends.torch_decoder import TorchDecoder
from gpt_bigcode.checkpoint.loading import load_model
from gpt_bigcode.generation.loop import Generation, Limits, Sampler
from gpt_bigcode.generation.speculative import PromptLookup, SpeculativeDecoder
from gpt_bigcode.loading import model_folder
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

PROMPTS = amount(full=500, usual=6)
TOKENS = 16
PROMPT_TOKENS = 48
MOST_DELAY_SECONDS = 0.004


class Passes:
    """A decoder that prefills a prompt once, stalls before its passes and notes their sizes."""

    def __init__(self, decoder: StepDecoder) -> None:
        self.sizes: list[int] = []
        self.delays: random.Random | None = None
        self._decoder, self._prompt = decoder, [0]
        self._logits: np.ndarray = np.empty(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._decoder, name)

    def prefill(self, prompts: Sequence[Sequence[int]]) -> np.ndarray:
        (prompt,) = prompts
        if self._prompt != prompt:
            self._prompt, self._logits = list(prompt), self._decoder.prefill(prompts).copy()
        self._decoder.truncate(len(prompt))
        return self._logits.copy()

    def decode(self, tokens: Sequence[int]) -> np.ndarray:
        self._stall(1)
        return self._decoder.decode(tokens)

    def append(self, tokens: Sequence[int]) -> np.ndarray:
        self._stall(len(tokens))
        return self._decoder.append(tokens)

    def _stall(self, tokens: int) -> None:
        self.sizes.append(tokens)
        if self.delays is not None and self.delays.random() < 0.3:
            time.sleep(self.delays.random() * MOST_DELAY_SECONDS)


def prompts(tokenizer: CodeTokenizer) -> Iterator[list[int]]:
    """Places in the files of the standard library, spread over all of them."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    chance = random.Random(15)
    while True:
        text = chance.choice(files).read_text("utf-8", errors="ignore")
        end = chance.randrange(len(text) + 1)
        ids = tokenizer.encode(text[max(end - 8 * PROMPT_TOKENS, 0) : end])[-PROMPT_TOKENS:]
        if len(ids) == PROMPT_TOKENS:
            yield ids


def write(decoder: Any, prompt: list[int]) -> tuple[int, ...]:
    steps = Generation(decoder, [prompt], limits=Limits(TOKENS))
    return tuple(token.id for step in steps for token in step)


def write_with_guesses(passes: Passes, prompt: list[int], seed: int) -> tuple[Any, ...]:
    """The text, the sizes of all passes, how many tokens were guessed and how many were right."""
    passes.sizes, passes.delays = [], random.Random(seed)
    # A drafter that is named may guess at once, it need not earn it first.
    ahead = SpeculativeDecoder(
        passes,
        sampler=Sampler(),
        max_tokens=TOKENS,
        drafter=PromptLookup(),
    )
    text = write(ahead, prompt)
    passes.delays = None
    return text, tuple(passes.sizes), ahead.drafted, ahead.accepted


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_greedy_text_with_guesses_does_not_depend_on_the_clock(engine: str) -> None:
    folder = model_folder("pocket-coder")
    decoder: Any = NumpyDecoder.load(folder)
    if engine == "torch":
        decoder = TorchDecoder(load_model(folder))  # type: ignore[arg-type]
    passes = Passes(decoder)
    texts = prompts(CodeTokenizer.from_file(folder / "tokenizer.json"))
    guesses = prompts_with_accepted = 0
    for number in range(PROMPTS):
        prompt = next(texts)
        runs = {write_with_guesses(passes, prompt, seed + number) for seed in (1000, 2000)}
        assert len(runs) == 1, f"prompt {number}"
        ((text, _, drafted, right),) = runs
        assert text == write(passes, prompt), f"prompt {number}"
        guesses += drafted
        prompts_with_accepted += right > 0
    assert guesses > PROMPTS
    assert prompts_with_accepted > PROMPTS / 5
