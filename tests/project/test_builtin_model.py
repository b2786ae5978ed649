"""The built-in model is what its card says, and other programs load it unchanged."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer

from gpt_bigcode.backends.numpy_decoder import NumpyDecoder
from gpt_bigcode.backends.torch_decoder import TorchDecoder
from gpt_bigcode.checkpoint.loading import load_model
from gpt_bigcode.completion.options import CompletionOptions
from gpt_bigcode.completion.text_model import TextModel
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.modeling.heads import GPTBigCodeForCausalLM
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from training import evaluate, held_out
from training.baselines import LineCopier, NgramWriter
from training.evaluate import Cases, Measurer, token_ends
from training.held_out import at_a_token, gaps, prompts_at_borders
from training.journal import Journal
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
    loaded = load_model(FOLDER, dtype=torch.float32)
    assert isinstance(loaded, GPTBigCodeForCausalLM)
    in_torch = TextModel(TorchDecoder(loaded), text_model.tokenizer)
    assert isinstance(text_model.decoder, NumpyDecoder)
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
    """A fixed sample of what the card measures on hundreds of held-out files, where 9 % do not."""
    text = text_model.complete(prompt, CompletionOptions(max_tokens=48)).choices[0].text
    assert text.strip()
    # The first one compares in a statement of its own and ends it with a colon.
    assert parses_so_far(prompt + text) == (prompt != CASES[0])


# Code that was never trained on: files of this library as they once were, so that the sample stays.
SAMPLED = ("threads", "scores", "windows", "suffix_overlap")
REPORT = json.loads((FOLDER / "evaluation.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def measurer() -> Measurer:
    folder = Path(__file__).with_name("own_code")
    texts = {name: (folder / f"{name}.txt").read_text("utf-8") for name in SAMPLED}
    tokenizer = CodeTokenizer.from_file(FOLDER / "tokenizer.json")
    with pytest.MonkeyPatch.context() as changed:  # a model this small sees little further
        changed.setattr(held_out, "PREFIX_CHARACTERS", 600)
        changed.setattr(held_out, "SUFFIX_CHARACTERS", 300)
        changed.setattr(held_out, "MAX_PROMPT_TOKENS", 300)
        cases = drawn(texts, tokenizer)
    return Measurer(FOLDER, cases)


def drawn(texts: dict[str, str], tokenizer: CodeTokenizer) -> Cases:
    records = [{"package": "gpt_bigcode", "path": name, "text": texts[name]} for name in SAMPLED]
    return Cases(
        texts=[("gpt_bigcode", text) for text in (texts["threads"], texts["scores"])],
        long_texts=[texts["suffix_overlap"]],
        prompts=prompts_at_borders(records, lambda text: len(tokenizer.encode(text)), 5, 3),
        gaps=gaps(records, 3, 3),
        rests=gaps(records, 3, 4, cut=at_a_token(token_ends(tokenizer))),
    )


def overlap(measured: dict[str, Any], reported: dict[str, Any]) -> bool:
    """Whether two intervals have a share in common."""
    (low, high), (reported_low, reported_high) = (
        measured["interval_95"],
        reported["interval_95"],
    )
    return bool(low <= reported_high and reported_low <= high)


def test_a_small_sample_agrees_with_the_report(
    measurer: Measurer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measures of the card on a few other files: each interval meets that of the report."""
    monkeypatch.setattr(evaluate, "COMPLETION_TOKENS", 50)
    monkeypatch.setattr(evaluate, "_BLOCK_TOKENS", 128)
    measured = measurer.model_report(Journal(tmp_path / "journal.jsonl"))
    assert measured["completions"]["cases"] == 5
    assert overlap(measured["completions"], REPORT["completions_that_parse"])
    for order in ("psm", "spm"):
        assert measured["whole_lines"][order]["cases"] == 3
        assert overlap(measured["whole_lines"][order], REPORT[f"infills_{order}"])
    assert measured["whole_lines"]["spm"]["empty"] <= 2
    assert {measured["rests_of_lines"][way]["cases"] for way in ("complete", "psm", "spm")} == {3}
    packages = [REPORT["bits_per_byte"][name]["bits_per_byte"] for name in PACKAGES]
    # Of single files: a little wider than the packages are apart.
    found = measured["bits_per_byte"]["all"]["bits_per_byte"]
    assert 0.9 * min(packages) <= found <= 1.1 * max(packages)
    assert measured["late_positions"]["files"] == 1


PACKAGES = ("attrs", "networkx", "requests", "rich")


def row(measured: dict[str, Any]) -> str:
    """A share as the card writes it."""
    low, high = measured["interval_95"]
    share, cases = 100 * measured["share"], measured["cases"]
    return f"{share:.1f} % ({100 * low:.1f} to {100 * high:.1f}), {cases} cases"


def bits(measured: dict[str, Any]) -> str:
    """Bits per byte as the card writes them."""
    low, high = measured["interval_95"]
    return f"{measured['bits_per_byte']:.3f} ({low:.3f} to {high:.3f})"


def test_the_card_quotes_the_report() -> None:
    lines = (FOLDER / "README.md").read_text("utf-8").split("\n")

    def card_line(start: str) -> str:
        (line,) = (line for line in lines if line.startswith(f"| {start} |"))
        return line

    ngrams, copier = (REPORT["baselines"][name] for name in (NgramWriter.name, LineCopier.name))
    every = REPORT["bits_per_byte"]["all"]
    columns = {
        "bits per byte of Python": [bits(every), bits(ngrams["bits_per_byte"]["all"])],
        "100-token completions that parse": [
            row(one["completions_that_parse"]) for one in (REPORT, ngrams, copier)
        ],
        "... of those that finish a line": [
            row(one["completions_that_parse"]["of_those_with_a_whole_line"])
            for one in (REPORT, ngrams, copier)
        ],
        "... without healing the prompt's last token": [row(REPORT["without_healing"])],
        "single lines filled in exactly, PSM order": [
            row(REPORT["infills_psm"]),
            *(row(one["infills"]) for one in (ngrams, copier)),
        ],
        "... in SPM order": [row(REPORT["infills_spm"])],
        "... without the text behind the gap": [row(REPORT["infills_without_the_suffix"])],
    }
    for start, values in columns.items():
        cells = [cell.strip() for cell in card_line(start).split("|")[2:]]
        assert cells[: len(values)] == values
    for name in PACKAGES:
        assert bits(REPORT["bits_per_byte"][name]) in card_line(name)
    late = REPORT["late_positions"]
    text = " ".join(lines)
    for name in ("nats_a_token_at_512_to_1023", "nats_a_token_at_1024_to_1535"):
        assert f"{late[name]:.3f}" in text
    low, high = late["change_interval_95"]
    assert f"{late['change']:+.3f} ({low:+.3f} to {high:+.3f}) in {late['files']} files" in text
