"""A tokenizer of vocab.json and merges.txt, compared with that of transformers."""

import json
from pathlib import Path

import pytest
from transformers import GPT2Tokenizer

from gpt_bigcode.errors import CheckpointMissingError, GPTBigCodeError, TokenizerError
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer

TEXTS = [
    "def add(a, b):\n    return a + b\n",
    "x  =  1\t# caf\u00e9 \u65e5\u672c\u8a9e \U0001f40d\r\n",
    "I've 12345 reasons; they'll   do.\n\n\n",
    "",
]
SPECIAL = ("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The vocabulary of a trained BPE, in the two files that older tools write."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    tokenizer.model.save(str(tmp_path))
    return tmp_path


def test_it_reads_text_as_transformers_does(folder: Path) -> None:
    reference = GPT2Tokenizer.from_pretrained(folder)
    tokenizer = CodeTokenizer.from_file(folder / "tokenizer.json")
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert list(ids) == reference(text)["input_ids"]
        assert tokenizer.decode_bytes(ids) == text.encode()


def test_control_tokens_are_special(folder: Path) -> None:
    tokenizer = CodeTokenizer.from_file(folder / "tokenizer.json")
    vocabulary = json.loads((folder / "vocab.json").read_text("utf-8"))
    special = {vocabulary[name] for name in SPECIAL}
    assert special.isdisjoint(tokenizer.encode("".join(SPECIAL)))


def test_added_tokens_are_known(folder: Path) -> None:
    vocabulary = json.loads((folder / "vocab.json").read_text("utf-8"))
    first = max(vocabulary.values()) + 1
    (folder / "added_tokens.json").write_text(json.dumps({"<mine>": first}), "utf-8")
    entry = {str(first + 1): {"content": "<|im_end|>", "special": True}}
    config = {"tokenizer_class": "GPT2Tokenizer", "added_tokens_decoder": entry}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    tokenizer = CodeTokenizer.from_file(folder / "tokenizer.json")
    assert tokenizer.vocabulary_size == first + 2
    assert tokenizer.decode_bytes([first]) == b"<mine>"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocab.json", "[]"),
        ("vocab.json", '{"a": "b"}'),
        ("merges.txt", "one\n"),
        ("merges.txt", "a b c\n"),
        ("merges.txt", "nothing here\n"),
        ("tokenizer_config.json", '{"add_prefix_space": true}'),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": 1}}'),
        ("added_tokens.json", '{"<mine>": "7"}'),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"7": {"content": 5}}}'),
    ],
)
def test_files_that_are_damaged(name: str, content: str, folder: Path) -> None:
    (folder / name).write_text(content, "utf-8")
    with pytest.raises(GPTBigCodeError):
        CodeTokenizer.from_file(folder / "tokenizer.json")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocab.json", '{"a": NaN}'),
        ("vocab.json", "[]"),
        ("merges.txt", "zz yy\n"),
        ("added_tokens.json", '{"<mine>": null}'),
        ("tokenizer_config.json", "[]"),
        ("tokenizer_config.json", '{"a": -Infinity}'),
    ],
)
def test_the_damaged_file_is_named(name: str, content: str, folder: Path) -> None:
    (folder / name).write_text(content, "utf-8")
    with pytest.raises(TokenizerError, match=f"^{name}: "):
        CodeTokenizer.from_file(folder / "tokenizer.json")


def test_what_other_tools_write_is_read(folder: Path) -> None:
    """transformers writes int(1e30) for no limit; editors of Windows write a byte order mark."""
    config = '{"model_max_length": 1000000000000000019884624838656}'
    (folder / "tokenizer_config.json").write_text(config, "utf-8")
    merges = (folder / "merges.txt").read_bytes()
    before = CodeTokenizer.from_file(folder / "tokenizer.json").encode(TEXTS[0])
    (folder / "merges.txt").write_bytes(b"\xef\xbb\xbf" + merges.replace(b"\n", b"\r\n"))
    assert CodeTokenizer.from_file(folder / "tokenizer.json").encode(TEXTS[0]) == before


@pytest.mark.parametrize("missing", ["vocab.json", "merges.txt"])
def test_one_file_is_not_enough(missing: str, folder: Path) -> None:
    (folder / missing).unlink()
    with pytest.raises(CheckpointMissingError, match=r"tokenizer\.json: no such file"):
        CodeTokenizer.from_file(folder / "tokenizer.json")
