"""What is read, and what is refused: bytes in, text out, offsets named."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from bigcode_cli.files.sources import file_source
from bigcode_cli.framework.errors import Failure, UsageFailure
from bigcode_cli.io import text_input
from bigcode_cli.io.text_input import read_context_file, read_text
from program import BIGCODE, Run

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def _write(folder: Path, data: bytes) -> Path:
    file = folder / "input"
    file.write_bytes(data)
    return file


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(b"", "", id="empty"),
        pytest.param(b"\n", "\n", id="one-newline"),
        pytest.param(b"a\r\nb\r\n", "a\r\nb\r\n", id="crlf"),
        pytest.param(b"\ta  \n\x0c\rb ", "\ta  \n\x0c\rb ", id="blanks"),
        pytest.param(b"\xef\xbb\xbfdef", "\ufeffdef", id="byte-order-mark"),
        pytest.param(b"x\xef\xbb\xbf", "x\ufeff", id="mark-elsewhere"),
        pytest.param("é中😀".encode(), "é中😀", id="utf-8"),
        pytest.param(b"<fim_middle><|endoftext|>", "<fim_middle><|endoftext|>", id="literal"),
    ],
)
def test_text_comes_as_it_is(data: bytes, text: str, tmp_path: Path) -> None:
    source = read_text(_write(tmp_path, data), whole=True)
    assert (source.text, source.data, source.skipped_bytes) == (text, data, 0)


@pytest.mark.parametrize(
    ("data", "slug", "place"),
    [
        pytest.param(b"caf\xe9\n", "input-encoding", "0xe9 at offset 3 (line 1)", id="latin-1"),
        pytest.param(b"a\n\nb\xff", "input-encoding", "0xff at offset 4 (line 3)", id="line-3"),
        pytest.param(b"a\xe4\xb8", "input-encoding", "0xe4 at offset 1 (line 1)", id="cut"),
        pytest.param(b"\xef\xbb\xbfa\xff", "input-encoding", "0xff at offset 4", id="after-mark"),
        pytest.param(b"a\nb\x00", "binary", "NUL byte at offset 3 (line 2)", id="nul"),
        pytest.param(PNG, "binary", "NUL byte at offset 8 (line 3)", id="png"),
        pytest.param(
            b"x\n" * 2**20 + b"\x00", "binary", "at offset 2097152 (line 1048577)", id="late-nul"
        ),
        pytest.param(
            "ab".encode("utf-16"), "input-encoding", "is UTF-16, not UTF-8", id="utf-16-a"
        ),
        pytest.param("中文".encode("utf-16"), "input-encoding", "0xff at offset 0", id="utf-16"),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(
    data: bytes, slug: str, place: str, tmp_path: Path
) -> None:
    with pytest.raises(Failure, match="input") as caught:
        read_text(_write(tmp_path, data))
    assert caught.value.slug == slug
    assert place in str(caught.value)


def test_folders_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UsageFailure, match="is a folder"):
        read_text(tmp_path)
    with pytest.raises(Failure, match="No such file") as caught:
        read_text(tmp_path / "missing")
    assert caught.value.slug == "input"


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_input, "TAIL_BYTES", 10)
    monkeypatch.setattr(text_input, "STREAM_BYTES", 1000)
    monkeypatch.setattr(text_input, "CONTEXT_FILE_BYTES", 20)
    monkeypatch.setattr(text_input, "_CHUNK_BYTES", 7)


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("size", [9, 10, 11, 12, 13, 14, 100])
@pytest.mark.parametrize("character", ["a", "é", "中", "😀"])
def test_only_the_end_of_a_large_text_is_kept(size: int, character: str, tmp_path: Path) -> None:
    data = (character * size).encode()
    file = _write(tmp_path, data)
    source = read_text(file)
    assert data.endswith(source.text.encode())
    assert len(source.text.encode()) > min(10, len(data)) - len(character.encode())
    assert source.skipped_bytes == len(data) - len(source.text.encode())
    assert _through_a_pipe(data) == source.text


def _through_a_pipe(data: bytes) -> str:
    """As a shell's `<(command)` gives it."""
    read, write = os.pipe()

    def fill() -> None:
        with os.fdopen(write, "wb") as stream:
            stream.write(data)

    writer = threading.Thread(target=fill)
    writer.start()
    try:
        return read_text(Path(f"/dev/fd/{read}")).text
    finally:
        writer.join()
        os.close(read)


@pytest.mark.usefixtures("small_limits")
def test_the_place_of_a_bad_byte_counts_what_was_left_out(tmp_path: Path) -> None:
    data = b"a\n" * 50 + b"\xff"
    with pytest.raises(Failure, match="0xff at offset 100 is not UTF-8"):
        read_text(_write(tmp_path, data))
    with pytest.raises(Failure, match=r"0xff at offset 100 \(line 51\)"):
        _through_a_pipe(data)


@pytest.mark.usefixtures("small_limits")
def test_limits(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="more than") as caught:
        _through_a_pipe(b"a" * 1001)
    assert caught.value.slug == "too-large"
    with pytest.raises(Failure, match="more than") as caught:
        read_context_file(_write(tmp_path, b"a" * 21))
    assert caught.value.slug == "too-large"
    assert read_context_file(_write(tmp_path, b"a" * 20)).text == "a" * 20


@pytest.mark.usefixtures("small_limits")
def test_echo_keeps_all_bytes(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + b"a" * 50
    source = read_text(_write(tmp_path, data), whole=True)
    assert (source.data, source.text, source.skipped_bytes) == (data, "a" * 10, 43)
    with pytest.raises(Failure, match=r"0xff at offset 1 \(line 1\)"):
        read_text(_write(tmp_path, b"a\xff" + b"a" * 50), whole=True)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        pytest.param(PNG, "error[binary]: stdin: NUL byte at offset 8 (line 3)", id="png"),
        pytest.param(b"caf\xe9", "error[input-encoding]: stdin: byte 0xe9 at offset 3", id="latin"),
    ],
)
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_the_process_says_it_in_one_line(
    data: bytes, line: str, locale: str, run: Run, checkpoint: Path
) -> None:
    done = run("complete", "-m", checkpoint, input=data, env={"LC_ALL": locale})
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr.startswith(f"bigcode: {line}")


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_closed_stdin(arguments: tuple[str, ...], run: Run, checkpoint: Path) -> None:
    program = ("sh", "-c", 'exec "$0" "$@" <&-', BIGCODE)
    done = run("complete", "-m", checkpoint, *arguments, program=program)
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr == "bigcode: error[input]: stdin: is closed\n"


def test_an_endless_stream_of_zeros_ends_at_once(run: Run, checkpoint: Path) -> None:
    with Path("/dev/zero").open("rb") as zeros:
        done = run("complete", "-m", checkpoint, stdin=zeros)
    assert (done.status, done.stdout) == (3, b"")
    assert "error[binary]: stdin: NUL byte at offset 0 (line 1)" in done.stderr


@pytest.mark.parametrize("command", ["complete", "score", "classify", "tag"])
def test_what_is_no_file_is_an_error_at_once(command: str, run: Run) -> None:
    os.mkfifo(run.folder / "fifo")
    for name, words in (("fifo", "is a named pipe"), ("/dev/zero", "is a device")):
        done = run(command, name)
        assert (done.status, done.stdout) == (3, b"")
        assert done.stderr == f"bigcode: error[input]: {name}: {words}, not a file\n"


def test_an_endless_stream_of_lines_ends_too(run: Run, checkpoint: Path) -> None:
    source = subprocess.Popen(["yes"], stdout=subprocess.PIPE)
    done = run("complete", "-m", checkpoint, stdin=source.stdout)
    assert source.stdout is not None
    source.stdout.close()
    source.wait()
    assert (done.status, done.stdout) == (3, b"")
    assert "error[too-large]: stdin: more than 256 MiB\nhint: " in done.stderr


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param(b"a\nb.py", "a^Jb.py", id="newline"),
        pytest.param(b"\x1b[31mred.py", "^[[31mred.py", id="escape"),
        pytest.param(b"src[foo].py", "src[foo].py", id="markup"),
        pytest.param(b"[red]x[bold].py", "[red]x[bold].py", id="more-markup"),
        pytest.param(b"-rf.py", "-rf.py", id="dash"),
        pytest.param(b"caf\xe9.py", "caf\\xe9.py", id="latin-1"),
        pytest.param("中😀 '\".py".encode(), "中😀 '\".py", id="unicode"),
        pytest.param("a\u202eyp.b".encode(), "a<U+202E>yp.b", id="bidi"),
        pytest.param(b"x" * 255, "x" * 255, id="long"),
    ],
)
def test_any_file_name_is_read_and_shown_safely(
    name: bytes, shown: str, run: Run, checkpoint: Path
) -> None:
    (run.folder / os.fsdecode(name)).write_bytes(b"\x00")
    done = run("complete", "-m", checkpoint, "--", name)
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr == (
        f"bigcode: error[binary]: {shown}: NUL byte at offset 0 (line 1): a binary file\n"
    )


def test_an_empty_pipe_that_does_not_block_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """All commands read standard input here; the pipe is filled only when somebody waits for it."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    parts = [b"first ", b"second", None]

    def wait(*_: object) -> None:
        part = parts.pop(0)
        os.close(write) if part is None else os.write(write, part)

    with os.fdopen(read, "rb", closefd=False) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        monkeypatch.setattr("select.select", wait)
        text = "".join(file_source("-").pieces(lambda _: None))
    os.close(read)
    assert (text, parts) == ("first second", [])
