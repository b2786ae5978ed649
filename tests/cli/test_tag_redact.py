"""`bigcode tag --redact`: a filter that changes what was found, and nothing else."""

import re
import signal
import subprocess
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bigcode_cli.commands.tag.redact import redacted
from gpt_bigcode.labeling.options import TagOptions
from gpt_bigcode.labeling.results import Advance
from program import BIGCODE, TIMEOUT_SECONDS, Outcome, Run
from scripted_taggers import write_tagger

SECRET = re.compile(rb"[A-Z]+|[0-9@]+")
STRANGE = (
    b"",
    b"\n",
    b"no secret, no line end",
    b"\xef\xbb\xbfx = AB\r\n\ty = 1@2 \r\n\r\n",
    b"lone \r CD \r\n mixed\n EF",
    "😀 AB e\u0301 中CD中 👩\u200d💻".encode(),
    b"\x1b[31m AB \x07\x0c\x0b",
    b"<|endoftext|> AB <fim_middle>",
    b"AB",
    b" AB ",
    b"x" * 500 + b"AB" + b"y" * 20_000 + b" 1@2",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger(tmp_path_factory.mktemp("models") / "tagger", positions=512)


@pytest.fixture
def redact(run: Run, model: Path) -> Any:
    """`redact(input=b"x")`: the outcome of the filter."""

    def call(*arguments: str | Path, **options: Any) -> Outcome:
        return run("tag", "-m", model, "--redact", *arguments, **options)

    return call


def _expected(data: bytes) -> bytes:
    """What a filter of fixed labels does with the plain words of these tests."""
    return SECRET.sub(lambda found: b"<KEY>" if found[0].isupper() else b"<DIGITS>", data)


@pytest.mark.parametrize("number", range(len(STRANGE)))
def test_nothing_else_in_the_stream_changes(redact: Any, number: int) -> None:
    data = STRANGE[number]
    done = redact(input=data)
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout == _expected(data)


def test_g3_each_line_leaves_a_pipe_while_others_come(run: Run) -> None:
    """The built-in model, a pipe that never rests for long, and the answers of the whole file."""
    lines = [
        f"12:30:0{n} login of anna.berg{n}@bluebox.io from 41.36.7{n}.22{n}\n" for n in range(8)
    ]
    whole = run("tag", "--redact", input="".join(lines).encode()).stdout.splitlines(keepends=True)
    assert all(line.count(b"<EMAIL>") == line.count(b"<IP_ADDRESS>") == 1 for line in whole)
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with run.start("tag", "--redact", **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        sent = 0
        for number, expected in enumerate(whole, start=1):
            # The beginning of the next line is there, too: what comes has no borders.
            end = len("".join(lines[:number])) + 3
            process.stdin.write("".join(lines)[sent:end].encode())
            process.stdin.flush()
            assert process.stdout.readline() == expected
            sent = end
        process.stdin.close()
        assert process.stdout.read() == b""
    assert process.returncode == 0


def test_a_pipe_that_rests_gives_its_complete_lines(run: Run, model: Path) -> None:
    """As `tail -f log | bigcode tag --redact` needs it."""
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with run.start("tag", "--redact", "-m", model, "-", **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(b"line with ABC and 1@2 so on\n" * (1 + number))
            process.stdin.flush()
            for _ in range(1 + number):  # nothing else is written until the lines are here
                assert process.stdout.readline() == b"line with <KEY> and <DIGITS> so on\n"
        process.stdin.write(b"the end: ABCD")
        process.stdin.close()
        assert process.stdout.read() == b"the end: <KEY>"
    assert process.returncode == 0


def test_a_file_comes_to_stdout(run: Run, redact: Any) -> None:
    path = run.folder / "a.env"
    path.write_bytes(b"AB=b\r\n")
    assert redact("a.env").stdout == b"<KEY>=b\r\n"
    assert path.read_bytes() == b"AB=b\r\n"
    assert redact("-", input=b"AB").stdout == b"<KEY>"
    done = redact("gone")
    assert (done.status, done.stdout) == (3, b"")
    assert done.stderr == "bigcode: error[input]: gone: No such file or directory\n"


def test_labels_scores_and_allowances_choose_and_comments_do_not(run: Run, redact: Any) -> None:
    """A text must not be able to keep a filter from its work."""
    text = b"AB 1@2 EXAMPLE # bigcode: allow\n"
    assert redact(input=text).stdout == b"<KEY> <DIGITS> <KEY> # bigcode: allow\n"
    assert redact("--labels=DIGITS", input=text).stdout == text.replace(b"1@2", b"<DIGITS>")
    assert redact("--min-score=1", input=text).stdout == text
    allowed = redact("--allow", "^EXAMPLE$", input=text).stdout
    assert allowed == b"<KEY> <DIGITS> EXAMPLE # bigcode: allow\n"
    assert redact("-v", input=text).stderr.endswith("bigcode: note: 3 redacted\n")


def test_what_fails_is_not_passed_off_as_whole(redact: Any) -> None:
    """What was written is the redacted beginning; the status says that it is not all."""
    bad = b"\0"
    good = b"text AB and 1@2 so on\n" * 1200
    done = redact(input=good + bad)
    assert done.status == 3
    assert done.stderr.startswith("bigcode: error[binary]: stdin: ")
    assert _expected(good).startswith(done.stdout)
    assert not SECRET.search(done.stdout.replace(b"<KEY>", b"").replace(b"<DIGITS>", b""))
    at_once = redact(input=bad + good)
    assert (at_once.status, at_once.stdout) == (3, b"")


@pytest.mark.timing
def test_a_reader_that_goes_ends_the_filter(model: Path, run: Run) -> None:
    command = f"yes 'text AB and' | {BIGCODE} tag -m {model} --redact | head -c 1000 | wc -c"
    started = time.monotonic()
    done = run("-c", f"set -o pipefail; {command}", program=("bash",))
    assert done.stdout.strip() == b"1000"
    assert done.stderr == ""
    assert time.monotonic() - started < 50


def test_an_interrupt_leaves_nothing_unredacted(model: Path, run: Run) -> None:
    (run.folder / "long.txt").write_bytes(b"text AB and 1@2 so on\n" * 100_000)
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = run.start("tag", "-m", model, "--redact", "long.txt", **pipes)
    assert process.stdout is not None
    first = process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    written, complaint = process.communicate(timeout=TIMEOUT_SECONDS)
    assert (process.returncode, complaint) == (130, b"")
    assert not SECRET.search((first + written).replace(b"<KEY>", b"").replace(b"<DIGITS>", b""))


class _Nothing:
    """A tagger that is done with every piece at once and finds nothing."""

    reads_lines = True

    def stream(self, pieces: Iterable[str], _options: TagOptions) -> Iterator[Advance]:
        offset = 0
        for piece in pieces:
            offset += len(piece.encode())
            yield Advance(spans=(), offset=offset)


class _Lines:
    """A stream that makes its lines up."""

    def __init__(self, lines: int) -> None:
        self.left = lines

    def read(self, size: int) -> bytes:
        count = min(size // 4, self.left)
        self.left -= count
        return b"abc\n" * count


def test_d3_what_was_decided_is_not_kept() -> None:
    model: Any = _Nothing()

    def peak(lines: int) -> int:
        stream: Any = _Lines(lines)
        tracemalloc.start()
        size = sum(map(len, redacted(stream, model, TagOptions(), lambda _: True)))
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert size == 4 * lines
        return highest

    peak(1000)
    assert peak(4_000_000) < 1.1 * peak(400_000)


def test_files_are_written_anew_as_a_whole(run: Run, redact: Any) -> None:
    """Mode and link stay; what holds nothing is not touched."""
    for name, data in (
        ("d/a.py", b"\xef\xbb\xbfx AB\r\n"),
        ("d/b.py", b"none"),
        ("d/.env", b"1@2"),
    ):
        path = run.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (run.folder / "d" / "a.py").chmod(0o754)
    (run.folder / "d" / "image.png").write_bytes(b"\x89PNG\0 AB")
    (run.folder / "link.py").symlink_to("d/b.py")
    before = (run.folder / "d" / "b.py").stat()
    done = redact("--in-place", "d", "link.py")
    assert done.status == 0
    assert "note: 1 of 4 files skipped (1 binary)" in done.stderr
    assert done.stdout == b"d/.env: 1 redacted\nd/a.py: 1 redacted\nd/b.py: 0 redacted\n"
    assert (run.folder / "d" / "a.py").read_bytes() == b"\xef\xbb\xbfx <KEY>\r\n"
    assert (run.folder / "d" / "a.py").stat().st_mode & 0o777 == 0o754
    assert (run.folder / "d" / ".env").read_bytes() == b"<DIGITS>"
    assert (run.folder / "d" / "image.png").read_bytes() == b"\x89PNG\0 AB"
    after = (run.folder / "d" / "b.py").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    (run.folder / "d" / "b.py").write_bytes(b"AB")
    done = redact("--in-place", "--format", "json", "link.py")
    assert (run.folder / "link.py").is_symlink()
    assert (run.folder / "d" / "b.py").read_bytes() == b"<KEY>"
    assert done.json["files"][0]["redacted"] == 1
    assert done.json["summary"]["redacted"] == 1
    assert sorted(path.name for path in (run.folder / "d").iterdir()) == [
        *(".env", "a.py", "b.py", "image.png")
    ]


def test_what_cannot_be_written_is_an_error_and_the_others_are_done(run: Run, redact: Any) -> None:
    for name in ("good.py", "hard.py", "binary.py", "last.py"):
        (run.folder / name).write_bytes(b"x AB")
    (run.folder / "other.py").hardlink_to(run.folder / "hard.py")
    (run.folder / "binary.py").write_bytes(b"AB \0")
    done = redact("--in-place", "good.py", "hard.py", "binary.py", "gone.py", "last.py")
    assert done.status == 3
    assert "error[in-place]: hard.py: has 2 names" in done.stderr
    assert "error[input]: gone.py: No such file" in done.stderr
    assert "note: binary.py: skipped: NUL byte at offset 3: a binary file" in done.stderr
    assert (run.folder / "hard.py").read_bytes() == b"x AB"
    assert (run.folder / "binary.py").read_bytes() == b"AB \0"
    assert (run.folder / "good.py").read_bytes() == b"x <KEY>"
    assert (run.folder / "last.py").read_bytes() == b"x <KEY>"


def test_what_the_baseline_knows_stays(run: Run, redact: Any, model: Path) -> None:
    (run.folder / "a.py").write_bytes(b"AB CD")
    made = run("tag", "-m", model, "--allow=CD", "--baseline=b.json", "--update-baseline", "a.py")
    assert made.status == 0
    assert redact("--baseline=b.json", "a.py").stdout == b"AB <KEY>"
    assert redact("--in-place", "--baseline=b.json", ".").stdout == b"./a.py: 1 redacted\n"
    assert (run.folder / "a.py").read_bytes() == b"AB <KEY>"
