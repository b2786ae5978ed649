"""`bigcode score --heatmap`: what a terminal is sent, and what a pipe gets."""

import re
from collections.abc import Callable
from math import log
from pathlib import Path

import pytest

from bigcode_cli.commands.score.views import shown_lines
from gpt_bigcode.scoring.results import LineScore, Score, TokenScore
from program import Outcome, Run, on_terminal
from scripted_models import encode, numbered_lines, write_checkpoint

GOOD = numbered_lines(3)  # what the model expects
HOSTILE = "\tq\x1b[2J\x1b]0;title\x07日本 e\u0301 \u202e x\rb\x9b31m\x08\r\n"
LEGEND = "tokens of at least 3 bits (1), 6 bits (2), 9 bits (3), 12 bits (4)"
Heatmap = Callable[..., Outcome]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "numbered"
    return write_checkpoint(folder, script=encode(numbered_lines(40)), positions=512)


@pytest.fixture
def heatmap(run: Run, model: Path) -> Heatmap:
    return lambda *arguments, **options: run(
        "score", "-m", model, "--heatmap", *arguments, **options
    )


def _terminal(run: Run, model: Path, *arguments: str, **environment: str) -> str:
    """What the program sends to a terminal of 60 columns."""
    variables = {"COLUMNS": "60", **environment}
    call: tuple[str | Path, ...] = ("-m", model, "--heatmap", *arguments)
    status, said = on_terminal(run, "score", *call, stream="stdout", **variables)
    assert status == 0
    return said


def test_a_pipe_gets_digits_under_what_is_surprising(heatmap: Heatmap, run: Run) -> None:
    (run.folder / "a.py").write_text(GOOD.replace("value_1", "value?1"), "utf-8")
    done = heatmap("a.py")
    assert (done.status, done.stderr) == (0, "")
    lines = done.stdout.decode().splitlines()
    assert lines[:3] == ["a.py", LEGEND, "     1  0.00  value_0 = 0"]
    assert re.fullmatch(r"     2 +\d\.\d\d  value\?1 = 1", lines[3])
    assert lines[4] == " " * (14 + len("value")) + "4"  # the digit stands under the character
    assert lines[5] == "     3  0.00  value_2 = 4"
    assert lines[6].startswith("a.py: ")
    assert len(lines) == 7


def test_hostile_text_reaches_nobody(heatmap: Heatmap, run: Run, model: Path) -> None:
    """Escapes, controls, bidirectional marks, CRLF, tabs and wide characters."""
    (run.folder / "a.py").write_bytes(HOSTILE.encode())
    shown = heatmap("a.py").stdout.decode()
    assert set(map(ord, shown)) & ({*range(0x20), *range(0x7F, 0xA0), 0x202E} - {0x0A}) == set()
    text, marks = shown.splitlines()[2:4]
    content = "        q^[[2J^[]0;title^G日本 e\u0301 <U+202E> x^Mb<U+009B>31m^H"
    assert text[14:] == content
    columns = len(content) + 2 - 1  # two wide characters, and one that takes no column
    assert marks == " " * 14 + "4" * columns
    for variables in ({"TERM": "xterm-256color"}, {"TERM": "xterm"}, {"TERM": "dumb"}):
        said = _terminal(run, model, "a.py", **variables)
        plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
        assert set(map(ord, plain)) & ({*range(0x20), *range(0x7F, 0xA0), 0x202E} - {10}) == set()
        assert plain.splitlines()[2][14:] in content


def test_colours_begin_and_end_on_their_line(run: Run, model: Path) -> None:
    (run.folder / "a.py").write_text(GOOD.replace("value_1", "value?1"), "utf-8")
    said = _terminal(run, model, "a.py", TERM="xterm-256color")
    assert "value\x1b[1;4;38;5;231;48;5;160m?\x1b[0m1 = 1\n" in said
    for line in said.splitlines():
        styles = re.findall(r"\x1b\[([0-9;]*)m", line)
        assert styles[1::2] == ["0"] * (len(styles) // 2)
        assert len(styles) % 2 == 0
    assert "\x1b[1;4;37;41m?\x1b[0m" in _terminal(run, model, "a.py", TERM="xterm")
    assert "48;5;160m?" in _terminal(run, model, "a.py", TERM="xterm", COLORTERM="truecolor")


@pytest.mark.parametrize(
    "variables",
    [{"TERM": "xterm-256color", "NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}],
    ids=["no-color", "dumb", "no-term"],
)
def test_without_colours_a_terminal_gets_digits_and_folded_lines(
    variables: dict[str, str], run: Run, model: Path
) -> None:
    (run.folder / "a.py").write_text("@" * 100 + "\n", "utf-8")
    said = _terminal(run, model, "a.py", **variables)
    assert "\x1b" not in said
    lines = said.splitlines()[2:-1]
    assert [line.strip("@") for line in lines[::2]][1:] == [" " * 14] * 2
    assert [line.count("@") for line in lines[::2]] == [46, 46, 8]
    assert [line.strip() for line in lines[1::2]] == ["4" * 46, "4" * 46, "4" * 8]


def test_files_follow_each_other(heatmap: Heatmap, run: Run) -> None:
    for name in ("a.py", "b.py"):
        (run.folder / name).write_text(GOOD, "utf-8")
    (run.folder / "c").write_bytes(b"\0")
    lines = heatmap("a.py", "b.py", "c", "-").stdout.decode().splitlines()
    assert lines.count(LEGEND) == 1
    assert [line.partition(":")[0] for line in lines if "value" not in line][1:] == [
        *(LEGEND, "a.py", "b.py", "b.py", "2 files"),
    ]


@pytest.mark.parametrize(
    "arguments", [["--format", "json"], ["--format", "csv"], ["--lines"], ["--tokens"]]
)
def test_what_does_not_go_with_it(arguments: list[str], heatmap: Heatmap, run: Run) -> None:
    (run.folder / "a.py").write_text(GOOD, "utf-8")
    done = heatmap("a.py", *arguments)
    assert (done.status, done.stdout) == (2, b"")
    assert "error[usage]: --heatmap: " in done.stderr


def _score(lines: list[tuple[int, int]], tokens: list[tuple[int, int, float]]) -> Score:
    return Score(
        tokens=len(tokens),
        bytes=lines[-1][1],
        nll=1.0,
        windows=1,
        lines=tuple(
            LineScore(line=n, start=a, end=b, tokens=1, bytes=b - a, nll=0.5)
            for n, (a, b) in enumerate(lines, 1)
        ),
        token_scores=tuple(TokenScore(0, a, b, 1, -bits * log(2)) for a, b, bits in tokens),
    )


def test_tokens_inside_a_character_and_over_a_line_end() -> None:
    """The worst token of a character colours it; a token over two lines colours both."""
    text = "\ufeffé\r\n  xy"
    score = _score([(0, 7), (7, 11)], [(3, 4, 1.0), (4, 5, 12.0), (5, 9, 3.0), (9, 11, 2.9)])
    first, second = shown_lines(text, score)
    assert [(run.text, run.level, round(run.bits)) for run in first.runs] == [("é", 4, 12)]
    assert [(run.text, run.level) for run in second.runs] == [("  ", 1), ("xy", 0)]
    assert list(shown_lines(text[:4], score)) == [first]  # only the beginning was kept
