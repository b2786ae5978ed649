"""Line ends on the way to a model and back, and the byte order mark."""

from itertools import pairwise

import pytest

from gpt_bigcode.text_form import (
    BYTE_ORDER_MARK,
    BYTE_ORDER_MARK_UTF8,
    NewlineRestorer,
    has_crlf,
    mark_size,
    pieces_without_mark,
    splits_crlf,
    to_lf,
    without_line_end,
    without_mark,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb\n", "a\r\nb\r\n"),
        ("a\r\nb", "a\r\nb"),
        ("\r", "\r"),
        ("a\rb\r\n\n", "a\rb\r\n\r\n"),
        ("", ""),
    ],
)
def test_crlf_is_given_back_however_the_text_is_cut(text: str, expected: str) -> None:
    places = range(len(text) + 1)
    for cuts in ([], *([place] for place in places), places):
        pieces = [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
        restorer = NewlineRestorer(crlf=True)
        assert "".join([*map(restorer.feed, pieces), restorer.close()]) == expected
    plain = NewlineRestorer(crlf=False)
    assert plain.feed(text) + plain.close() == text


@pytest.mark.parametrize(
    ("text", "crlf"),
    [
        ("", False),
        ("\n", False),
        ("\r", False),
        ("\r\n", True),
        ("\r\n\n", False),
        ("\r\n" * 2 + "\n", True),
    ],
)
def test_the_dominant_kind_of_line_end_counts(text: str, crlf: bool) -> None:  # noqa: FBT001
    assert has_crlf(text) is crlf


def test_only_crlf_becomes_lf() -> None:
    assert to_lf("a\r\nb\rc\n\r\n") == "a\nb\rc\n\n"


@pytest.mark.parametrize("line", ["a\r\n", "a\n", "a\r", "a"])
def test_a_line_without_its_end_is_the_same_as_text_and_as_bytes(line: str) -> None:
    assert without_line_end(line) == "a"
    assert without_line_end(line.encode()) == b"a"


def test_only_between_its_two_bytes_is_a_crlf_split() -> None:
    data = b"\ra\r\n\r\n"
    assert [at for at in range(len(data) + 1) if splits_crlf(data, at)] == [3, 5]
    assert not any(splits_crlf(b"\r", at) for at in range(2))


@pytest.mark.parametrize(
    ("pieces", "left", "mark_bytes"),
    [
        (["\ufeffa", "b"], "ab", 3),
        (["", "\ufeff", "a"], "a", 3),
        (["\ufeff\ufeffa"], "\ufeffa", 3),
        (["a", "\ufeffb"], "a\ufeffb", 0),
        (["a"], "a", 0),
    ],
)
def test_one_mark_at_the_beginning_is_left_out_and_counted(
    pieces: list[str], left: str, mark_bytes: int
) -> None:
    told: list[int] = []
    assert "".join(pieces_without_mark(pieces, told.append)) == left
    assert told == [mark_bytes]
    text = "".join(pieces)
    assert (without_mark(text), mark_size(text)) == (left, mark_bytes)
    assert (without_mark(text.encode()), mark_size(text.encode())) == (left.encode(), mark_bytes)
    assert BYTE_ORDER_MARK_UTF8 == BYTE_ORDER_MARK.encode() == b"\xef\xbb\xbf"
