"""TextModel: text in, completions out; with scripted decoders and with real tiny checkpoints."""

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from gpt_bigcode.completion.options import Completion, CompletionOptions, ContextFile
from gpt_bigcode.completion.text_model import CompletionStream, TextModel
from gpt_bigcode.errors import (
    ConfigError,
    ContextError,
    NonFiniteError,
    OptionError,
)
from gpt_bigcode.scoring.text_scorer import TextScorer
from gpt_bigcode.stopping.text_stop import FinishReason, Scope
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer


class Typist:
    """A decoder that writes the given ids, then the end of the text, each with probability `p`."""

    context_length = 128
    vocabulary_size = 400

    def __init__(self, ids: Sequence[int], p: float = 0.9) -> None:
        self.ids, self.p = [*ids, *([0] * 200)], p
        self.prompts: list[tuple[int, ...]] = []

    def prefill(self, prompts: Sequence[Sequence[int]]) -> np.ndarray:
        self.prompts = [tuple(prompt) for prompt in prompts]
        self.rows, self.step = len(prompts), -1
        return self.decode([0] * self.rows)

    def decode(self, tokens: Sequence[int]) -> np.ndarray:
        assert len(tokens) == self.rows
        self.step += 1
        rest = (1 - self.p) / (self.vocabulary_size - 1)
        logits = np.full((self.rows, self.vocabulary_size), math.log(rest), np.float32)
        logits[:, self.ids[self.step]] = math.log(self.p)
        return logits

    def select_rows(self, rows: Sequence[int]) -> None:
        self.rows = len(rows)


class Plain(TextModel):
    """Reads prompts as they are: a script cannot spell their last token anew."""

    def complete(self, prompt: str, options: CompletionOptions | None = None) -> Completion:
        return super().complete(prompt, replace(options or CompletionOptions(), heal=False))

    def stream(self, prompt: str, options: CompletionOptions | None = None) -> CompletionStream:
        return super().stream(prompt, replace(options or CompletionOptions(), heal=False))


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint: Path) -> CodeTokenizer:
    return CodeTokenizer.from_file(tiny_checkpoint / "tokenizer.json")


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> TextModel:
    return TextModel.load(tiny_checkpoint)


@pytest.fixture
def typing(tokenizer: CodeTokenizer) -> Callable[..., TextModel]:
    """`typing("text")`: a model that writes this text."""

    def make(text: str | Sequence[int], p: float = 0.9) -> TextModel:
        ids = tokenizer.encode(text) if isinstance(text, str) else text
        return Plain(Typist(ids, p), tokenizer, name="typist")

    return make


def test_a_completion_is_the_contract_s_json(typing: Callable[..., TextModel]) -> None:
    completion = typing("return x").complete("def f(x):\n    ")
    values = json.loads(json.dumps(completion.to_dict(), allow_nan=False))
    times = values.pop("timings")
    assert (times.pop("drafted_tokens"), times.pop("accepted_tokens")) == (0, 0)
    assert sorted(times) == ["decode_seconds", "load_seconds", "prefill_seconds"]
    assert all(seconds >= 0 for seconds in times.values())
    count = completion.choices[0].completion_tokens
    assert values == {
        "model": "typist",
        "revision": None,
        "prompt_tokens": completion.prompt_tokens,
        "dropped_prefix_tokens": 0,
        "dropped_suffix_tokens": 0,
        "dropped_context_tokens": 0,
        "choices": [
            {
                "index": 0,
                "text": "return x",
                "finish_reason": "stop",
                "completion_tokens": count,
                "logprob": pytest.approx(count * math.log(0.9), abs=1e-5),
            }
        ],
    }


TEXTS = ["return x", "é中😀 = 1\n", "\n\n    a\n    b\n\n\nc = 1\n", "print(x)\n" * 20, ""]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("prompt", ["def f(x):\n    ", "def f(x):\r\n    ", ""])
@pytest.mark.parametrize("until", [None, *Scope])
@pytest.mark.parametrize("stop", [(), ("\n\n", "b")])
def test_streamed_is_complete(
    typing: Callable[..., TextModel],
    text: str,
    prompt: str,
    until: Scope | None,
    stop: tuple[str, ...],
) -> None:
    options = CompletionOptions(until=until, stop=stop)
    stream = typing(text).stream(prompt, options)
    pieces = list(stream)
    whole = typing(text).complete(prompt, options)
    assert all(pieces)
    assert "".join(pieces) == whole.choices[0].text
    assert stream.completion == replace(whole, timings=stream.completion.timings)
    assert whole.choices[0].finish_reason in (FinishReason.STOP, FinishReason.REPETITION)


def test_a_stream_is_shown_token_by_token(
    typing: Callable[..., TextModel], tokenizer: CodeTokenizer
) -> None:
    text = "return width * height"
    pieces = list(typing(text).stream("def f():\n    "))
    assert pieces == [tokenizer.token_bytes(token).decode() for token in tokenizer.encode(text)]


def test_a_stream_can_be_left(typing: Callable[..., TextModel]) -> None:
    stream = typing("return width * height").stream("x")
    pieces = iter(stream)
    first = next(pieces) + next(pieces)
    choice = stream.completion.choices[0]
    assert (choice.text, choice.completion_tokens) == (first, 2)


def test_no_special_token_is_ever_text(
    typing: Callable[..., TextModel], tokenizer: CodeTokenizer
) -> None:
    for special in tokenizer.control_ids:
        ids = [*tokenizer.encode("return x\n"), special, *tokenizer.encode("junk")]
        choice = typing(ids).complete("def f(x):\n    ").choices[0]
        assert (choice.text, choice.finish_reason) == ("return x\n", FinishReason.STOP)


def test_a_spelled_special_token_is_text(typing: Callable[..., TextModel]) -> None:
    assert typing("a <fim_pad> b").complete("x").choices[0].text == "a <fim_pad> b"


def test_an_end_at_once_is_an_empty_answer(typing: Callable[..., TextModel]) -> None:
    choice = typing("").complete("x").choices[0]
    assert (choice.text, choice.completion_tokens, choice.logprob) == ("", 0, 0.0)
    assert choice.finish_reason is FinishReason.STOP


@pytest.mark.parametrize("limit", range(1, 12))
def test_the_limit_never_cuts_a_character(typing: Callable[..., TextModel], limit: int) -> None:
    text = "é中😀é中"
    choice = typing(text).complete("x", CompletionOptions(max_tokens=limit)).choices[0]
    assert text.startswith(choice.text)
    assert (choice.finish_reason is FinishReason.LENGTH) == (choice.completion_tokens == limit)


def test_crlf_and_lf_prompts_have_the_same_completion(typing: Callable[..., TextModel]) -> None:
    lf, crlf = (typing("a\n    b\n").complete(prompt) for prompt in ("x\ny\n", "x\r\ny\r\n"))
    assert crlf.choices[0].text == "a\r\n    b\r\n"
    assert lf.choices[0].text == "a\n    b\n"
    assert lf.prompt_tokens == crlf.prompt_tokens


def test_a_stop_with_crlf_matches_a_crlf_file(typing: Callable[..., TextModel]) -> None:
    options = CompletionOptions(stop=("\r\n\r\n",))
    choice = typing("a\n\nb").complete("x\r\ny\r\n", options).choices[0]
    assert (choice.text, choice.finish_reason) == ("a", FinishReason.STOP)


def test_a_loop_is_cut(typing: Callable[..., TextModel]) -> None:
    options = CompletionOptions(max_tokens=100)
    choice = typing("go(x)\n" * 30).complete("x", options).choices[0]
    assert choice.finish_reason is FinishReason.REPETITION
    assert choice.text == "go(x)\ngo(x)\n"
    assert choice.completion_tokens < 100


def test_an_unsure_completion_is_empty(typing: Callable[..., TextModel]) -> None:
    for p, text in [(0.79, ""), (0.81, "return x")]:
        unsure = CompletionOptions(min_confidence=0.8)
        choice = typing("return x", p).complete("def", unsure).choices[0]
        assert choice.text == text
        assert choice.completion_tokens > 0
        assert "".join(typing("return x", p).stream("def", unsure)) == text
    assert typing("", 0.1).complete("def", unsure).choices[0].text == ""


def test_context_files_are_read(typing: Callable[..., TextModel], tokenizer: CodeTokenizer) -> None:
    model = typing("x")
    options = CompletionOptions(
        max_tokens=8, context_files=(ContextFile("a.py", "A = 1"),), path="b.py"
    )
    completion = model.complete("B = ", options)
    assert isinstance(model.decoder, Typist)
    (ids,) = model.decoder.prompts
    assert tokenizer.decode_bytes(ids) == b"a.py\nA = 1\nb.py\nB = "
    assert completion.prompt_tokens == len(ids)


def test_a_long_prompt_is_cut_and_counted(
    typing: Callable[..., TextModel], tokenizer: CodeTokenizer
) -> None:
    text = "".join(f"line_{n} = {n}\n" for n in range(80))
    completion = typing("x").complete(text, CompletionOptions(max_tokens=20))
    total = len(tokenizer.encode(text))
    assert completion.prompt_tokens + completion.dropped_prefix_tokens == total
    with pytest.raises(ContextError):
        typing("x").complete(text, CompletionOptions(max_tokens=20, truncate=False))


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 0},
        {"time_budget_seconds": 0.0},
        {"samples": 0},
        {"samples": 10**6},
        {"seed": -1},
        {"min_confidence": 1.5},
        {"min_confidence": math.nan},
        {"until": "paragraph"},
        {"stop": ("",)},
        {"stop": ("a" * 257,)},
        {"stop": ("é" * 129,)},
        {"stop": tuple("abcdefghijklmnopq")},
    ],
)
def test_options_out_of_range_are_refused(fields: dict[str, object]) -> None:
    name = next(iter(fields)).split("_")[0]
    with pytest.raises(OptionError, match=name):
        CompletionOptions(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "generation", "ends"),
    [
        ({}, None, set()),
        ({"eos_token_id": [0, 300]}, None, {300}),
        ({"eos_token_id": 300}, {"eos_token_id": 301}, {300, 301}),
        ({"eos_token_id": 0}, {"eos_token_id": [301, 401, 10**6]}, {301}),  # ids it does not have
        ({"eos_token_id": None}, {"eos_token_id": None}, set()),
    ],
)
def test_every_configured_end_token_ends_the_text(
    tiny_checkpoint: Path,
    tmp_path: Path,
    config: dict[str, object],
    generation: dict[str, object] | None,
    ends: set[int],
) -> None:
    """An ordinary token of the vocabulary too; files of fine-tuned models name such ones."""
    shutil.copytree(tiny_checkpoint, tmp_path, dirs_exist_ok=True)
    values = json.loads((tmp_path / "config.json").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({**values, **config}))
    if generation is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    model = TextModel.load(tmp_path)
    assert set(model.end_ids) == model.tokenizer.control_ids | ends
    for end in ends:
        model.decoder = Typist([*model.tokenizer.encode("x = 1"), end, 290])
        choice = model.complete("\n", CompletionOptions(heal=False)).choices[0]
        assert (choice.text, choice.finish_reason) == ("x = 1", FinishReason.STOP)


@pytest.mark.parametrize("ends", ["0", [0, "1"], {}, True, 1.5])
def test_end_tokens_that_are_none_are_refused(
    tiny_checkpoint: Path, tmp_path: Path, ends: object
) -> None:
    shutil.copytree(tiny_checkpoint, tmp_path, dirs_exist_ok=True)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    with pytest.raises(ConfigError, match=r"generation_config\.json: eos_token_id"):
        TextModel.load(tmp_path)


def test_bytes_that_make_no_character_are_never_written(
    typing: Callable[..., TextModel], tokenizer: CodeTokenizer
) -> None:
    """Whatever the model wants; nor does its end token count inside a character."""
    byte = {tokenizer.token_bytes(token): token for token in range(tokenizer.vocabulary_size)}
    lone = [byte[bytes([value])] for value in (0x80, 0xBF, 0xC0, 0xFF) if bytes([value]) in byte]
    half = [byte[b"\xe4"], 0, byte[b"\xb8"], byte[b"A"], byte[b"\xad"]]
    for script in ([*lone, *half] * 5, half[:1] * 30, lone * 10):
        choice = typing(script).complete("x", CompletionOptions(max_tokens=20)).choices[0]
        assert "\ufffd" not in choice.text
        assert choice.completion_tokens == 20 or choice.finish_reason is FinishReason.STOP
    # A prompt whose last token is spelled again may be cut inside a character by that.
    model = typing([])
    healed = TextModel(model.decoder, tokenizer).complete("x = '中").choices[0]
    assert "\ufffd" not in healed.text


def test_numbers_too_large_for_float16_say_so(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Sound weights: bfloat16 computes them, float16 overflows."""
    shutil.copytree(tiny_checkpoint, tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / "model.safetensors")
    for name in [name for name in tensors if name.endswith("mlp.c_proj.weight")]:
        tensors[name] *= 1e6
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    TextModel.load(tmp_path, precision="bfloat16").complete("x")
    with pytest.raises(NonFiniteError, match="too large for float16") as caught:
        TextModel.load(tmp_path, precision="float16").complete("x")
    assert "--precision bfloat16" in str(caught.value.hint)
    with pytest.raises(NonFiniteError, match="too large for float16"):
        TextScorer.load(tmp_path, precision="float16").score("x = 1\n")


def test_options_that_change_nothing_are_known() -> None:
    assert CompletionOptions(samples=3).samples_are_alike
    assert not CompletionOptions(samples=3, temperature=0.5).samples_are_alike
    assert not CompletionOptions().samples_are_alike
    assert CompletionOptions(top_k=5, seed=1).unused_sampling == ("top-k", "seed")
    assert CompletionOptions(top_k=5, seed=1, temperature=1.0).unused_sampling == ()


def test_several_samples_cannot_be_streamed(typing: Callable[..., TextModel]) -> None:
    with pytest.raises(OptionError, match="samples"):
        typing("x").stream("y", CompletionOptions(samples=2))


def test_samples_are_the_same_for_any_number_of_them(model: TextModel) -> None:
    options = CompletionOptions(max_tokens=30, temperature=0.8, top_p=0.95, seed=5, samples=6)
    many = model.complete("def area(", options).choices
    assert [choice.index for choice in many] == list(range(6))
    assert len({choice.text for choice in many}) > 3
    for count in (1, 2, 5):
        few = model.complete("def area(", replace(options, samples=count)).choices
        assert [choice.text for choice in few] == [choice.text for choice in many[:count]]
    assert model.complete("def area(", replace(options, seed=6)).choices[0].text != many[0].text
