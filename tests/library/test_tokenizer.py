"""CodeTokenizer: bytes come back, text stays text, hostile files are refused."""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import (
    CheckpointMissingError,
    InfillUnsupportedError,
    InputError,
    TokenizerError,
)
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer, InfillTokens, RepositoryTokens

ALL_SPELLINGS = (
    *("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<fim-prefix>"),
    *("<fim-middle>", "<fim-suffix>", "<filename>", "<reponame>", "<gh_stars>", "<jupyter_code>"),
)


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint: Path) -> CodeTokenizer:
    return CodeTokenizer.from_file(tiny_checkpoint / "tokenizer.json")


@pytest.fixture
def changed(tiny_checkpoint: Path, tmp_path: Path) -> Callable[..., Path]:
    """`changed(function)`: the tiny tokenizer.json after a function has had its way with it."""

    def write(change: Callable[[dict[str, Any]], None]) -> Path:
        values = json.loads((tiny_checkpoint / "tokenizer.json").read_text("utf-8"))
        change(values)
        path = tmp_path / "tokenizer.json"
        path.write_text(json.dumps(values), "utf-8")
        return path

    return write


def random_text(seed: int) -> str:
    """A mixture of code, all planes of Unicode, control characters and sentinels."""
    chance = random.Random(seed)
    parts = []
    for _ in range(chance.randrange(1, 60)):
        code = chance.choice(
            [chance.randrange(128), chance.randrange(0x800), chance.randrange(0x110000)]
        )
        char = chr(code) if not 0xD800 <= code < 0xE000 else "\ufffe"
        word = chance.choice(["def f", " ,", " ?", "' s", "\t", "\r\n", "  ", "2024", "\x0c"])
        parts.append(chance.choice([char, word, word, chance.choice(ALL_SPELLINGS)]))
    return "".join(parts)


def test_text_comes_back_byte_for_byte(tokenizer: CodeTokenizer) -> None:
    for seed in range(1000):
        text = random_text(seed)
        ids = tokenizer.encode(text)
        assert tokenizer.decode_bytes(ids) == text.encode(), seed
        assert tokenizer.control_ids.isdisjoint(ids)


def test_every_character_comes_back(tokenizer: CodeTokenizer) -> None:
    text = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x10000), *range(0x1F300, 0x1FA00)]))
    assert tokenizer.decode_bytes(tokenizer.encode(text)) == text.encode()


def test_own_repository_comes_back(tokenizer: CodeTokenizer) -> None:
    for path in sorted(Path(__file__).parent.glob("*.py")):
        text = path.read_text("utf-8")
        assert tokenizer.decode_bytes(tokenizer.encode(text)) == text.encode()


@pytest.mark.parametrize("text", ["e\u0301", "\u00e9", "ﬁ", "①", "a\u200db", "\u0130", "\ufeffx"])
def test_nothing_is_normalized(tokenizer: CodeTokenizer, text: str) -> None:
    assert tokenizer.decode_bytes(tokenizer.encode(text)).decode() == text


def test_ids_are_those_of_the_library(tiny_checkpoint: Path, tokenizer: CodeTokenizer) -> None:
    library = Tokenizer.from_file(str(tiny_checkpoint / "tokenizer.json"))
    for text in ("def area(width):\n    return 2024", " x", "größer 日本語\t😀", ""):
        assert tokenizer.encode(text) == library.encode(text).ids


def test_digits_are_single_tokens(tokenizer: CodeTokenizer) -> None:
    pieces = [tokenizer.token_bytes(token) for token in tokenizer.encode("2024")]
    assert pieces == [b"2", b"0", b"2", b"4"]


@pytest.mark.parametrize("name", ["tiny_checkpoint", "tiny_santacoder_checkpoint"])
def test_a_literal_special_token_is_text(name: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(name) / "tokenizer.json"
    tokenizer = CodeTokenizer.from_file(path)
    library = Tokenizer.from_file(str(path))
    for content, special in tokenizer.special_ids.items():
        assert library.encode(f"x{content}y").ids.count(special) == 1  # what must not happen here
        ids = tokenizer.encode(f"x{content}y")
        assert tokenizer.control_ids.isdisjoint(ids)
        assert tokenizer.decode_bytes(ids) == f"x{content}y".encode()
        assert tokenizer.decode_bytes([special]) == b""


def test_sentinels_are_found_by_content(
    tokenizer: CodeTokenizer, tiny_santacoder_checkpoint: Path, tiny_plain_checkpoint: Path
) -> None:
    assert tokenizer.infill == InfillTokens(prefix=1, middle=2, suffix=3, pad=4)
    assert tokenizer.repository == RepositoryTokens(repository=18, file=5)
    assert tokenizer.end_of_text_id == 0
    santacoder = CodeTokenizer.from_file(tiny_santacoder_checkpoint / "tokenizer.json")
    assert santacoder.end_of_text_id == 400
    assert santacoder.require_infill() == InfillTokens(401, 402, 403, 404)
    assert santacoder.repository is None
    plain = CodeTokenizer.from_file(tiny_plain_checkpoint / "tokenizer.json")
    assert plain.infill is None
    assert plain.control_ids == {0}
    with pytest.raises(InfillUnsupportedError):
        plain.require_infill()


def test_rows_without_a_token_are_nothing(tiny_santacoder_checkpoint: Path) -> None:
    tokenizer = CodeTokenizer.from_file(tiny_santacoder_checkpoint / "tokenizer.json")
    config = GPTBigCodeConfig.from_json_file(tiny_santacoder_checkpoint / "config.json")
    assert tokenizer.vocabulary_size == 405 < config.vocab_size
    tokenizer.validate_against(config)
    assert tokenizer.decode_bytes([tokenizer.encode("a")[0], 447, 10**9]) == b"a"


def test_sentinels_that_the_file_does_not_mark_are_still_control_tokens(
    changed: Callable[..., Path],
) -> None:
    def unmark(values: dict[str, Any]) -> None:
        for entry in values["added_tokens"]:
            entry["special"] = False

    tokenizer = CodeTokenizer.from_file(changed(unmark))
    assert tokenizer.infill == InfillTokens(1, 2, 3, 4)
    assert tokenizer.control_ids.isdisjoint(tokenizer.encode("<fim_middle><|endoftext|>"))


def test_added_words_do_not_match_text_but_are_decoded(changed: Callable[..., Path]) -> None:
    def add(values: dict[str, Any]) -> None:
        plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True}
        values["added_tokens"].append({"id": 400, "content": "größe", "special": False, **plain})

    path = changed(add)
    assert 400 in Tokenizer.from_file(str(path)).encode("die größe").ids
    tokenizer = CodeTokenizer.from_file(path)
    assert 400 not in tokenizer.encode("die größe")
    assert tokenizer.decode_bytes([400]) == "größe".encode()
    assert 400 not in tokenizer.control_ids


def test_settings_for_batches_in_the_file_change_nothing(
    tokenizer: CodeTokenizer, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    library = Tokenizer.from_file(str(tiny_checkpoint / "tokenizer.json"))
    library.enable_truncation(4)
    library.enable_padding(length=64)
    library.save(str(tmp_path / "tokenizer.json"))
    other = CodeTokenizer.from_file(tmp_path / "tokenizer.json")
    assert other.encode("def f(x): return x + 1") == tokenizer.encode("def f(x): return x + 1")


def without_byte(values: dict[str, Any], byte_char: str) -> None:
    """Take one byte symbol, and all that is merged from it, out of a vocabulary."""
    model = values["model"]
    model["vocab"] = {token: n for token, n in model["vocab"].items() if byte_char not in token}
    model["merges"] = [pair for pair in model["merges"] if byte_char not in "".join(pair)]


def test_a_character_that_cannot_be_spelled_is_named(changed: Callable[..., Path]) -> None:
    # 0xF4, the byte that StarCoder's vocabulary lacks, begins the characters from U+100000 on.
    path = changed(lambda values: without_byte(values, "\u00f4"))
    lost = Tokenizer.from_file(str(path)).encode("a\U00100000b").ids
    tokenizer = CodeTokenizer.from_file(path)
    assert tokenizer.decode_bytes(lost) != "a\U00100000b".encode()  # the library drops it silently
    assert tokenizer.missing_bytes == {0xF4}
    with pytest.raises(InputError, match=r"U\+100000.*character 1"):
        tokenizer.encode("a\U00100000b")
    assert tokenizer.decode_bytes(tokenizer.encode("a😀b")) == "a😀b".encode()


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\ud83d x"])
def test_a_lone_surrogate_is_refused(tokenizer: CodeTokenizer, text: str) -> None:
    with pytest.raises(InputError, match="surrogate"):
        tokenizer.encode(text)


def set_model(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda values: values["model"].update(fields)


def two_tokens_with_one_id(values: dict[str, Any]) -> None:
    values["model"]["vocab"]["Ġdef"] = 300


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.pop("model"),
        lambda values: values["model"].pop("vocab"),
        lambda values: values["model"].update(vocab={}),
        lambda values: values["model"]["vocab"].update({"ĠĠĠ": "7"}),
        lambda values: values["model"]["vocab"].update({"Ġq": -1}),
        lambda values: values["model"]["vocab"].update({"日本": 399}),
        lambda values: values["model"]["merges"].append(["nowhere", "to be found"]),
        lambda values: values["added_tokens"].append({"id": 500}),
        lambda values: values["added_tokens"].append(7),
        lambda values: values.update(added_tokens=[]) or values["model"]["vocab"].pop("a"),
        lambda values: values.update(normalizer={"type": "NFC"}),
        lambda values: values.update(pre_tokenizer=None),
        lambda values: values.update(pre_tokenizer={"type": "Whitespace"}),
        lambda values: values.update(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True}),
        lambda values: values["pre_tokenizer"]["pretokenizers"].append({"type": "Metaspace"}),
        two_tokens_with_one_id,
        set_model(type="WordPiece"),
        set_model(dropout=0.1),
        set_model(byte_fallback=True),
        set_model(end_of_word_suffix="</w>"),
    ],
)
def test_a_definition_that_cannot_be_trusted_is_refused(
    changed: Callable[..., Path], change: Callable[[dict[str, Any]], None]
) -> None:
    with pytest.raises(TokenizerError):
        CodeTokenizer.from_file(changed(change))


def test_a_pattern_that_takes_exponential_time_is_refused(changed: Callable[..., Path]) -> None:
    def add(pattern: str) -> Callable[[dict[str, Any]], None]:
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
        return lambda values: values["pre_tokenizer"]["pretokenizers"].insert(
            0, {**split, "invert": False}
        )

    with pytest.raises(TokenizerError, match="pattern"):
        CodeTokenizer.from_file(changed(add(r"(a+)+$")))
    CodeTokenizer.from_file(changed(add(r"\p{N}")))


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b"null", b"\xff\xfe{", b'{"model":', b"[" * 100_000, b"<html>"]
)
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(raw)
    with pytest.raises(TokenizerError):
        CodeTokenizer.from_file(path)


def test_a_file_that_is_missing_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissingError):
        CodeTokenizer.from_file(tmp_path / "tokenizer.json")
    with (tmp_path / "huge.json").open("wb") as stream:
        stream.truncate((64 << 20) + 1)
    with pytest.raises(TokenizerError, match="64 MiB"):
        CodeTokenizer.from_file(tmp_path / "huge.json")


def test_more_tokens_than_the_model_has_rows_is_refused(tokenizer: CodeTokenizer) -> None:
    tokenizer.validate_against(GPTBigCodeConfig(vocab_size=400))
    with pytest.raises(TokenizerError, match="399"):
        tokenizer.validate_against(GPTBigCodeConfig(vocab_size=399))


def test_a_text_starts_with_a_control_token(
    tokenizer: CodeTokenizer, tiny_santacoder_checkpoint: Path
) -> None:
    # GPT-2's 50256 stays in many files; here it is another token, or none.
    for bos in (50256, 300, None):
        assert tokenizer.start_id(GPTBigCodeConfig(vocab_size=60_000, bos_token_id=bos)) == 0
    santacoder = CodeTokenizer.from_file(tiny_santacoder_checkpoint / "tokenizer.json")
    assert santacoder.start_id(GPTBigCodeConfig(vocab_size=405, bos_token_id=400)) == 400


LINES = "".join(f"value_{n} = compute({n})  # größer\n" for n in range(400))


@pytest.mark.parametrize("room", [1, 2, 5, 17, 64, 500])
def test_the_tail_is_a_suffix_that_fits(tokenizer: CodeTokenizer, room: int) -> None:
    ids, dropped = tokenizer.encode_tail(LINES, room)
    kept = tokenizer.decode_bytes(ids)
    assert 0 < len(ids) <= room
    assert LINES.encode().endswith(kept)
    assert len(ids) + dropped == len(tokenizer.encode(LINES))
    if room >= 64:
        assert kept.startswith(b"value_")  # cut at a line start


@pytest.mark.parametrize("room", [1, 2, 5, 17, 64, 500])
def test_the_head_is_a_prefix_that_fits(tokenizer: CodeTokenizer, room: int) -> None:
    ids, dropped = tokenizer.encode_head(LINES, room)
    kept = tokenizer.decode_bytes(ids)
    assert 0 < len(ids) <= room
    assert LINES.encode().startswith(kept)
    assert len(ids) + dropped == len(tokenizer.encode(LINES))
    if room >= 64:
        assert kept.endswith(b"\n")


@pytest.mark.parametrize("room", range(1, 12))
def test_a_cut_is_never_inside_a_character(tokenizer: CodeTokenizer, room: int) -> None:
    text = "日本語" * 7
    tail = tokenizer.decode_bytes(tokenizer.encode_tail(text, room)[0])
    assert text.endswith(tail.decode())
    head = tokenizer.decode_bytes(tokenizer.encode_head(text, room)[0])
    assert text.startswith(head.decode())


def test_what_fits_is_not_cut(tokenizer: CodeTokenizer) -> None:
    ids = tokenizer.encode(LINES)
    assert tokenizer.encode_tail(LINES, len(ids)) == (ids, 0)
    assert tokenizer.encode_head(LINES, len(ids)) == (ids, 0)
    assert tokenizer.encode_tail("", 5) == ([], 0)


def test_the_number_of_dropped_tokens_is_estimated_well(tokenizer: CodeTokenizer) -> None:
    text = LINES * 30  # more than is tokenized whole
    ids, dropped = tokenizer.encode_tail(text, 500)
    total = len(tokenizer.encode(text))
    assert len(text) > 1 << 18
    assert abs(len(ids) + dropped - total) < 0.05 * total


@pytest.mark.timing
@pytest.mark.parametrize("char", ["a", " ", "_", "(", "\n", "😀", "ab,"])
def test_the_tail_of_a_huge_line_costs_no_more_for_a_huger_one(
    tokenizer: CodeTokenizer, char: str
) -> None:
    def seconds(text: str) -> float:
        started = time.perf_counter()
        ids, dropped = tokenizer.encode_tail(text, 2048)
        assert len(ids) == 2048 or text[0] == "\n" or len(ids) > 2000
        assert dropped > 2048
        return time.perf_counter() - started

    small, large = char * (1 << 21), char * (1 << 23)
    assert min(seconds(large) for _ in range(3)) < 2.5 * min(seconds(small) for _ in range(3)) + 0.1
