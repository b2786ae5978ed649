"""TextModel.infill: a gap in, its text out; with a scripted decoder and real tiny checkpoints."""

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gpt_bigcode.completion.options import InfillOptions, InfillOrder
from gpt_bigcode.completion.text_model import TextModel
from gpt_bigcode.errors import ConfigError, ContextError, InfillUnsupportedError, OptionError
from gpt_bigcode.stopping.text_stop import FinishReason, Scope
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer


class Typist:
    """A decoder that writes the given ids, then the end of the text, each with probability `p`."""

    context_length = 256
    vocabulary_size = 400

    def __init__(self, ids: Sequence[int], p: float = 0.9) -> None:
        self.ids, self.p = [*ids, *([0] * 300)], p
        self.steps = 0

    def prefill(self, prompts: Sequence[Sequence[int]]) -> np.ndarray:
        self.prompt, self.rows = tuple(prompts[0]), len(prompts)
        return self.decode([])

    def decode(self, _tokens: Sequence[int]) -> np.ndarray:
        rest = (1 - self.p) / (self.vocabulary_size - 1)
        logits = np.full((self.rows, self.vocabulary_size), math.log(rest), np.float32)
        logits[:, self.ids[self.steps]] = math.log(self.p)
        self.steps += 1
        return logits

    def select_rows(self, rows: Sequence[int]) -> None:
        self.rows = len(rows)


Typing = Callable[..., TextModel]


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint: Path) -> CodeTokenizer:
    return CodeTokenizer.from_file(tiny_checkpoint / "tokenizer.json")


@pytest.fixture
def typing(tokenizer: CodeTokenizer) -> Typing:
    """`typing("text")`: a model that writes this text."""

    def make(text: str | Sequence[int], p: float = 0.9) -> TextModel:
        ids = tokenizer.encode(text) if isinstance(text, str) else text
        return TextModel(Typist(ids, p), tokenizer, name="typist")

    return make


def test_c3_it_ends_where_the_suffix_begins(typing: Typing) -> None:
    completion = typing("a, b)\nbar(c)\n").infill("foo(", ")\n")
    choice = completion.choices[0]
    assert (choice.text, choice.finish_reason) == ("a, b", FinishReason.SUFFIX)
    raw = (
        typing("a, b)\nbar(c)\n")
        .infill("foo(", ")\n", InfillOptions(trim=False, until="file"))
        .choices[0]
    )
    assert (raw.text, raw.finish_reason) == ("a, b)\nbar(c)\n", FinishReason.STOP)
    assert choice.completion_tokens < raw.completion_tokens


@pytest.mark.parametrize("order", [*InfillOrder])
def test_the_model_reads_the_prompt_of_the_order(
    typing: Typing, tokenizer: CodeTokenizer, order: InfillOrder
) -> None:
    model = typing("x")
    completion = model.infill("a = ", "\nb\n", InfillOptions(order=order, heal=False))
    assert isinstance(model.decoder, Typist)
    a, b = tokenizer.encode("a = "), tokenizer.encode("\nb\n")
    expected = (1, *a, 3, *b, 2) if order is InfillOrder.PSM else (1, 3, *b, 2, *a)
    assert model.decoder.prompt == expected
    assert completion.prompt_tokens == len(expected)
    assert completion.choices[0].text == "x"


@pytest.mark.parametrize("named", [None, *InfillOrder])
@pytest.mark.parametrize("asked", [None, *InfillOrder])
def test_the_order_is_the_one_asked_for_else_the_models_own(
    tiny_checkpoint: Path, tmp_path: Path, named: InfillOrder | None, asked: InfillOrder | None
) -> None:
    shutil.copytree(tiny_checkpoint, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_bytes())
    if named:
        config["infilling"] = {"order": str(named)}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    model = TextModel.load(tmp_path)
    options = InfillOptions(order=asked, heal=False, max_tokens=4)
    plain = TextModel.load(tiny_checkpoint)
    expected = replace(options, order=asked or named or InfillOrder.PSM)
    found, wanted = (
        which.infill("def f(", "):\n", how).choices[0]
        for which, how in ((model, options), (plain, expected))
    )
    assert found == wanted
    other = next(order for order in InfillOrder if order is not expected.order)
    assert plain.infill("def f(", "):\n", replace(options, order=other)).choices[0] != wanted


@pytest.mark.parametrize(
    "field", ["spm", {"order": "msp"}, {"order": None}, {"order": []}, None, 1]
)
def test_a_model_that_names_no_order_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, field: object
) -> None:
    shutil.copytree(tiny_checkpoint, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({**config, "infilling": field}), "utf-8")
    with pytest.raises(ConfigError, match="infilling"):
        TextModel.load(tmp_path)


@pytest.mark.parametrize("prefix", ["def f(x):\n    ", "a = [\r\n", "retu", "x"])
def test_in_spm_order_the_last_token_is_spelled_anew(
    typing: Typing, tokenizer: CodeTokenizer, prefix: str
) -> None:
    """What the model writes begins with the bytes of that token, which nobody is shown."""
    text = prefix.replace("\r\n", "\n")
    *kept, last = tokenizer.encode(text)
    again = tokenizer.token_bytes(last).decode()
    model = typing(again + "go(x)\nend(x)\n")
    options = InfillOptions(order=InfillOrder.SPM, until=Scope.FILE)
    newline = "\r\n" if "\r\n" in prefix else "\n"
    choice = model.infill(prefix, f"{newline}end(x){newline}", options).choices[0]
    assert isinstance(model.decoder, Typist)
    assert model.decoder.prompt[-len(kept) - 1 :] == (2, *kept)
    assert choice.text == "go(x)"
    assert choice.finish_reason is FinishReason.SUFFIX


def test_in_spm_order_the_end_token_waits_until_the_last_token_is_spelled(
    typing: Typing, tokenizer: CodeTokenizer
) -> None:
    """A model that would end at once says first what stands there, then nothing."""
    options = InfillOptions(order=InfillOrder.SPM)
    choice = typing([0, 0]).infill("x = 1\n    ", "\ny\n", options).choices[0]
    assert (choice.text, choice.finish_reason) == ("", FinishReason.STOP)
    assert choice.completion_tokens > 0
    plain = replace(options, heal=False)
    choice = typing([0, 0]).infill("x = 1\n    ", "\ny\n", plain).choices[0]
    assert (choice.text, choice.completion_tokens) == ("", 0)


def test_c1_every_special_token_ends_the_text(typing: Typing, tokenizer: CodeTokenizer) -> None:
    for special in tokenizer.control_ids:
        ids = [*tokenizer.encode("return x\n"), special, *tokenizer.encode("junk")]
        choice = typing(ids).infill("def f(x):\n    ", "\n\nf(1)\n").choices[0]
        assert (choice.text, choice.finish_reason) == ("return x\n", FinishReason.STOP)


def test_c1_a_loop_is_cut(typing: Typing) -> None:
    choice = typing("go(x)\n" * 30).infill("x\n", "\nend(x)\n").choices[0]
    assert (choice.text, choice.finish_reason) == ("go(x)\ngo(x)", FinishReason.REPETITION)


def test_c2_a_spelled_special_token_is_text(typing: Typing) -> None:
    assert typing("a <fim_pad> b").infill("x", "y").choices[0].text == "a <fim_pad> b"


SUFFIXES = [")\n", "\n    return total\n", "", ";  # done\n", "\r\n}\r\n"]
TEXTS = ["a, b)", "b = 1\n    return total\n\n\nc()", "1;  # done\n", "", "é中😀 = 1\n}\n"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("until", [None, *Scope])
@pytest.mark.parametrize("stop", [(), ("\n\n", "b")])
def test_streamed_is_whole(
    typing: Typing, text: str, suffix: str, until: Scope | None, stop: tuple[str, ...]
) -> None:
    options = InfillOptions(until=until, stop=stop)
    for prefix in ("def f(x):\n    ", "if (x) {\r\n    ", "foo("):
        stream = typing(text).stream_infill(prefix, suffix, options)
        pieces = list(stream)
        whole = typing(text).infill(prefix, suffix, options)
        assert all(pieces)
        assert "".join(pieces) == whole.choices[0].text
        assert stream.completion == replace(whole, timings=stream.completion.timings)


def test_crlf_comes_back_and_is_trimmed(typing: Typing) -> None:
    """The suffix alone may say what the line ends are."""
    choice = typing("a\nb\n    more(a)\n").infill("", "\r\n    more(a)\r\n").choices[0]
    assert (choice.text, choice.finish_reason) == ("a\r\nb", FinishReason.SUFFIX)
    stops = InfillOptions(stop=("\r\n",))
    assert typing("a\nb\n").infill("x\r\n", "\r\ny\r\n", stops).choices[0].text == "a"


@pytest.mark.parametrize(
    ("prefix", "suffix", "expected"),
    [
        ("    if ", ":\n        return {}\n", "not x"),  # inside a line
        ("x = ", "\n", "not x"),
        ("", " + 1\n", "not x"),
        ("def f(x):\n    ", "\n\nend()\n", "not x\n    y"),  # a line of its own
        ("def f(x):\r\n    ", "\r\n\r\nend()\r\n", "not x\r\n    y"),
        ("", "", "not x\n    y"),
    ],
)
def test_the_gap_says_where_an_answer_ends(
    typing: Typing, prefix: str, suffix: str, expected: str
) -> None:
    """With the line that the gap is in, or with the block on a line of its own."""
    model = typing("not x\n    y\n\n\nz = 1\n\n\nw = 2\n")
    choice = model.infill(prefix, suffix).choices[0]
    assert (choice.text, choice.finish_reason) == (expected, FinishReason.STOP)
    model = typing("not x\n    y\n\n\nz = 1\n\n\nw = 2\n")
    whole = model.infill(prefix, suffix, InfillOptions(until="file", trim=False)).choices[0]
    assert whole.text.endswith("w = 2" + ("\r\n" if "\r" in prefix else "\n"))


def test_dropped_tokens_add_up(typing: Typing, tokenizer: CodeTokenizer) -> None:
    prefix, suffix = ("".join(f"{word}_{n} = {n}\n" for n in range(80)) for word in "ps")
    completion = typing("x").infill(prefix, suffix, InfillOptions(max_tokens=20))
    total = len(tokenizer.encode(prefix)) + len(tokenizer.encode(suffix)) + 3
    dropped = completion.dropped_prefix_tokens + completion.dropped_suffix_tokens
    assert min(completion.dropped_prefix_tokens, completion.dropped_suffix_tokens) > 0
    assert completion.prompt_tokens + dropped == total
    with pytest.raises(ContextError):
        typing("x").infill(prefix, suffix, InfillOptions(truncate=False))


def test_samples_have_their_logprobs(typing: Typing) -> None:
    choices = typing("a)").infill("f(", ")", InfillOptions(samples=3)).choices
    assert [choice.text for choice in choices] == ["a"] * 3
    for choice in choices:
        expected = choice.completion_tokens * math.log(0.9)
        assert choice.logprob == pytest.approx(expected, abs=1e-5)
    with pytest.raises(OptionError, match="samples"):
        typing("a").stream_infill("f(", ")", InfillOptions(samples=3))


def test_an_unsure_answer_is_empty(typing: Typing) -> None:
    unsure = InfillOptions(min_confidence=0.8)
    assert typing("a)", 0.79).infill("f(", ")", unsure).choices[0].text == ""
    assert "".join(typing("a)", 0.81).stream_infill("f(", ")", unsure)) == "a"


def test_a_model_that_cannot_infill_is_named(tiny_plain_checkpoint: Path) -> None:
    model = TextModel.load(tiny_plain_checkpoint)
    model.name = "acme/plain"
    with pytest.raises(InfillUnsupportedError, match="acme/plain: cannot infill") as caught:
        model.infill("a", "b")
    assert "SantaCoder or StarCoder" in str(caught.value.hint)
    with pytest.raises(InfillUnsupportedError):
        model.stream_infill("a", "b")


@pytest.mark.parametrize("name", ["tiny_checkpoint", "tiny_santacoder_checkpoint"])
@pytest.mark.parametrize("order", [*InfillOrder])
def test_d1_real_checkpoints_stay_in_their_context(
    name: str, order: InfillOrder, request: pytest.FixtureRequest
) -> None:
    model = TextModel.load(request.getfixturevalue(name))
    for size in (0, 30, 125, 126, 127, 128, 129, 1280):
        for count in (1, 64, 128):
            options = InfillOptions(max_tokens=count, order=order, temperature=1.0, seed=size)
            completion = model.infill("x" * size, "y" * size, options)
            written = completion.choices[0].completion_tokens
            assert completion.prompt_tokens + written <= 128


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(OptionError, match="order"):
        InfillOptions(order="mps")
    with pytest.raises(OptionError, match="max-tokens"):
        InfillOptions(max_tokens=0)
