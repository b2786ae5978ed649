"""The built-in model is what its card says, and other programs load it unchanged."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer

from gpt_bigcode.checkpoint import load_model
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.pipeline import CompletionOptions, TextModel
from gpt_bigcode.tokenizer import CodeTokenizer
from training.parsing import parses_so_far

FOLDER = Path(__file__).resolve().parents[2] / "model" / "pocket_coder"
STARCODER_TOKENS = (
    *("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<filename>"),
    *("<gh_stars>", "<issue_start>", "<issue_comment>", "<issue_closed>", "<jupyter_start>"),
    *("<jupyter_text>", "<jupyter_code>", "<jupyter_output>", "<empty_output>"),
    *("<commit_before>", "<commit_msg>", "<commit_after>", "<reponame>"),
)
_MAX_WEIGHT_BYTES = 32 * 10**6


@pytest.fixture(scope="module")
def text_model() -> TextModel:
    return TextModel.load(FOLDER)


def test_shape_and_size() -> None:
    config = GPTBigCodeConfig.from_json_file(FOLDER / "config.json")
    assert config.multi_query
    assert config.n_positions == 2048
    assert 8_000 <= config.vocab_size <= 16_384
    assert 14e6 <= config.parameter_count() <= 16e6
    assert (FOLDER / "model.safetensors").stat().st_size <= _MAX_WEIGHT_BYTES
    assert next(load_model(FOLDER).parameters()).dtype is torch.bfloat16


def test_the_card_names_the_number_of_parameters() -> None:
    config = GPTBigCodeConfig.from_json_file(FOLDER / "config.json")
    card = (FOLDER / "README.md").read_text("utf-8")
    assert f"{config.parameter_count():,}" in card


def test_the_tokenizer_has_the_familys_form() -> None:
    tokenizer = CodeTokenizer.from_file(FOLDER / "tokenizer.json")
    assert dict(tokenizer.special_ids) == {t: i for i, t in enumerate(STARCODER_TOKENS)}
    every_byte = {tokenizer.token_bytes(token) for token in range(tokenizer.vocabulary_size)}
    assert {bytes([value]) for value in range(256)} <= every_byte
    assert len(tokenizer.encode("2024")) == len("2024")


def test_the_reference_loads_it_unchanged() -> None:
    theirs = transformers.GPTBigCodeForCausalLM.from_pretrained(
        FOLDER, dtype=torch.float32, attn_implementation="eager"
    )
    ours = load_model(FOLDER, dtype=torch.float32)
    text = "def add(first, second):\n    return 2024\n"
    ids = Tokenizer.from_file(str(FOLDER / "tokenizer.json")).encode(text).ids
    assert transformers.AutoTokenizer.from_pretrained(FOLDER)(text)["input_ids"] == ids
    with torch.no_grad():
        wanted = theirs(torch.tensor([ids])).logits
        got = ours(torch.tensor([ids])).logits
    assert (got - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_both_engines_write_the_same(text_model: TextModel) -> None:
    prompt = (Path(__file__).read_text("utf-8")).partition("def test_shape")[0]
    options = CompletionOptions(max_tokens=48)
    in_numpy = text_model.complete(prompt, options).choices[0]
    in_torch = TextModel.load(FOLDER, precision="float32", device="cpu", threads=1)
    again = in_torch.complete(prompt, options).choices[0]
    assert in_numpy.text == again.text
    assert in_numpy.logprob == pytest.approx(again.logprob, abs=1e-2)


CASES = (
    "import os\nimport sys\n\n\ndef main(",
    "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n",
    "def mean(values):\n    if not values:\n",
    "for name in names:\n    print(",
)


@pytest.mark.parametrize("prompt", CASES)
def test_completions_parse_as_far_as_they_go(text_model: TextModel, prompt: str) -> None:
    """A fixed sample of what the card measures on hundreds of held-out files."""
    text = text_model.complete(prompt, CompletionOptions(max_tokens=48)).choices[0].text
    assert text.strip()
    assert parses_so_far(prompt + text)


def test_the_card_quotes_the_report() -> None:
    report = json.loads((FOLDER / "evaluation.json").read_text("utf-8"))
    card = (FOLDER / "README.md").read_text("utf-8")
    completions = report["completions_that_parse"]
    assert f"{report['bits_per_byte']['all']['bits_per_byte']:.3f}" in card
    for measured in (completions, completions["of_those_with_a_whole_line"]):
        low, high = measured["interval_95"]
        assert f"{100 * measured['share']:.1f} % ({100 * low:.1f} to {100 * high:.1f})" in card
        assert f"{measured['cases']} cases" in card
