"""How far long work has come, by a clock of the test's own."""

import os
import pty
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from types import SimpleNamespace

import pytest

from bigcode_cli.files import progress as module
from bigcode_cli.files.progress import Progress
from bigcode_cli.files.results import open_progress
from bigcode_cli.files.sources import Source
from bigcode_cli.framework import output

Said = Callable[[], str]
COLUMNS = 100


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[Said]:
    """What was written to a terminal since it was asked last."""
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.delenv("NO_COLOR", raising=False)

    def read() -> str:
        try:
            text = os.read(master, 1 << 16).decode()
        except BlockingIOError:
            return ""
        return re.sub(r"\x1b\[[0-9;]*m", "", text)

    with os.fdopen(slave, "w") as stream:
        monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=stream))
        monkeypatch.setattr(output, "sys", SimpleNamespace(stderr=stream))
        yield read
    os.close(master)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


def _texts(*sizes: int) -> list[Source]:
    names = [f"src/{number}.py" for number in range(len(sizes))]
    pairs = zip(names, sizes, strict=True)
    return [Source(path=name, open=BytesIO, size=size) for name, size in pairs]


def _opened(texts: list[Source], work: str = "scoring") -> Progress:
    progress = open_progress(texts, work, quiet=False)
    assert progress is not None
    return progress


def test_the_line_says_what_a_person_wants_to_know(said: Said, clock: list[float]) -> None:
    progress = _opened(_texts(10**6, 3 * 10**6))
    progress.advance(10**5)
    assert said() == ""  # short work shows nothing
    clock[0] += 1
    progress.advance(10**5)
    line = said()
    assert line.startswith("\rscoring: ")
    assert line.endswith("5 % 200.0 kB of 4.0 MB 0 of 2 files src/0.py\x1b[K")
    clock[0] += 0.05
    progress.advance(1)
    assert said() == ""  # not more often than can be read
    progress.finish_file()
    assert said() == "\r\x1b[K"
    clock[0] += 3
    progress.advance(8 * 10**5 - 1)
    assert said().endswith("25 % 1.0 MB of 4.0 MB 1 of 2 files 0:12 left src/1.py\x1b[K")


def test_it_fits_into_one_line(
    said: Said, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Source(path="deep/" * 100 + "\x1b[31m\n.py", open=BytesIO, size=10**6)
    for columns in (100, 80, 40, 30, 5):
        monkeypatch.setenv("COLUMNS", str(columns))
        progress = _opened([text])
        clock[0] += 1
        progress.advance(10)
        line = said().removeprefix("\r").removesuffix("\x1b[K")
        assert len(line) < columns
        assert "\n" not in line
        assert "\x1b" not in line


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (100, "BAR 50 % 2.0 MB of 4.0 MB 0 of 2 files 0:04 left …/long/package/module.py"),
        (80, "BAR 50 % 2.0 MB of 4.0 MB 0 of 2 files 0:04 left …kage/module.py"),
        (60, "50 % 2.0 MB of 4.0 MB 0 of 2 files 0:04 left"),
        (50, "50 % 0 of 2 files 0:04 left …e/module.py"),
        (24, "50 % 0:04 left"),
        (12, ""),
    ],
)
def test_a_narrow_terminal_shows_fewer_parts_but_whole_ones(
    said: Said, clock: list[float], monkeypatch: pytest.MonkeyPatch, columns: int, shown: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    name = "src/a/very/long/package/module.py"
    progress = _opened([Source(path=name, open=BytesIO, size=2 * 10**6) for _ in range(2)])
    clock[0] += 4
    progress.advance(2 * 10**6)
    line = said().removeprefix("\r").removesuffix("\x1b[K")
    assert len(line) < columns
    assert re.sub("[━╸╺]+", "BAR", line).split() == ["scoring:", *shown.split()]


def test_more_than_was_known_has_no_share(said: Said, clock: list[float]) -> None:
    progress = _opened(_texts(0), "tagging")
    clock[0] += 1
    progress.advance(2 * 10**6)
    assert said() == "\rtagging: 2.0 MB src/0.py\x1b[K"


def test_quiet_and_simple_terminals_show_nothing(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_progress(_texts(10), "scoring", quiet=True) is None
    monkeypatch.setenv("TERM", "dumb")
    assert open_progress(_texts(10), "scoring", quiet=False) is None
    assert said() == ""


@pytest.mark.parametrize("sizes", [(0,), (0, 0)])
def test_sizes_that_are_not_known(said: Said, clock: list[float], sizes: tuple[int, ...]) -> None:
    """What is staged has no size before it is read."""
    progress = _opened(_texts(*sizes))
    for done, shown in ((0, "0 bytes"), (1500, "1.5 kB")):
        clock[0] += 3
        progress.advance(done)
        assert said().startswith(f"\rscoring: {shown} ")
