"""Labelled spans of texts of any length: by windows, in pieces, one text or many."""

import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gpt_bigcode.errors import ConfigError, InputError, NonFiniteError, OptionError
from gpt_bigcode.labeling.options import TagOptions
from gpt_bigcode.labeling.results import Span, Tagging
from gpt_bigcode.labeling.text_tagger import TextTagger
from gpt_bigcode.tokenization.tokenizer import CodeTokenizer
from gpt_bigcode.windowing.document_stream import PAUSE, Excerpt
from rule_taggers import PLAIN, Rule, by_letter, by_script, make, shown
from scripted_models import write_checkpoint
from scripted_taggers import write_tagger
from windows_of import windows_of


@pytest.fixture(scope="module")
def plain_bytes(tmp_path_factory: pytest.TempPathFactory) -> CodeTokenizer:
    """One token for each byte."""
    folder = write_checkpoint(tmp_path_factory.mktemp("model") / "bytes", script=[])
    return CodeTokenizer.from_file(folder / "tokenizer.json")


def test_g2_a_secret_is_found_once_wherever_it_stands(plain_bytes: CodeTokenizer) -> None:
    """At 0 %, 50 % and 99.9 % of a file of five windows and more, and across each border."""
    model = make(by_letter(plain_bytes), plain_bytes)
    reading = model.windows
    size = 5 * (reading.window_tokens - reading.overlap) + 7
    borders = [edge for w in windows_of(reading, size) for edge in (w.start, w.last, w.stop)]
    places = {edge - shift for edge in borders for shift in (0, 1, 6, 11, 12)}
    for place in sorted({0, size // 2, size - 13, size - 12} | places):
        if not 0 <= place <= size - 12:
            continue
        text = "x" * place + "ABCDEFGHIJKL" + "y" * (size - place - 12)
        (span,) = model.tag(text).spans
        assert (span.start, span.end, span.text) == (place, place + 12, "ABCDEFGHIJKL")


@pytest.mark.parametrize("tagging", [None, {"read": "once", "delay": 3}, {"read": "twice"}])
def test_g2_labels_come_from_the_window_with_the_most_context(
    plain_bytes: CodeTokenizer, tagging: dict[str, object] | None
) -> None:
    """A naive twin looks at all windows that hold a token and takes the one that sees the most."""
    read: list[list[int]] = []

    def rule(row: Sequence[int], place: int) -> int:
        if place == 0:
            read.append(list(row))
        return 0

    model = make(rule, plain_bytes, tagging=tagging, context=32)
    reading, end = model.windows, plain_bytes.end_of_text_id
    text = "".join(chr(33 + number % 90) for number in range(150))
    ids = plain_bytes.encode(text)
    tagging_ = model.tag(text)
    windows = windows_of(reading, len(ids))
    assert (tagging_.tokens, tagging_.windows) == (150, len(windows))
    expected = [reading.row(ids[window.start : window.stop]) for window in windows]
    assert sorted(read) == sorted(expected)
    assert [place for w in windows for place in range(w.first, w.last)] == list(range(150))
    delay = reading.delay if reading.mode == "once" else None
    for window in windows:
        for place in range(window.first, window.last):
            sees = {w: _context(w, place, len(ids), delay) for w in windows if _holds(w, place)}
            assert sees[window] == max(sees.values())
    if tagging == {"read": "twice"}:
        assert all(row == [*row[: len(row) // 2], end, *row[: len(row) // 2]] for row in read)
    elif tagging:
        assert all(row[-3:] == [end] * 3 for row in read)
        assert max(map(len, read)) == 32


def _holds(window: object, place: int) -> bool:
    return bool(window.start <= place < window.stop)  # type: ignore[attr-defined]


def _context(window: object, place: int, length: int, delay: int | None) -> tuple[int, int]:
    """What a model sees around a token: the end of the text is as good as any context."""
    start, stop = window.start, window.stop  # type: ignore[attr-defined]
    after = length if stop == length else stop - 1 - place
    before = length if start == 0 else place - start
    if delay is None:
        return min(before, after), 0
    return min(after, delay), before


def test_a_delayed_label_belongs_to_the_token_before(plain_bytes: CodeTokenizer) -> None:
    """The last labels are read at the `<|endoftext|>`s behind the window."""
    end = plain_bytes.end_of_text_id

    def rule(row: Sequence[int], place: int) -> int:
        return 1 if row[place] == end or plain_bytes.token_bytes(row[place]) == b"!" else 0

    model = make(rule, plain_bytes, tagging={"delay": 2})
    assert [(s.start, s.end) for s in model.tag("abc!defg").spans] == [(1, 2), (6, 8)]


def test_a_text_that_is_read_twice_is_labelled_in_its_second_copy(
    plain_bytes: CodeTokenizer,
) -> None:
    end = plain_bytes.end_of_text_id
    rule: Rule = lambda row, place: int(end in row[:place] and row[place] == row[-1])  # noqa: E731
    model = make(rule, plain_bytes, tagging={"read": "twice"})
    assert [(s.start, s.end) for s in model.tag("abc, c").spans] == [(2, 3), (5, 6)]


def test_many_texts_are_the_same_as_each_alone_and_one_fault_stops_none(
    plain_bytes: CodeTokenizer,
) -> None:
    model = make(by_letter(plain_bytes), plain_bytes)
    texts = ["a B c", "", "x" * 300 + "ABCD" + "y" * 90, "12@3", "Z"]

    def broken() -> Iterator[str]:
        yield "ABC"
        raise InputError("gone")

    documents: list[Iterator[str]] = [iter([text]) for text in texts]
    documents.insert(2, broken())
    outcomes = list(model.tag_many(documents))
    assert isinstance(outcomes.pop(2), InputError)
    assert outcomes == [model.tag(text) for text in texts]
    assert shown(outcomes[1]) == []


@pytest.mark.parametrize("size", [1, 7, 5000])
def test_pieces_of_any_size_give_the_same(plain_bytes: CodeTokenizer, size: int) -> None:
    model = make(by_letter(plain_bytes), plain_bytes)
    text = "\ufeffone TWO 3@4\r\n😀 " * 200
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    whole = model.tag(text)
    assert next(model.tag_many([pieces])) == whole
    advances = list(model.stream(pieces))
    assert tuple(span for advance in advances for span in advance.spans) == whole.spans
    assert advances[-1].offset == len(text.encode())
    done = 0
    for advance in advances:
        assert all(done <= span.start < span.end <= advance.offset for span in advance.spans)
        done = advance.offset


def test_d3_memory_does_not_grow_with_the_text(plain_bytes: CodeTokenizer) -> None:
    """Not even where all of it is labelled."""
    model = make(lambda _row, _place: 1, plain_bytes, context=512)

    def peak(size: int) -> int:
        tracemalloc.start()
        pieces = ("ab cd\n" * 100 for _ in range(size))
        for _ in model.stream(pieces):
            pass
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(2)
    assert peak(60) < 1.25 * peak(30)


def test_the_least_score_of_all_labels_and_of_one(plain_bytes: CodeTokenizer) -> None:
    model = make(by_letter(plain_bytes), plain_bytes, share=0.8)
    text = "ABC 1@2"
    assert shown(model.tag(text, TagOptions(min_score=0.81))) == []
    only = TagOptions(min_score=0.81, min_scores={"DIGIT": 0.7})
    assert shown(model.tag(text, only)) == [("DIGIT", "1@2")]
    assert shown(model.tag(text, TagOptions(labels=frozenset({"UPPER"})))) == [("UPPER", "ABC")]
    with pytest.raises(OptionError, match="'NAME' is not a label of this model: UPPER, DIGIT"):
        model.tag(text, TagOptions(labels=frozenset({"NAME"})))
    with pytest.raises(OptionError):
        TagOptions(min_score=1.5)


def test_without_names_the_first_label_is_none(plain_bytes: CodeTokenizer) -> None:
    labels = ("LABEL_0", "LABEL_1")
    model = make(by_script("0110"), plain_bytes, labels=labels)
    assert shown(model.tag("abcd")) == [("LABEL_1", "bc")]


@pytest.mark.parametrize(
    ("labels", "tagging", "reason"),
    [
        (("UPPER", "DIGIT"), None, "no label is called O"),
        (("O",), None, "no label but the one"),
        (PLAIN, "twice", "expected an object"),
        (PLAIN, {"read": "backwards"}, "'backwards' is not once, twice or lines"),
        (PLAIN, {"read": ["once"]}, "is not once, twice or lines"),
        (PLAIN, {"delay": 17}, "17 is not 0 to 16"),
        (PLAIN, {"delay": -1}, "-1 is not 0 to 16"),
        (PLAIN, {"delay": True}, "not a whole number"),
        (PLAIN, {"read": "twice", "delay": 1}, "read twice has none"),
        (PLAIN, {"dealy": 1}, "dealy: there is no such field"),
    ],
)
def test_a_configuration_that_means_nothing(
    plain_bytes: CodeTokenizer, labels: Sequence[str], tagging: object, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        make(by_script("0"), plain_bytes, labels=labels, tagging=tagging)


def test_a_context_too_short_to_read_twice(plain_bytes: CodeTokenizer) -> None:
    with pytest.raises(ConfigError, match="too short"):
        make(by_script("0"), plain_bytes, tagging={"read": "twice"}, context=2)
    model = make(by_letter(plain_bytes), plain_bytes, tagging={"read": "twice"}, context=3)
    assert shown(model.tag("a BC d")) == [("UPPER", "BC")]


def test_a_failing_model_ends_the_work(plain_bytes: CodeTokenizer) -> None:
    def rule(row: Sequence[int], place: int) -> int:
        raise NonFiniteError("the model computed NaN or infinity")

    with pytest.raises(NonFiniteError):
        make(rule, plain_bytes).tag("a")


def test_g5_a_span_does_not_show_its_text(plain_bytes: CodeTokenizer) -> None:
    (span,) = make(by_letter(plain_bytes), plain_bytes).tag("ABCDEF").spans
    assert isinstance(span, Span)
    assert "ABC" not in repr(span)


def test_the_folder_of_a_tiny_checkpoint(tmp_path: Path) -> None:
    model = TextTagger.load(write_tagger(tmp_path / "tagger", scores={"Q": 0.6}))
    assert model.name == "tagger"
    assert model.tag("abc QQ 12").spans[0].score == pytest.approx(0.6, abs=1e-6)


@pytest.mark.parametrize("spans", ["independent", "best_path"])
def test_an_excerpt_finds_in_its_lines_what_the_whole_text_has_there(
    plain_bytes: CodeTokenizer, spans: str
) -> None:
    computed: list[int] = []

    def rule(row: Sequence[int], place: int) -> int:
        computed.append(place)
        return by_letter(plain_bytes)(row, place)

    model = make(rule, plain_bytes, tagging={"spans": spans}, context=32)
    lines = [f"{number} {'é' * (number % 9)} {'ABCD' * (number % 3)}\n" for number in range(60)]
    text = "".join(lines)
    whole = model.tag(text)
    all_computed = len(computed)
    for line in range(1, 61):
        computed.clear()
        document = Excerpt([text[:100], text[100:]], (range(line, line + 1),))
        (part,) = model.tag_many([document])
        assert not isinstance(part, Exception)
        found = [span for span in part.spans if span.start_line == line]
        assert found == [span for span in whole.spans if span.start_line == line]
        assert len(computed) < all_computed / 5
    (nothing,) = model.tag_many([Excerpt([text], ())])
    assert nothing == Tagging(spans=(), tokens=0, windows=0)


def test_at_a_pause_all_complete_lines_are_given(plain_bytes: CodeTokenizer) -> None:
    """As a filter needs it behind `tail -f`; nothing of the text is lost or given twice."""
    model = make(by_letter(plain_bytes), plain_bytes, tagging={"read": "once", "delay": 4})
    lines = [f"line {n} has ABC{chr(65 + n % 26)} and no more\n" for n in range(60)]
    asked: list[int] = []

    def pieces() -> Iterator[str]:
        for number, line in enumerate(lines):
            yield line[:9]
            yield line[9:] + "half a"
            yield PAUSE
            asked.append(number)
            yield " line\n"

    whole = "".join(line + "half a line\n" for line in lines)
    spans: list[Span] = []
    done = 0
    for advance in model.stream(pieces()):
        spans += advance.spans
        assert advance.offset >= done
        done = advance.offset
        if len(asked) < len(lines):  # all lines but the half one
            complete = sum(len(line) + 12 for line in lines[: len(asked)]) + len(lines[len(asked)])
            assert done == complete
    assert done == len(whole)
    assert [span.text for span in spans] == [s.text for s in model.tag(whole).spans]
    assert [span.start for span in spans] == [s.start for s in model.tag(whole).spans]
