"""Labels of tokens become spans: one for each secret, with exact places."""

import random

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from gpt_bigcode.labeling.options import TagOptions
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from rule_taggers import BIO, PLAIN, by_letter, by_script, make, shown
from scripted_models import write_checkpoint

LETTERS = (
    *(
        "a",
        "return",
        " ",
        "  ",
        "\t",
        "\r\n",
        "\n",
        "é",
        "e\u0301",
        "😀",
        "👩\u200d💻",
        "中文",
        "1",
        "ß.",
    ),
)


@pytest.fixture(scope="module")
def plain_bytes(tmp_path_factory: pytest.TempPathFactory) -> CodeTokenizer:
    """One token for each byte."""
    folder = write_checkpoint(tmp_path_factory.mktemp("model") / "bytes", script=[])
    return CodeTokenizer.from_file(folder / "tokenizer.json")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> CodeTokenizer:
    """Tokens that join letters, white space and bytes of several characters."""
    levels = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = levels, decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["".join(LETTERS) * 2, "return\n  é中文é中文 👩😀👩😀"], trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return CodeTokenizer.from_file(path)


TABLE = {
    "one key": (PLAIN, "x = ABCDEFGHIJKL;", "00001111111111110", [("UPPER", "ABCDEFGHIJKL")]),
    "a missed piece inside": (PLAIN, "ABCDEF", "110111", [("UPPER", "ABCDEF")]),
    "a hyphen inside": (PLAIN, "ABC-DEF", "1110111", [("UPPER", "ABC-DEF")]),
    "another kind inside": (PLAIN, "ABCDEF", "112111", [("UPPER", "ABCDEF")]),
    "another kind at the end of a word": (PLAIN, "ABCDEF", "111122", [("UPPER", "ABCDEF")]),
    "a hyphen of another kind inside": (PLAIN, "AB-DEF", "112111", [("UPPER", "AB-DEF")]),
    "missed pieces inside": (PLAIN, "ABCDEF", "110011", [("UPPER", "ABCDEF")]),
    "an address in pieces": (PLAIN, "a@b-c.de", "20200022", [("DIGIT", "a@b-c.de")]),
    "a path between": (PLAIN, "ab/c/de", "1100011", [("UPPER", "ab"), ("UPPER", "de")]),
    "quotes at the edges": (PLAIN, "x='AB',", "0111111", [("UPPER", "AB")]),
    "only quotes": (PLAIN, "x=''", "0111", []),
    "an end in the gap": (PLAIN, "AB-c@ CD", "11000011", [("UPPER", "AB"), ("UPPER", "CD")]),
    "another kind in the gap": (PLAIN, "AB-c@ ", "112200", [("UPPER", "AB"), ("DIGIT", "-c")]),
    "neighbours behind a comma": (PLAIN, "ab,cd", "11011", [("UPPER", "ab"), ("UPPER", "cd")]),
    "neighbours behind a space": (PLAIN, "ab cd", "11011", [("UPPER", "ab"), ("UPPER", "cd")]),
    "neighbours of two kinds": (PLAIN, "ab:cd", "11022", [("UPPER", "ab"), ("DIGIT", "cd")]),
    "touching kinds": (PLAIN, "ab.cd", "11222", [("UPPER", "ab"), ("DIGIT", ".cd")]),
    "a new beginning": (BIO, "ab cd", "12212", [("UPPER", "ab"), ("UPPER", "cd")]),
    "a new beginning without a gap": (BIO, "ab.cd", "12212", [("UPPER", "ab."), ("UPPER", "cd")]),
    "a beginning inside a word": (BIO, "abcdef", "122122", [("UPPER", "abcdef")]),
    "a hyphen that begins": (BIO, "ab-def", "121222", [("UPPER", "ab-def")]),
    "inside without a beginning": (BIO, "x ab", "0022", [("UPPER", "ab")]),
    "inside of another kind": (BIO, "ab cd", "12044", [("UPPER", "ab"), ("DIGIT", "cd")]),
    "a beginning behind a gap": (BIO, "ab-cd", "12012", [("UPPER", "ab"), ("UPPER", "cd")]),
    "white space at the edges": (PLAIN, "a \tbc\r\n d", "011111110", [("UPPER", "bc")]),
    "only white space": (PLAIN, "a \t\n d", "011110", []),
    "a missed piece at the end": (PLAIN, "ABCx", "1110", [("UPPER", "ABC")]),
    "a missed piece before the end": (PLAIN, "ABCx ", "11100", [("UPPER", "ABC")]),
    "the kind that most pieces have": (PLAIN, "abcde", "12212", [("DIGIT", "abcde")]),
}


@pytest.mark.parametrize("name", TABLE)
def test_g4_pieces_become_spans(plain_bytes: CodeTokenizer, name: str) -> None:
    labels, text, script, expected = TABLE[name]
    assert len(text) == len(script)
    model = make(by_script(script), plain_bytes, labels=labels)
    assert shown(model.tag(text)) == expected


def test_g4_a_doubtful_piece_does_not_drag_the_score_down(plain_bytes: CodeTokenizer) -> None:
    model = make(by_script("100010000001"), plain_bytes, share=0.9)
    (span,) = model.tag("ABCDEFGHIJKL").spans
    assert span.score == pytest.approx(0.9, abs=1e-6)


@pytest.mark.parametrize(("single", "last"), [("S-UPPER", "E-UPPER"), ("U-UPPER", "L-UPPER")])
def test_g4_other_prefixes(plain_bytes: CodeTokenizer, single: str, last: str) -> None:
    model = make(by_script("123041"), plain_bytes, labels=("O", "B-UPPER", "I-UPPER", last, single))
    assert shown(model.tag("abc d:")) == [("UPPER", "abc"), ("UPPER", "d:")]
    model = make(by_script("441"), plain_bytes, labels=("O", "B-UPPER", "I-UPPER", last, single))
    assert shown(model.tag("a.b")) == [("UPPER", "a."), ("UPPER", "b")]


def test_g3_places_are_exact(plain_bytes: CodeTokenizer) -> None:
    text = "\ufeffa\tAB\r\n😀é́ 12@3\r\n\r\n中 QQ\ntail"
    data = text.encode()
    spans = make(by_letter(plain_bytes), plain_bytes).tag(text).spans
    assert [(data[s.start : s.end].decode(), s.text) for s in spans] == [
        *(("AB", "AB"), ("12@3", "12@3"), ("QQ", "QQ"))
    ]
    places = [(s.start_line, s.start_column, s.end_line, s.end_column) for s in spans]
    assert places == [(1, 3, 1, 5), (2, 5, 2, 9), (4, 3, 4, 5)]


def test_g3_a_span_over_lines(plain_bytes: CodeTokenizer) -> None:
    (span,) = make(by_script("0111110"), plain_bytes).tag("xA\nB\nCy").spans
    place = (span.start_line, span.start_column, span.end_line, span.end_column)
    assert (place, span.text) == ((1, 2, 3, 2), "A\nB\nC")


def test_g3_spans_cut_no_character_and_have_no_white_space_at_the_edges(
    pairs: CodeTokenizer,
) -> None:
    """Random labels over tokens that end anywhere in a character; the words of the file hold."""
    draw = random.Random(5)
    for _ in range(60):
        text = draw.choice(["", "\ufeff"]) + "".join(draw.choices(LETTERS, k=80))
        data = text.encode()
        script = "".join(draw.choices("0012", k=400))
        model = make(by_script(script), pairs, context=400)
        spans = model.tag(text, TagOptions(min_score=0)).spans
        ends = [0]
        for span in spans:
            assert data[span.start : span.end].decode() == span.text == span.text.strip()
            assert span.start >= ends[-1]
            ends.append(span.end)
            for byte, line, column in (
                (span.start, span.start_line, span.start_column),
                (span.end, span.end_line, span.end_column),
            ):
                before = data[:byte].decode().removeprefix("\ufeff")
                assert line == before.count("\n") + 1
                assert column == len(before.rpartition("\n")[2]) + 1
        assert any(spans)


def test_g3_tokens_inside_of_a_character_are_judged_together(plain_bytes: CodeTokenizer) -> None:
    """Three of the four bytes of an emoji are labelled: it is a key as a whole."""
    assert shown(make(by_script("011101"), plain_bytes).tag("x😀y")) == [("UPPER", "😀y")]
    assert shown(make(by_script("010000"), plain_bytes).tag("x😀y")) == []
