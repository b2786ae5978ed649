"""Speculative = plain on the real engines and the built-in model."""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amounts import amount
from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.backends.torch_decoder import TorchDecoder
from gpt_bigcode.checkpoint.loading import load_model, save_model
from gpt_bigcode.config import ACTIVATIONS
from gpt_bigcode.generation.loop import Sampler
from gpt_bigcode.generation.speculative import LONGEST_DRAFT, SpeculationBudget, SpeculativeDecoder
from reference_models import make_ours, tiny_fields
from written_texts import write


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every guess is checked."""
    monkeypatch.setattr(SpeculationBudget, "most", lambda _self, **_: LONGEST_DRAFT)
    monkeypatch.setattr(SpeculationBudget, "length", lambda _self, shares: len(shares))


def numpy_decoder(folder: Path, **changes: Any) -> NumpyDecoder:
    save_model(make_ours(tiny_fields(**{"n_positions": 700, **changes}), seed=3), folder)
    return NumpyDecoder.load(folder)


@pytest.mark.parametrize("multi_query", [True, False], ids=["multi-query", "multi-head"])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_a_pass_in_numpy_is_its_steps_bit_for_bit(
    tmp_path: Path, activation: str, *, multi_query: bool
) -> None:
    decoder = numpy_decoder(tmp_path, activation_function=activation, multi_query=multi_query)
    random = np.random.default_rng(5)
    for past in (1, 30, 255, 300):
        prompt = random.integers(0, 53, past).tolist()
        tokens = random.integers(0, 53, 9).tolist()
        decoder.prefill([prompt])
        steps = np.concatenate([decoder.decode([token]) for token in tokens])
        for split in (1, 4, 9):
            decoder.truncate(past)
            parts = [decoder.append(tokens[at : at + split]) for at in range(0, 9, split)]
            np.testing.assert_array_equal(np.concatenate(parts), steps)


@pytest.mark.parametrize("kind", ["tiny_checkpoint", "tiny_plain_checkpoint"])
def test_pytorch_reads_several_tokens_as_one_by_one(
    kind: str, request: pytest.FixtureRequest
) -> None:
    decoder = TorchDecoder(load_model(request.getfixturevalue(kind)))  # type: ignore[arg-type]
    random = np.random.default_rng(6)
    prompt, tokens = random.integers(19, 380, 30).tolist(), random.integers(19, 380, 7).tolist()
    decoder.prefill([prompt])
    steps = np.concatenate([decoder.decode([token]) for token in tokens])
    decoder.truncate(len(prompt))
    np.testing.assert_allclose(decoder.append(tokens), steps, atol=1e-4)
    decoder.truncate(len(prompt) + 3)
    np.testing.assert_allclose(decoder.decode([tokens[3]])[0], steps[3], atol=1e-4)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_greedy_texts_of_both_engines_are_plain_ones(tiny_checkpoint: Path, engine: str) -> None:
    decoder: Any = NumpyDecoder.load(tiny_checkpoint)
    if engine == "torch":
        decoder = TorchDecoder(load_model(tiny_checkpoint))  # type: ignore[arg-type]
    drafted = False
    for seed in range(12):
        prompt = np.random.default_rng(seed).integers(19, 380, 20).tolist() * 2
        plain = write(decoder, prompt, speculate=False)
        assert write(decoder, prompt) == plain
        drafted = drafted or len(set(plain[0])) < len(plain[0])
    assert drafted


def source_lines() -> Iterable[list[str]]:
    for name in ("argparse", "inspect", "ast", "tarfile"):
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        yield Path(spec.origin).read_text("utf-8").splitlines(keepends=True)


@pytest.mark.slow
def test_the_built_in_model_writes_the_same_with_guesses() -> None:
    from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

    spec = find_spec("pocket_coder")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0])
    tokenizer = CodeTokenizer.from_file(folder / "tokenizer.json")
    decoder = NumpyDecoder.load(folder)
    texts = drafted = 0
    of_each_file = amount(full=80, usual=3)
    for lines in source_lines():
        for start in range(20, len(lines) - 20, len(lines) // of_each_file):
            prompt = tokenizer.encode("".join(lines[start : start + 6]))[-48:]
            if not prompt:
                continue
            logits = decoder.prefill([prompt]).copy()
            plain = follow(decoder, prompt, logits, lambda inner: inner)
            decoder.truncate(len(prompt))
            ahead = SpeculativeDecoder(decoder, sampler=Sampler(), max_tokens=12)
            assert follow(decoder, prompt, logits, lambda _inner, a=ahead: a) == plain  # type: ignore[misc]
            texts, drafted = texts + 1, drafted + ahead.accepted
    assert texts > 3 * of_each_file
    assert drafted > texts / 4


def follow(
    decoder: NumpyDecoder, prompt: list[int], logits: np.ndarray, wrap: Callable[[Any], Any]
) -> list[int]:
    """Greedy text behind a prompt that is already read."""
    outer = wrap(decoder)
    if outer is not decoder:
        read = decoder.prefill
        decoder.prefill = lambda prompts: logits  # type: ignore[method-assign]  # noqa: ARG005
        outer.prefill([prompt])
        decoder.prefill = read  # type: ignore[method-assign]
    written = [int(logits[0].argmax())]
    while len(written) < 12:
        written.append(int(outer.decode(written[-1:])[0].argmax()))
    return written
