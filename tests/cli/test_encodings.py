"""`tag` reads UTF-16 and Latin-1, too: a scanner never passes what it could not read."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bigcode_cli.files.encodings import AnyDecoder
from program import Run
from scripted_taggers import write_tagger

SECRET = "ABCD"  # noqa: S105  # what the model takes for one
TEXT = f"caf\xe9 = '{SECRET}' # \xff\n\n{SECRET} größe\n"
ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "utf-8": str.encode,
    "utf-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "latin-1": lambda text: text.encode("latin-1"),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16 big-endian": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "latin-1 after utf-8": lambda text: "中😀".encode() + text.encode("latin-1"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger(tmp_path_factory.mktemp("models") / "tagger")


def _stored(name: str, text: str) -> bytes:
    """How a file in that encoding holds a text in its middle."""
    encoding = name.split(maxsplit=1)[0]
    suffix = "-be" if "big" in name else "-le" if encoding == "utf-16" else ""
    return text.encode(encoding + suffix)


@pytest.mark.parametrize("name", ENCODINGS)
def test_offsets_are_those_of_the_file(name: str, tag: Any, run: Run) -> None:
    data = ENCODINGS[name](TEXT)
    (run.folder / "a.txt").write_bytes(data)
    (run.folder / "clean.py").write_bytes(b"x = 1\n")
    for arguments, options in ((("a.txt", "clean.py"), {}), ((), {"input": data})):
        done = tag("--format=json", *arguments, **options)
        assert (done.status, done.json["summary"]["skipped"]) == (1, 0)
        spans = done.json["files"][0]["spans"]
        assert [data[one["start"] : one["end"]] for one in spans] == [_stored(name, SECRET)] * 2
        first = 9 if "after" not in name else 11
        assert [one["start_line"] for one in spans] == [1, 3]
        assert [one["start_column"] for one in spans] == [first, 1]


@pytest.mark.parametrize("name", ENCODINGS)
def test_redacted_text_keeps_its_encoding(name: str, tag: Any, run: Run) -> None:
    data = ENCODINGS[name](TEXT * 3)
    expected = data.replace(_stored(name, SECRET), _stored(name, "<KEY>"))
    assert expected.count(_stored(name, "<KEY>")) == 6
    assert tag("--redact", input=data).stdout == expected
    (run.folder / "a.txt").write_bytes(data)
    assert tag("--redact", "--in-place", "a.txt").status == 0
    assert (run.folder / "a.txt").read_bytes() == expected


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", 8),
        (b"\xff\xfea\0b\0\0\0c\0", 6),
        (b"\xfe\xff" + b"\0a" * 40_000 + b"\0\0", 80_002),
    ],
)
def test_what_holds_nul_is_binary_in_every_encoding(data: bytes, place: int, tag: Any) -> None:
    done = tag(input=data)
    assert (done.status, done.stdout) == (3, b"")
    assert f"NUL byte at offset {place}: a binary file" in done.stderr


def test_other_commands_read_utf_8_alone(run: Run) -> None:
    for command in ("score", "classify"):
        done = run(command, input=b"caf\xe9")
        assert (done.status, "byte 0xe9 at offset 3 is not UTF-8" in done.stderr) == (3, True)


@pytest.mark.parametrize("kind", ["utf-8", "utf-16"])
def test_any_bytes_in_any_pieces_are_a_text_with_its_places(kind: str) -> None:
    """Cut anywhere, each character is the same, and lies where decoding it alone finds it."""
    draw = random.Random(kind)
    for _ in range(300):
        characters = draw.choices("aé中😀\n", k=draw.randint(1, 30))
        if kind == "utf-16":
            stored = [character.encode("utf-16-le") for character in characters]
            data, place = b"\xff\xfe" + b"".join(stored), 2
        else:
            stored = [
                character.encode(draw.choice(("utf-8", "utf-8", "latin-1")), "replace")
                for character in characters
            ]
            data, place = b"".join(stored), 0
        decoder, text, at = AnyDecoder(), "", 0
        while at < len(data):
            size = draw.randint(1, 5)
            text += decoder.decode(data[at : at + size])
            at += size
        text += decoder.decode(b"", final=True)
        text.encode()  # no lone surrogates
        if kind == "utf-16":
            assert text == "".join(characters)
        offset = 0
        for character in text:
            found = decoder.file_offset(offset)
            if kind == "utf-16":
                assert (found, place) == (place, found)
                place += len(character.encode("utf-16-le"))
            else:
                raw = data[found:]
                assert raw.startswith((character.encode(), bytes([min(ord(character), 255)])))
            offset += len(character.encode())
        assert decoder.file_offset(offset) == len(data)


@pytest.mark.parametrize(
    "data", [b"\xff\xfea", b"\xff\xfe\x00\xd8", b"\xff", b"\xff\xfe\x00\xd8a\0"]
)
def test_half_a_character_is_no_error(data: bytes) -> None:
    decoder = AnyDecoder()
    text = decoder.decode(data) + decoder.decode(b"", final=True)
    assert decoder.file_offset(len(text.encode())) <= len(data)
    assert "\ufffd" in text or data == b"\xff"
