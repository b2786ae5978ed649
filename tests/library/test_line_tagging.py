"""Taggers that read line by line: the same answer however a text comes, and equal lines once."""

from collections.abc import Iterator

import pytest

from gpt_bigcode.errors import InputError
from gpt_bigcode.labeling import line_reader
from gpt_bigcode.labeling.line_templates import Template
from gpt_bigcode.labeling.results import Span, Tagging
from gpt_bigcode.labeling.shapes import WIDEST_LINE
from gpt_bigcode.labeling.text_tagger import TextTagger
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from gpt_bigcode.windowing.document_stream import PAUSE, Excerpt
from rule_taggers import FakeLabeler, by_letter, make, shown
from scripted_models import write_checkpoint

TAGGING = {"read": "lines", "delay": 0}
KEY_LABELS = ("O", "UPPER", "DIGIT", "KEY")
BASE64 = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{BASE64}\n{BASE64[:20]}=\n-----END RSA PRIVATE KEY-----"
TEXTS = (
    "",
    "\n",
    "a B c",
    "x = AB\r\n\r\n  y = 1@2\n",
    "\ufeffAB\n12\n",
    "x" * 300 + "ABCD" + "y" * 90,
    f"k = '{PEM}'\nAB\n",
    f"{PEM[:70]}\nno end\nAB",
    "é AB 中CD中\n" * 3,
    ("word " * 4000 + "ABC") + "\n12",
)


@pytest.fixture(scope="module")
def plain_bytes(tmp_path_factory: pytest.TempPathFactory) -> CodeTokenizer:
    """One token for each byte."""
    folder = write_checkpoint(tmp_path_factory.mktemp("model") / "bytes", script=[])
    return CodeTokenizer.from_file(folder / "tokenizer.json")


@pytest.fixture
def model(plain_bytes: CodeTokenizer) -> TextTagger:
    return make(by_letter(plain_bytes), plain_bytes, labels=KEY_LABELS, tagging=TAGGING)


def spans_of(tagging: Tagging | Exception) -> tuple[Span, ...]:
    assert isinstance(tagging, Tagging)
    return tagging.spans


def streamed(model: TextTagger, text: str, size: int, *, pause: bool) -> tuple[Span, ...]:
    def pieces() -> Iterator[str]:
        for start in range(0, len(text), size):
            yield text[start : start + size]
            if pause:
                yield PAUSE

    return tuple(span for advance in model.stream(pieces()) for span in advance.spans)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_g2_whole_in_pieces_with_pauses_and_among_others(model: TextTagger, text: str) -> None:
    whole = model.tag(text).spans
    raw = text.encode()
    for span in whole:
        assert raw[span.start : span.end].decode() == span.text
        before = raw[: span.start].decode().removeprefix("\ufeff")
        assert span.start_line == 1 + before.count("\n")
        assert span.start_column == len(before) - before.rfind("\n")
    sizes = (1, 7, 4096) if len(text) < 2000 else (4096, 9973)
    for size in sizes:
        for pause in (False, True):
            assert streamed(model, text, size, pause=pause) == whole
    among = list(model.tag_many([[one] for one in (*TEXTS, text)]))
    assert spans_of(among[-1]) == whole


def test_a_line_is_known_at_its_end(model: TextTagger) -> None:
    """Nothing of the next line is needed."""
    given: list[int] = []

    def pieces() -> Iterator[str]:
        for line in ("one A\n", "two BC\n", "three"):
            yield line
            yield PAUSE
            given.append(found)

    found = 0
    for advance in model.stream(pieces()):
        found = advance.offset
    assert given == [6, 13, 13]
    assert found == 18


def test_equal_lines_are_computed_once(model: TextTagger) -> None:
    labeler = model.labeler
    assert isinstance(labeler, FakeLabeler)
    first = model.tag("alpha BC\nalpha BC\n\n gamma\n" * 50)
    assert sum(map(len, labeler.batches)) == 2
    assert len(first.spans) == 100
    assert model.tag("alpha BC\n").spans[0].text == "BC"
    assert sum(map(len, labeler.batches)) == 2


def test_lines_of_one_template_are_computed_once(model: TextTagger) -> None:
    labeler = model.labeler
    assert isinstance(labeler, FakeLabeler)
    text = "".join(
        f"2024-03-{n:02} took {n} ms from 41.36.{n}.{n + 100} AB\n" for n in range(10, 60)
    )
    tagging = model.tag(text)
    assert sum(map(len, labeler.batches)) == 1
    assert [s.text for s in tagging.spans if s.label == "UPPER"] == ["AB"] * 50
    assert {s.text for s in tagging.spans if s.label == "DIGIT"} >= {"41", "59"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("GET 41.36.71.227 took 12ms", "GET 141.6.7.7 took 97ms"),
        ("2024-03-12T06:25:03Z x", "2025-11-30T23:59:59.123Z x"),
        ("id=3f2504e0-4f89-41d3-9a0c-0305e82c3301", "id=00000000-4f89-41d3-9a0c-0305e82c3301"),
        ("trace 0af7651916cd43dd", "trace 9bc7651916cd43ff"),
    ],
)
def test_a_template_leaves_out_what_varies(first: str, second: str) -> None:
    assert Template.of(first).text == Template.of(second).text


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("hunter2", "hunter3"),
        ("ghp_1a", "ghp_2a"),
        ("10.0.0.1", "41.36.71.227"),
        ("anna42@bluebox.io", "anna43@bluebox.io"),
    ],
)
def test_a_template_keeps_what_may_be_found(first: str, second: str) -> None:
    assert Template.of(first).text != Template.of(second).text


def test_places_in_a_template_are_places_in_its_line() -> None:
    line = "x 8.36.71.22 y 2025-11-30T23:59:59.123Z zz 7"
    template = Template.of(line)
    for word in ("x", "y", "zz"):
        place = template.text.index(word)
        assert line[template.start(place) : template.end(place + len(word))] == word
    address = template.text.split()[1]
    place = template.text.index(address)
    assert line[template.start(place + 3) : template.end(place + 5)] == "8.36.71.22"


def test_d3_what_is_remembered_is_bounded(
    model: TextTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_reader, "MOST_REMEMBERED", 300)
    words = ("".join(chr(97 + int(d)) for d in str(n)) for n in range(1000))
    model.tag("\n".join(words))
    reader = model._lines._reader  # nothing else shows it
    assert 300 < len(reader._newer) + len(reader._older) <= 600


def test_a_private_key_is_one_finding(model: TextTagger) -> None:
    text = f"a\nkey: |\n  {PEM}\nb"
    assert ("KEY", PEM) in shown(model.tag(text))
    escaped = PEM.replace("\n", "\\n")
    assert shown(model.tag(f'"k": "{escaped}"')) == [("KEY", escaped)]


@pytest.mark.parametrize(
    "text",
    [
        PEM.replace("RSA PRIVATE KEY", "CERTIFICATE"),
        PEM.replace("RSA PRIVATE KEY", "PUBLIC KEY"),
        "-----begin rsa private key-----\n...\n-----end rsa private key-----",
    ],
)
def test_other_blocks_are_no_finding(model: TextTagger, text: str) -> None:
    assert shown(model.tag(text)) == []


def test_a_mention_hides_nothing(model: TextTagger) -> None:
    """What looks like the beginning of a block and is none."""
    text = "if line == '-----BEGIN RSA PRIVATE KEY-----':\n    return AB\n"
    assert ("UPPER", "AB") in shown(model.tag(text))


def test_a_block_without_an_end_goes_as_far_as_it_looks_like_one(model: TextTagger) -> None:
    text = f"-----BEGIN PRIVATE KEY-----\n{BASE64}\n{BASE64}\nthis is text AB\n"
    assert shown(model.tag(text)) == [
        ("KEY", f"-----BEGIN PRIVATE KEY-----\n{BASE64}\n{BASE64}"),
        ("UPPER", "AB"),
    ]


def test_an_excerpt_reads_its_lines_alone(model: TextTagger) -> None:
    labeler = model.labeler
    assert isinstance(labeler, FakeLabeler)
    lines = [f"line {'x' * n} A{'B' * n}\n" for n in range(40)]
    (tagging,) = model.tag_many([Excerpt(["".join(lines)], [range(7, 9)])])
    assert [span.start_line for span in spans_of(tagging)] == [7, 8]
    assert sum(map(len, labeler.batches)) == 2


def test_one_broken_text_stops_none(model: TextTagger) -> None:
    def broken() -> Iterator[str]:
        yield "ABC\n"
        raise InputError("gone")

    first, second, third = model.tag_many([["AA\n"], broken(), ["BB"]])
    assert shown(first) == [("UPPER", "AA")]
    assert str(second) == "gone"
    assert shown(third) == [("UPPER", "BB")]


def test_a_line_of_any_length(model: TextTagger) -> None:
    """Cut at a blank, so that nothing is torn."""
    text = "word " * (WIDEST_LINE // 5 - 1) + "ABCDEFGH" + " word" * 5000
    (span,) = model.tag(text).spans
    assert span.text == "ABCDEFGH"
    assert span.start_column == text.index("ABC") + 1
