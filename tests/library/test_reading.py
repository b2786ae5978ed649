"""What is read of files that somebody else wrote, and what is refused, at once and in one line."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpt_bigcode import reading
from gpt_bigcode.config import GPTBigCodeConfig
from gpt_bigcode.errors import (
    ConfigError,
    MissingFileError,
    TokenizerError,
    UnreadableFileError,
)
from gpt_bigcode.tokenization.tokenizer_json import TokenizerDefinition


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


SPECIAL_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a named pipe": (os.mkfifo, "is a named pipe"),
    "a folder": (Path.mkdir, "is a folder"),
    "a socket": (make_socket, "is a socket"),
    "a device that never ends": (link_to("/dev/zero"), "is a device"),
    "a device that is empty": (link_to("/dev/null"), "is a device"),
    "a link to itself": (lambda path: path.symlink_to(path), "symbolic links"),
}


@pytest.mark.parametrize("kind", SPECIAL_FILES)
def test_only_regular_files_are_read_and_nothing_is_waited_for(kind: str, tmp_path: Path) -> None:
    make, words = SPECIAL_FILES[kind]
    path = tmp_path / "config.json"
    make(path)
    with pytest.raises(UnreadableFileError, match=words) as caught:
        reading.read_checked(path, max_bytes=100)
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    with pytest.raises(ConfigError, match=words):
        GPTBigCodeConfig.from_json_file(path)
    with pytest.raises(TokenizerError, match=words):
        TokenizerDefinition.from_file(path)


def test_a_file_without_an_end_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/proc/kmsg and trace_pipe look like regular files; a pipe plays one here."""
    path = tmp_path / "kmsg"
    os.mkfifo(path)
    monkeypatch.setattr("stat.S_ISREG", lambda _: True)
    writer = os.open(path, os.O_RDWR)
    try:
        for sent in (b"", b"some lines\n"):
            os.write(writer, sent)
            with pytest.raises(UnreadableFileError, match="has no end"):
                reading.read_checked(path, max_bytes=100)
            with reading.open_checked(path) as stream, pytest.raises(OSError, match="has no end"):
                stream.read()
    finally:
        os.close(writer)


@pytest.mark.parametrize("name", ["nothing", "file/below", "x\0y"])
def test_a_name_of_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = UnreadableFileError if "\0" in name else MissingFileError
    with pytest.raises(error):
        reading.read_checked(f"{tmp_path}/{name}", max_bytes=100)


def test_a_terminal_is_no_file() -> None:
    master, terminal = os.openpty()
    try:
        for pipes in (False, True):
            with pytest.raises(UnreadableFileError, match="is a terminal"):
                reading.open_checked(os.ttyname(terminal), pipes=pipes)
    finally:
        os.close(master)
        os.close(terminal)


def test_a_limit_is_kept_before_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # a TiB of zeros
    with pytest.raises(UnreadableFileError, match="larger than 1 MiB"):
        reading.read_checked(path, max_bytes=1 << 20)
    path.write_bytes(b"x" * 10)
    assert reading.read_checked(path, max_bytes=10) == b"x" * 10
    with pytest.raises(UnreadableFileError, match="larger than 9 bytes"):
        reading.read_checked(path, max_bytes=9)


def test_links_are_followed_only_where_they_may_be(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"text")
    (tmp_path / "link").symlink_to("real")
    assert reading.read_checked(tmp_path / "link", max_bytes=9) == b"text"
    with pytest.raises(UnreadableFileError, match="is a symbolic link"):
        reading.read_checked(tmp_path / "link", max_bytes=9, follow_links=False)
    assert reading.read_checked(tmp_path / "real", max_bytes=9, follow_links=False) == b"text"


def test_a_pipe_is_read_where_it_may_be() -> None:
    read, write = os.pipe()
    os.write(write, b"text")
    os.close(write)
    with reading.open_checked(f"/dev/fd/{read}", pipes=True) as stream:
        assert stream.read() == b"text"
    os.close(read)
    with reading.open_checked(os.devnull, pipes=True) as stream:
        assert stream.read() == b""


BAD_JSON: dict[str, tuple[bytes, str]] = {
    "NaN": (b'{"a": NaN}', "not a finite number"),
    "infinity": (b"[-Infinity]", "not a finite number"),
    "a number beyond every float": (b"[1e400]", "not a finite number"),
    "400 digits": (b"[" + b"9" * 400 + b"]", "number of 400 digits"),
    "5,000 digits": (b"[" + b"9" * 5000 + b"]", "number of 5000 digits"),
    "65 levels": (b"[" * 65 + b"]" * 65, "64 levels"),
    "100,000 levels": (b"[" * 100_000, "64 levels"),
    "half a pair": (rb'["\ud800"]', "surrogate"),
    "half a pair as a key": (rb'{"\uDBFF": 1}', "surrogate"),
    "a byte of a file name": (rb'["\udcff"]', "surrogate"),
    "no UTF-8": (b'["\xff"]', "byte 0xff at offset 2"),
    "a long text that is no JSON": (b"x" * 10_000, "not valid JSON"),
    "nothing": (b"", "not valid JSON"),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_json_out_of_bounds(name: str, tmp_path: Path) -> None:
    data, words = BAD_JSON[name]
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(UnreadableFileError, match=words) as caught:
        reading.read_json(path, max_bytes=1 << 20)
    assert len(caught.value.reason) < 300
    assert "\n" not in caught.value.reason


GOOD_JSON: tuple[Any, ...] = (
    [1, -(2**63), 2**64 - 1, 1.5e300, None, True],
    {"digits in a text": "9" * 500, "pair": "😀", "nested": [[[[[{}]]]]]},
    [],
)


@pytest.mark.parametrize("value", GOOD_JSON)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_json_within_bounds(value: object, mark: bytes) -> None:
    assert reading.parse_json(mark + json.dumps(value).encode()) == value


def test_names_of_files_need_not_be_unicode() -> None:
    assert reading.parse_json(rb'["\udcff"]', file_names=True) == ["\udcff"]
    with pytest.raises(ValueError, match="surrogate"):
        reading.parse_json(rb'["\ud800"]', file_names=True)


BAD_TOML: dict[str, tuple[bytes, str]] = {
    "infinity": (b"a = inf", "not a finite number"),
    "not a number": (b"a = nan", "not a finite number"),
    "5,000 digits": (b"a = " + b"9" * 5000, "more than 20 digits"),
    "30 digits": (b"a = [" + b"9" * 30 + b"]", "more than 20 digits"),
    "400 hexadecimal digits": (b"a = 0x" + b"f" * 400, "more than 20 digits"),
    "3,000 lists": (b"a = " + b"[" * 3000 + b"]" * 3000, "64 levels"),
    "3,000 tables": (b"a." * 3000 + b"a = 1", "64 levels"),
    "no TOML": (b"max-tokens", "not valid TOML"),
    "no UTF-8": (b"a = '\xff'", "byte 0xff at offset 5"),
}


@pytest.mark.parametrize("name", BAD_TOML)
def test_toml_out_of_bounds(name: str, tmp_path: Path) -> None:
    data, words = BAD_TOML[name]
    path = tmp_path / "config.toml"
    path.write_bytes(data)
    with pytest.raises(UnreadableFileError, match=words) as caught:
        reading.read_toml(path, max_bytes=1 << 20)
    assert len(caught.value.reason) < 300


def test_toml_within_bounds() -> None:
    assert reading.parse_toml(b"\xef\xbb\xbfa = 1\nb = [1.5, 'x']\n") == {"a": 1, "b": [1.5, "x"]}


def test_a_file_is_another_one_after_every_change(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    with reading.open_checked(path) as stream:
        before = reading.identity(os.fstat(stream.fileno()))
    assert reading.identity(path.stat()) == before
    copy = tmp_path / "b"
    copy.write_bytes(b"1")
    os.utime(copy, ns=(0, path.stat().st_mtime_ns))
    copy.replace(path)
    assert reading.identity(path.stat()) != before
